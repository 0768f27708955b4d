//! DELETE: finalizers, preconditions, options, collections, owners.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, eventually};
use http::Method;
use serde_json::{Value, json};

use crate::widgets::{GROUP, names, version, widgets};

e2e::on_each_cluster! {
    answers_with_a_status, finalizers, preconditions, options, collection, collection_in_pages, collections_of_all_namespaces, foreground,
    owned_objects [Controllers], jobs_orphan_their_dependents [Controllers], pods_have_a_grace_period [NoControllers],
    unscheduled_pods_have_no_grace_period
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
    // Another deletion changes nothing.
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
    // Other changes still work, and the object is removed with its last finalizer.
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
    // An option of the wrong type must not be ignored: the wrong object could be deleted.
    for (options, found, field) in [
        (json!({"gracePeriodSeconds": "5"}), "string", "DeleteOptions.gracePeriodSeconds of type int64"),
        (json!({"gracePeriodSeconds": 1.5}), "number 1.5", "DeleteOptions.gracePeriodSeconds of type int64"),
        (json!({"orphanDependents": 5}), "number", "DeleteOptions.orphanDependents of type bool"),
        (
            json!({"propagationPolicy": 5}),
            "number",
            "DeleteOptions.propagationPolicy of type v1.DeletionPropagation",
        ),
        (json!({"preconditions": 5}), "number", "DeleteOptions.preconditions of type v1.Preconditions"),
        (json!({"preconditions": {"uid": 5}}), "number", "Preconditions.preconditions.uid of type types.UID"),
        (json!({"dryRun": "All"}), "string", "DeleteOptions.dryRun of type []string"),
        (json!({"dryRun": [5]}), "number", "DeleteOptions.dryRun of type string"),
    ] {
        let reply = widgets.http.delete_with(&widgets.at("one"), &options).await?;
        let message = format!("json: cannot unmarshal {found} into Go struct field {field}");
        reply.refused(400, "BadRequest", &message)?;
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

async fn jobs_orphan_their_dependents(cluster: Cluster) -> Result<()> {
    let (admin, namespace) = (cluster.admin(), cluster.namespace());
    let jobs = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let warning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
    for (query, stays) in
        [("", true), ("?propagationPolicy=Orphan", true), ("?propagationPolicy=Background", false)]
    {
        let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
        let job = json!({"metadata": {"name": "j"}, "spec": {"suspend": true, "template": {"spec": pod}}});
        let job = admin.post(&jobs, &job).await?.code(201)?;
        let owner =
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job["metadata"]["uid"]});
        let owned = json!({"metadata": {"name": "owned", "ownerReferences": [owner]}});
        admin.post(&maps, &owned).await?.code(201)?;
        // The garbage collector sees objects of a kind in order: once it has removed this one, it knows the one above.
        let stray = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "none", "uid": "none"});
        let stray = json!({"metadata": {"name": "stray", "ownerReferences": [stray]}});
        admin.post(&maps, &stray).await?.code(201)?;
        eventually(Duration::from_secs(30), || async {
            admin.get(&format!("{maps}/stray")).await?.code(404).map(drop)
        })
        .await?;
        let deleted = admin.delete(&format!("{jobs}/j{query}")).await?;
        ensure!(
            deleted.warnings() == if query.is_empty() { vec![warning] } else { vec![] },
            "{query}: {deleted:?}"
        );
        deleted.code(200)?;
        eventually(Duration::from_secs(30), || async {
            admin.get(&format!("{jobs}/j")).await?.code(404)?;
            let reply = admin.get(&format!("{maps}/owned")).await?;
            let left = reply.code == 200 && reply.body["metadata"].get("ownerReferences").is_none();
            ensure!(left == stays && (stays || reply.code == 404), "{query}: {reply:?}");
            Ok(())
        })
        .await?;
        admin.delete(&format!("{maps}/owned")).await?;
    }
    Ok(())
}

