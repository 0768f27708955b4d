//! PATCH: JSON patches, merge patches and strategic merge patches, and their errors.

use anyhow::Result;
use e2e::{
    Cluster,
    http::{JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH},
};
use http::Method;
use serde_json::json;

use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! {
    merge, json_patch, json_patch_refused, malformed, media_types, strategic, immutable, other_kind, other_types,
    status_only
}

async fn merge(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets
        .post("one", &json!({"size": "small", "tags": ["a", "b"], "extra": {"x": {"y": 1}}}))
        .await?
        .code(201)?;
    let patch = json!({"spec": {"size": "large", "tags": ["c"], "extra": {"x": {"z": 2}, "w": null}}});
    let one = widgets.merge("one", &patch).await?.code(200)?;
    // Objects are merged, arrays are replaced, and null removes a field.
    let merged = json!({"size": "large", "replicas": 1, "tags": ["c"], "extra": {"x": {"y": 1, "z": 2}}});
    assert_eq!(one["spec"], merged);
    let one = widgets.merge("one", &json!({"spec": {"extra": null, "tags": null}})).await?.code(200)?;
    assert_eq!(one["spec"], json!({"size": "large", "replicas": 1}));
    widgets.merge("one", &json!({"spec": {"size": null}})).await?.code(422)?;
    Ok(())
}

async fn json_patch(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.post("one", &json!({"size": "small", "tags": ["a", "b"]})).await?.code(201)?;
    let patch = json!([
        {"op": "test", "path": "/spec/size", "value": "small"},
        {"op": "replace", "path": "/spec/size", "value": "large"},
        {"op": "add", "path": "/spec/tags/1", "value": "between"},
        {"op": "add", "path": "/metadata/labels", "value": {"a/b": "c"}},
        {"op": "copy", "from": "/spec/size", "path": "/metadata/labels/size"},
        {"op": "move", "from": "/metadata/labels/a~1b", "path": "/metadata/labels/moved"},
        {"op": "remove", "path": "/spec/tags/0"},
    ]);
    let one = widgets.json_patch("one", &patch).await?.code(200)?;
    assert_eq!(one["spec"], json!({"size": "large", "replicas": 1, "tags": ["between", "b"]}));
    assert_eq!(one["metadata"]["labels"], json!({"size": "large", "moved": "c"}));
    Ok(())
}

async fn json_patch_refused(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    for patch in [
        json!([{"op": "replace", "path": "/spec/size", "value": "large"}, {"op": "test", "path": "/spec/size", "value": "x"}]),
        json!([{"op": "remove", "path": "/spec/nothing"}]),
        json!([{"op": "bogus", "path": "/spec/size"}]),
    ] {
        let reply = widgets.json_patch("one", &patch).await?;
        let message = "the server rejected our request due to an error in our request";
        assert_eq!(reply.refused(422, "Invalid", message)?["details"], json!({}));
    }
    // Patches are atomic.
    assert_eq!(widgets.get("one").await?.code(200)?, one);
    Ok(())
}

async fn malformed(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    for (content_type, body, message) in [
        (
            JSON_PATCH,
            "{}",
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            MERGE_PATCH,
            "[]",
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (JSON_PATCH, "not json", "invalid JSON patch"),
        (MERGE_PATCH, "not json", "invalid JSON patch"),
    ] {
        let headers = [("content-type", content_type)];
        let reply = widgets.http.send(Method::PATCH, &widgets.at("one"), &headers, body.into()).await?;
        reply.refused(400, "BadRequest", message)?;
    }
    Ok(())
}

async fn media_types(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    for content_type in [STRATEGIC_PATCH, "application/json", "text/plain"] {
        let reply = widgets.http.patch(&widgets.at("one"), content_type, &json!({})).await?;
        reply.refused(415, "UnsupportedMediaType", message)?;
    }
    let map = format!("/api/v1/namespaces/{}/configmaps/c", cluster.namespace());
    let reply = cluster.admin().patch(&map, "application/json", &json!({})).await?;
    reply.refused(415, "UnsupportedMediaType", "415: Unsupported Media Type")?;
    Ok(())
}

async fn strategic(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let namespace = format!("/api/v1/namespaces/{}", cluster.namespace());
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}});
    admin.post(&format!("{namespace}/configmaps"), &map).await?.code(201)?;
    let patch = json!({"data": {"b": "2"}});
    let patched =
        admin.patch(&format!("{namespace}/configmaps/m"), STRATEGIC_PATCH, &patch).await?.code(200)?;
    assert_eq!(patched["data"], json!({"a": "1", "b": "2"}));
    let patch = json!({"data": {"a": null}});
    let patched =
        admin.patch(&format!("{namespace}/configmaps/m"), STRATEGIC_PATCH, &patch).await?.code(200)?;
    assert_eq!(patched["data"], json!({"b": "2"}));
    Ok(())
}

async fn immutable(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let message = format!(
        "Widget.{GROUP} \"one\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable"
    );
    widgets.merge("one", &json!({"metadata": {"uid": "other"}})).await?.refused(422, "Invalid", &message)?;
    Ok(())
}

async fn other_kind(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let message = format!("Other.{GROUP} \"one\" is invalid: kind: Invalid value: \"Other\": must be Widget");
    widgets.merge("one", &json!({"kind": "Other"})).await?.refused(422, "Invalid", &message)?;
    Ok(())
}

async fn status_only(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let path = format!("{}/status", widgets.at("one"));
    let patch = json!([{"op": "add", "path": "/status", "value": {"phase": "Done"}}]);
    widgets.http.patch(&path, JSON_PATCH, &patch).await?.code(200)?;
    let one = widgets.merge("one", &json!({"status": null, "spec": {"size": "large"}})).await?.code(200)?;
    assert_eq!((&one["status"], &one["spec"]["size"]), (&json!({"phase": "Done"}), &json!("large")));
    Ok(())
}

async fn other_types(cluster: Cluster) -> Result<()> {
    let (http, maps) = (cluster.admin(), format!("/api/v1/namespaces/{}/configmaps", cluster.namespace()));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    http.post(&maps, &map).await?.code(201)?;
    let path = format!("{maps}/a");
    let unknown = |kind: &str, version: &str| {
        format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:111\""
        )
    };
    for (patch, why) in [
        (
            json!({"kind": "Secret"}),
            "converting (v1.Secret) to (core.ConfigMap): unknown conversion".to_owned(),
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
            "converting (v1.Deployment) to (core.ConfigMap): unknown conversion".to_owned(),
        ),
        (json!({"apiVersion": "v2"}), unknown("ConfigMap", "v2")),
        (json!({"kind": "Nonsense"}), unknown("Nonsense", "v1")),
    ] {
        let reply = http.patch(&path, MERGE_PATCH, &patch).await?;
        assert_eq!(reply.code, 422, "{patch}");
        let message = reply.message();
        assert!(
            message.starts_with(" \"\" is invalid: patch: Invalid value: ") && message.ends_with(&why),
            "{message}"
        );
        // A strategic merge patch does not change the type.
        http.patch(&path, STRATEGIC_PATCH, &patch).await?.code(200)?;
    }
    http.patch(&path, MERGE_PATCH, &json!({"kind": null})).await?.code(200)?;
    let patch = json!([{"op": "replace", "path": "/kind", "value": "Secret"}]);
    http.patch(&path, JSON_PATCH, &patch).await?.code(422)?;
    http.get(&path).await?.code(200)?;
    Ok(())
}
