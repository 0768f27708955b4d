//! Namespaces: their creation and deletion.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually, http::MERGE_PATCH};
use serde_json::json;

use crate::widgets::{GROUP, widgets};

/// A real controller ends one namespace after the other, and asks for the objects of each type.
const PATIENCE: Duration = Duration::from_secs(90);

e2e::on_each_cluster! {
    shape, names, protected, default_service_account [Controllers], end_with_contents [Controllers]
}

async fn shape(cluster: Cluster) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}", cluster.namespace());
    let namespace = cluster.admin().get(&path).await?.code(200)?;
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": cluster.namespace()}));
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        eventually(Duration::from_secs(10), || async {
            cluster.admin().get(&format!("/api/v1/namespaces/{name}")).await?.code(200)
        })
        .await?;
    }
    Ok(())
}

async fn names(cluster: Cluster) -> Result<()> {
    let post = async |name: &str| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        cluster.admin().post("/api/v1/namespaces", &namespace).await
    };
    let message = |name: &str, problem: &str| {
        format!("Namespace \"{name}\" is invalid: metadata.name: Invalid value: \"{name}\": {problem}")
    };
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    for (name, problem) in [("Bad", label), ("a_b", label), ("a.b", "must not contain dots")] {
        post(name).await?.refused(422, "Invalid", &message(name, problem))?;
    }
    post("default").await?.refused(409, "AlreadyExists", "namespaces \"default\" already exists")?;
    Ok(())
}

async fn protected(cluster: Cluster) -> Result<()> {
    for name in ["default", "kube-system"] {
        let message = format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
        let reply = cluster.admin().delete(&format!("/api/v1/namespaces/{name}")).await?;
        reply.refused(403, "Forbidden", &message)?;
    }
    // Namespaces cannot be deleted as a collection.
    cluster.admin().delete("/api/v1/namespaces").await?.refused(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )?;
    Ok(())
}

async fn default_service_account(cluster: Cluster) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/default", cluster.namespace());
    eventually(Duration::from_secs(10), || async { cluster.admin().get(&path).await?.code(200) }).await?;
    Ok(())
}

async fn end_with_contents(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let admin = cluster.admin();
    let namespace = format!("/api/v1/namespaces/{}", cluster.namespace());
    widgets.create("free").await?;
    let mut held = widgets.draft("held", &json!({"size": "small"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    widgets.http.post(&widgets.path, &held).await?.code(201)?;

    let ending = admin.delete(&namespace).await?.code(200)?;
    assert_eq!(ending["status"]["phase"], "Terminating");
    let reply = widgets.post("late", &json!({"size": "small"})).await?;
    let message = format!(
        "widgets.{GROUP} \"late\" is forbidden: unable to create new content in namespace {} because it is being terminated",
        cluster.namespace()
    );
    let status = reply.refused(403, "Forbidden", &message)?;
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {} is being terminated", cluster.namespace()),
        }])
    );
    eventually(PATIENCE, || async { widgets.get("free").await?.code(404) }).await?;
    // The objects are deleted one after the other.
    eventually(PATIENCE, || async {
        let held = widgets.get("held").await?.code(200)?;
        ensure!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
        Ok(())
    })
    .await?;
    // The namespace says what it waits for.
    let remaining = format!("Some resources are remaining: widgets.{GROUP} has 1 resource instances");
    let finalizers =
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
    eventually(PATIENCE, || async {
        let ending = admin.get(&namespace).await?.code(200)?;
        let conditions = ending["status"]["conditions"].as_array().context("no conditions")?;
        let conditions: Vec<_> = conditions
            .iter()
            .map(|it| json!([it["type"], it["status"], it["reason"], it["message"]]))
            .collect();
        let expected = [
            json!([
                "NamespaceDeletionDiscoveryFailure",
                "False",
                "ResourcesDiscovered",
                "All resources successfully discovered"
            ]),
            json!([
                "NamespaceDeletionGroupVersionParsingFailure",
                "False",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed"
            ]),
            json!([
                "NamespaceDeletionContentFailure",
                "False",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization"
            ]),
            json!(["NamespaceContentRemaining", "True", "SomeResourcesRemain", remaining]),
            json!(["NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", finalizers]),
        ];
        ensure!(conditions == expected, "{conditions:#?}");
        Ok(())
    })
    .await?;
    widgets
        .http
        .patch(&widgets.at("held"), MERGE_PATCH, &json!({"metadata": {"finalizers": null}}))
        .await?
        .code(200)?;
    eventually(Duration::from_secs(60), || async { admin.get(&namespace).await?.code(404) }).await?;
    Ok(())
}