async fn pods_have_a_grace_period(cluster: Cluster) -> Result<()> {
    let (admin, pods) = (cluster.admin(), format!("/api/v1/namespaces/{}/pods", cluster.namespace()));
    let spec = json!({"nodeName": "nowhere", "containers": [{"name": "c", "image": "i"}]});
    let pod = admin.post(&pods, &json!({"metadata": {"name": "p"}, "spec": spec})).await?.code(201)?;
    let end = |pod: &Value| -> Result<(i64, i64)> {
        let metadata = &pod["metadata"];
        let at: k8s_openapi::jiff::Timestamp =
            metadata["deletionTimestamp"].as_str().unwrap_or_default().parse()?;
        Ok((at.as_second(), metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default()))
    };
    let path = format!("{pods}/p");
    let stops = admin.delete(&path).await?.code(200)?;
    let (at, seconds) = end(&stops)?;
    assert_eq!(seconds, 30);
    assert_eq!(stops["metadata"]["generation"], pod["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    // Another deletion, even with a longer period, changes nothing.
    assert_eq!(admin.delete(&path).await?.code(200)?["metadata"], stops["metadata"]);
    assert_eq!(
        admin.delete(&format!("{path}?gracePeriodSeconds=60")).await?.code(200)?["metadata"],
        stops["metadata"]
    );
    // A shorter period counts from the same moment.
    let sooner = admin.delete(&format!("{path}?gracePeriodSeconds=25")).await?.code(200)?;
    assert_eq!(end(&sooner)?, (at - 5, 25));
    assert_eq!(admin.get(&path).await?.code(200)?["metadata"], sooner["metadata"]);
    let message = "strconv.ParseInt: parsing \"x\": invalid syntax";
    admin.delete(&format!("{path}?gracePeriodSeconds=x")).await?.refused(400, "BadRequest", message)?;
    // This is how a kubelet removes the Pod in the end.
    admin.delete_with(&path, &json!({"gracePeriodSeconds": 0})).await?.code(200)?;
    admin.get(&path).await?.code(404)?;
    Ok(())
}

async fn unscheduled_pods_have_no_grace_period(cluster: Cluster) -> Result<()> {
    let (admin, pods) = (cluster.admin(), format!("/api/v1/namespaces/{}/pods", cluster.namespace()));
    let spec = json!({"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]});
    let pod = admin.post(&pods, &json!({"metadata": {"name": "p"}, "spec": spec})).await?.code(201)?;
    let mut watch = admin.watch(&format!("{pods}?watch=true&resourceVersion={}", version(&pod))).await?;
    let last = admin.delete(&format!("{pods}/p")).await?.code(200)?;
    assert_eq!(last["metadata"]["deletionGracePeriodSeconds"], 0);
    for expected in ["MODIFIED", "DELETED"] {
        let event = watch.next().await?;
        assert_eq!(event.kind, expected);
        assert!(event.object["metadata"]["deletionTimestamp"].is_string(), "{expected}");
    }
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

async fn collection_in_pages(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for name in ["a", "b", "c", "d", "e"] {
        widgets.create(name).await?;
    }
    let deleted = widgets.http.delete(&format!("{}?limit=2", widgets.path)).await?.code(200)?;
    assert_eq!(names(&deleted), ["a", "b"]);
    assert_eq!(deleted["metadata"]["remainingItemCount"], 3);
    let token = deleted["metadata"]["continue"].as_str().unwrap_or_default();
    assert_eq!(widgets.names("").await?, ["c", "d", "e"]);
    let deleted =
        widgets.http.delete(&format!("{}?limit=2&continue={token}", widgets.path)).await?.code(200)?;
    assert_eq!(names(&deleted), ["c", "d"]);
    assert_eq!(widgets.names("").await?, ["e"]);
    Ok(())
}

/// Only lists and watches span namespaces.
async fn collections_of_all_namespaces(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let group = widgets.path.split("/namespaces/").next().unwrap_or_default();
    for reply in [
        widgets.http.delete(&format!("{group}/widgets")).await?,
        widgets.http.post(&format!("{group}/widgets"), &widgets.draft("two", &json!({}))).await?,
    ] {
        assert_eq!((reply.code, &reply.body), (404, &json!("404 page not found\n")));
    }
    let message = "the server does not allow this method on the requested resource";
    widgets.http.delete("/api/v1/configmaps").await?.refused(405, "MethodNotAllowed", message)?;
    assert_eq!(widgets.names("").await?, ["one"]);
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
