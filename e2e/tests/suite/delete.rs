//! DELETE: finalizers, preconditions, options, collections, owners.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, eventually};
use http::Method;
use serde_json::{Value, json};

use crate::widgets::{GROUP, names, version, widgets};

e2e::on_each_cluster! {
    answers_with_a_status, finalizers, preconditions, options, collection, foreground,
    owned_objects [Controllers]
}

async fn answers_with_a_status(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let details = json!({"name": "one", "group": GROUP, "kind": "widgets", "uid": one["metadata"]["uid"]});
    let expected = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    assert_eq!(widgets.delete("one?dryRun=All").await?.code(200)?, expected);
    assert_eq!(widgets.delete("one").await?.code(200)?, expected);
    let message = format!("widgets.{GROUP} \"one\" not found");
    widgets.delete("one").await?.refused(404, "NotFound", &message)?;
    widgets.get("one").await?.refused(404, "NotFound", &message)?;
    Ok(())
}

async fn finalizers(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["metadata"]["finalizers"] = json!(["example.com/hold"]);
    widgets.http.post(&widgets.path, &widget).await?.code(201)?;
    let marked = widgets.delete("one").await?.code(200)?;
    let metadata = &marked["metadata"];
    assert!(metadata["deletionTimestamp"].is_string(), "{marked}");
    assert_eq!((&metadata["deletionGracePeriodSeconds"], &metadata["generation"]), (&json!(0), &json!(2)));
    // Again is the same.
    assert_eq!(widgets.delete("one").await?.code(200)?, marked);
    assert_eq!(widgets.get("one").await?.code(200)?, marked);

    let message = format!(
        "Widget.{GROUP} \"one\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{\"example.com/more\"}}"
    );
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    widgets.merge("one", &more).await?.refused(422, "Invalid", &message)?;
    let message = format!("object is being deleted: widgets.{GROUP} \"one\" already exists");
    let again = widgets.post("one", &json!({"size": "small"})).await?;
    again.refused(409, "AlreadyExists", &message)?;
    // Other changes still work, and the last finalizer's removal is the end.
    widgets.merge("one", &json!({"metadata": {"labels": {"a": "b"}}})).await?.code(200)?;
    widgets.merge("one", &json!({"metadata": {"finalizers": []}})).await?.code(200)?;
    widgets.get("one").await?.code(404)?;
    Ok(())
}

async fn preconditions(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let uid = one["metadata"]["uid"].as_str().unwrap_or_default();
    let prefix = format!("Operation cannot be fulfilled on Widget.{GROUP} \"one\": ");
    let delete = async |preconditions| {
        widgets.http.delete_with(&widgets.at("one"), &json!({"preconditions": preconditions})).await
    };
    let message = format!(
        "{prefix}the UID in the precondition (other) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    delete(json!({"uid": "other"})).await?.refused(409, "Conflict", &message)?;
    let message = format!(
        "{prefix}the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({}). The object might have been modified",
        version(&one)
    );
    delete(json!({"resourceVersion": "1"})).await?.refused(409, "Conflict", &message)?;
    widgets.get("one").await?.code(200)?;
    delete(json!({"uid": uid, "resourceVersion": version(&one)})).await?.code(200)?;
    widgets.get("one").await?.code(404)?;
    Ok(())
}

async fn options(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let invalid = |problem: &str| format!("DeleteOptions.meta.k8s.io \"\" is invalid: {problem}");
    for (options, problem) in [
        (
            json!({"propagationPolicy": "Nope"}),
            "propagationPolicy: Unsupported value: \"Nope\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        ),
        (
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set",
        ),
    ] {
        widgets.http.delete_with(&widgets.at("one"), &options).await?.refused(
            422,
            "Invalid",
            &invalid(problem),
        )?;
    }
    let headers = [("content-type", "application/json")];
    let reply = widgets.http.send(Method::DELETE, &widgets.at("one"), &headers, b"garbage".to_vec()).await?;
    ensure!(
        reply.message().starts_with("couldn't get version/kind; json parse error: "),
        "{}",
        reply.message()
    );
    reply.code(400)?;
    widgets.get("one").await?.code(200)?;
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    widgets.http.delete_with(&widgets.at("one"), &options).await?.code(200)?;
    widgets.get("one").await?.code(404)?;
    Ok(())
}

async fn collection(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for (name, labels) in
        [("a", json!({"app": "x"})), ("b", json!({"app": "x"})), ("c", json!({})), ("d", json!({}))]
    {
        widgets.create_labelled(name, &labels).await?;
    }
    let delete =
        async |query: &str| widgets.http.delete(&format!("{}?{query}", widgets.path)).await?.code(200);
    let dry = delete("dryRun=All").await?;
    assert_eq!((&dry["kind"], names(&dry).len()), (&json!("WidgetList"), 4));
    assert_eq!(names(&delete("labelSelector=app%3Dx").await?), ["a", "b"]);
    assert_eq!(names(&delete("fieldSelector=metadata.name%3Dc").await?), ["c"]);
    assert_eq!(widgets.names("").await?, ["d"]);
    delete("").await?;
    assert!(widgets.names("").await?.is_empty());
    Ok(())
}

async fn foreground(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let options = json!({"propagationPolicy": "Foreground"});
    let one = widgets.http.delete_with(&widgets.at("one"), &options).await?.code(200)?;
    assert_eq!(one["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    Ok(())
}

async fn owned_objects(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let create = async |name: &str, owners: Value| {
        let metadata = json!({"name": name, "ownerReferences": owners});
        admin
            .post(&maps, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
            .await?
            .code(201)
    };
    let owner = create("owner", json!([])).await?;
    let reference =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]});
    create("owned", json!([reference])).await?;
    create("free", json!([])).await?;
    admin.delete(&format!("{maps}/owner")).await?.code(200)?;
    eventually(Duration::from_secs(30), || async { admin.get(&format!("{maps}/owned")).await?.code(404) })
        .await?;
    admin.get(&format!("{maps}/free")).await?.code(200)?;
    Ok(())
}
