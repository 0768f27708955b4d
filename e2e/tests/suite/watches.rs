//! Watches: where they start, what they send, how they end.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    http::{Event, Watch},
};
use serde_json::json;

use crate::widgets::{Widgets, version, widgets};

e2e::on_each_cluster! {
    from_a_version, from_unset_and_zero, wire_format, label_selector, field_selector, one_name, timeout, negative_timeout,
    initial_events [WatchLists], initial_events_options [WatchLists], bookmark_before_the_end, too_large_version, wrong_version,
    deleted_has_last_state, partial_metadata, finalizers, across_namespaces, legacy_paths
}

async fn open(widgets: &Widgets, query: &str) -> Result<Watch> {
    widgets.http.watch(&format!("{}?watch=true&{query}", widgets.path)).await
}

async fn from_a_version(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    widgets.create("two").await?;
    widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    let mut watch = open(&widgets, &format!("resourceVersion={}", version(&one))).await?;
    widgets.delete("one").await?.code(200)?;
    let two = watch.expect("ADDED", "two").await?;
    let changed = watch.expect("MODIFIED", "one").await?;
    assert_eq!(changed["spec"]["size"], "large");
    let deleted = watch.expect("DELETED", "one").await?;
    let versions = [&one, &two, &changed, &deleted].map(|object| version(object).parse::<u64>());
    let versions = versions.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    Ok(())
}

async fn from_unset_and_zero(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    widgets.create("two").await?;
    let large = widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    // A read that waits until the server's cache has this version: a watch without one begins with what is there.
    let path = format!("{}?resourceVersion={}", widgets.at("one"), version(&large));
    cluster.admin().get(&path).await?.code(200)?;
    for query in ["", "resourceVersion=", "resourceVersion=0"] {
        let mut watch = open(&widgets, query).await?;
        let one = watch.expect("ADDED", "one").await?;
        assert_eq!(one["spec"]["size"], "large");
        watch.expect("ADDED", "two").await?;
        widgets
            .merge("two", &json!({"metadata": {"labels": {"at": query.len().to_string()}}}))
            .await?
            .code(200)?;
        watch.expect("MODIFIED", "two").await?;
    }
    Ok(())
}

async fn wire_format(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let reply = widgets.http.get(&format!("{}?watch=true&timeoutSeconds=1", widgets.path)).await?;
    let content_type = reply.headers.get("content-type").cloned().context("content-type")?;
    assert_eq!(content_type, "application/json");
    // There is one event, so the whole body is one JSON document.
    assert_eq!(reply.code(200)?, json!({"type": "ADDED", "object": one}));
    Ok(())
}

async fn label_selector(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let start = widgets.create_labelled("one", &json!({"app": "x"})).await?;
    let selector = format!("labelSelector=app%3Dx&resourceVersion={}", version(&start));
    let mut watch = open(&widgets, &selector).await?;
    let label = async |value: serde_json::Value| {
        widgets.merge("one", &json!({"metadata": {"labels": {"app": value}}})).await?.code(200)
    };

    let left = label(json!("y")).await?;
    let event = watch.expect("DELETED", "one").await?;
    // The previous state, at the version of the change.
    assert_eq!((&event["metadata"]["labels"]["app"], version(&event)), (&json!("x"), version(&left)));
    label(json!("z")).await?;
    let entered = label(json!("x")).await?;
    assert_eq!(watch.expect("ADDED", "one").await?, entered);
    widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    watch.expect("MODIFIED", "one").await?;
    label(json!(null)).await?;
    watch.expect("DELETED", "one").await?;
    widgets.delete("one").await?.code(200)?;
    widgets.create_labelled("two", &json!({"app": "x"})).await?;
    watch.expect("ADDED", "two").await?;
    Ok(())
}

async fn field_selector(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let start = widgets.create("one").await?;
    let mut watch =
        open(&widgets, &format!("fieldSelector=spec.size%3Dlarge&resourceVersion={}", version(&start)))
            .await?;
    widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    watch.expect("ADDED", "one").await?;
    widgets.merge("one", &json!({"spec": {"size": "small"}})).await?.code(200)?;
    let left = watch.expect("DELETED", "one").await?;
    assert_eq!(left["spec"]["size"], "large");
    Ok(())
}

async fn one_name(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let start = widgets.create("one").await?;
    let query = format!("fieldSelector=metadata.name%3Dtwo&resourceVersion={}", version(&start));
    let mut watch = open(&widgets, &query).await?;
    widgets.create("three").await?;
    widgets.create("two").await?;
    watch.expect("ADDED", "two").await?;
    Ok(())
}

async fn timeout(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut watch = open(&widgets, "timeoutSeconds=1").await?;
    // The watch ends cleanly, without an ERROR event or a broken connection.
    assert_eq!(watch.try_next().await?, None);
    Ok(())
}

const WATCH_LIST: &str = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

async fn initial_events(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("two").await?;
    let last = widgets.create("one").await?;
    let mut watch = open(&widgets, WATCH_LIST).await?;
    watch.expect("ADDED", "one").await?;
    watch.expect("ADDED", "two").await?;
    let Event { kind, object: bookmark } = watch.next().await?;
    assert_eq!(kind, "BOOKMARK");
    let metadata = &bookmark["metadata"];
    assert_eq!(metadata["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(
        (&bookmark["kind"], &bookmark["apiVersion"]),
        (&json!("Widget"), &json!("suite.example.com/v1"))
    );
    ensure!(version(&bookmark).parse::<u64>()? >= version(&last).parse::<u64>()?);
    widgets.create("three").await?;
    watch.expect("ADDED", "three").await?;

    // If nothing is selected, only the bookmark is sent.
    let mut watch = open(&widgets, &format!("{WATCH_LIST}&labelSelector=none")).await?;
    assert_eq!(watch.next().await?.kind, "BOOKMARK");
    // With `sendInitialEvents=false`, the current state is not sent.
    let query = WATCH_LIST.replace("Events=true", "Events=false");
    let mut watch = open(&widgets, &query).await?;
    widgets.create("four").await?;
    watch.expect("ADDED", "four").await?;
    Ok(())
}

async fn initial_events_options(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let requires = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    for (query, problem) in [
        ("watch=true&sendInitialEvents=true", requires.to_owned()),
        (
            "watch=true&sendInitialEvents=true&resourceVersionMatch=Exact",
            format!("[{requires}, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]"),
        ),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list".to_owned(),
        ),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided".to_owned(),
        ),
    ] {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {problem}");
        widgets.http.get(&format!("{}?{query}", widgets.path)).await?.refused(422, "Invalid", &message)?;
    }
    Ok(())
}

async fn bookmark_before_the_end(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let query = format!("allowWatchBookmarks=true&timeoutSeconds=4&resourceVersion={}", version(&one));
    let mut watch = open(&widgets, &query).await?;
    let two = widgets.create("two").await?;
    watch.expect("ADDED", "two").await?;
    let Event { kind, object } = watch.next().await?;
    assert_eq!(kind, "BOOKMARK");
    ensure!(version(&object).parse::<u64>()? >= version(&two).parse::<u64>()?, "{object}");
    assert!(object.get("spec").is_none(), "{object}");
    Ok(())
}

async fn too_large_version(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    // The watch waits for this version instead of failing, and sends nothing until then.
    let mut watch = open(&widgets, "resourceVersion=999999999&timeoutSeconds=1").await?;
    widgets.create("one").await?;
    assert_eq!(watch.try_next().await?, None);
    Ok(())
}

async fn wrong_version(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let reply = widgets.http.get(&format!("{}?watch=true&resourceVersion=abc", widgets.path)).await?;
    let message =
        "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    assert_eq!(reply.message(), message);
    reply.code(500)?;
    Ok(())
}

async fn deleted_has_last_state(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let mut watch = open(&widgets, &format!("resourceVersion={}", version(&one))).await?;
    widgets.delete("one").await?.code(200)?;
    let deleted = watch.expect("DELETED", "one").await?;
    assert_eq!((&deleted["spec"], &deleted["metadata"]["uid"]), (&one["spec"], &one["metadata"]["uid"]));
    ensure!(version(&deleted).parse::<u64>()? > version(&one).parse::<u64>()?);
    let again = widgets.create("one").await?;
    assert_eq!(watch.expect("ADDED", "one").await?, again);
    assert_ne!(again["metadata"]["uid"], one["metadata"]["uid"]);
    Ok(())
}

async fn partial_metadata(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let path = format!("{}?watch=true&allowWatchBookmarks=true&{WATCH_LIST}", widgets.path);
    let mut watch = widgets.http.watch_as(&path, accept).await?;
    let event = watch.expect("ADDED", "one").await?;
    let expected =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]});
    assert_eq!(event, expected);
    let bookmark = watch.next().await?;
    assert_eq!((&*bookmark.kind, &bookmark.object["kind"]), ("BOOKMARK", &json!("PartialObjectMetadata")));
    Ok(())
}

async fn finalizers(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let one = widgets.http.post(&widgets.path, &widget).await?.code(201)?;
    let mut watch = open(&widgets, &format!("resourceVersion={}", version(&one))).await?;
    widgets.delete("one").await?.code(200)?;
    let marked = watch.expect("MODIFIED", "one").await?;
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    widgets.merge("one", &json!({"metadata": {"finalizers": null}})).await?.code(200)?;
    watch.expect("DELETED", "one").await?;
    Ok(())
}

async fn across_namespaces(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let selector = format!("fieldSelector=metadata.namespace%3D{}", cluster.namespace());
    let path =
        format!("/apis/suite.example.com/v1/widgets?watch=true&resourceVersion={}&{selector}", version(&one));
    let mut watch = widgets.http.watch(&path).await?;
    let two = widgets.create("two").await?;
    assert_eq!(watch.expect("ADDED", "two").await?, two);
    Ok(())
}

async fn legacy_paths(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let (http, namespace) = (cluster.admin(), cluster.namespace());
    for name in ["one", "two"] {
        widgets.create(name).await?;
        // Not ConfigMaps, of which a cluster with controllers has one in each namespace.
        let lease =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}});
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        http.post(&leases, &lease).await?.code(201)?;
    }
    let group = format!("/apis/{}/v1", widgets.group);
    for path in [
        format!("/apis/coordination.k8s.io/v1/watch/namespaces/{namespace}/leases"),
        format!("{group}/watch/namespaces/{namespace}/widgets"),
    ] {
        let mut all = http.watch(&format!("{path}?timeoutSeconds=5")).await?;
        all.expect("ADDED", "one").await?;
        all.expect("ADDED", "two").await?;
        let mut two = http.watch(&format!("{path}/two?watch=false&timeoutSeconds=5")).await?;
        two.expect("ADDED", "two").await?;
        let wrong = http.get(&format!("{path}/two?fieldSelector=metadata.name%3Done")).await?;
        wrong.refused(400, "BadRequest", "fieldSelector metadata.name doesn't match requested name")?;
        cluster.nobody().get(&path).await?.code(403)?;
    }
    let mut own = http.watch(&format!("/api/v1/watch/namespaces/{namespace}?timeoutSeconds=5")).await?;
    own.expect("ADDED", namespace).await?;
    let maps = format!("/api/v1/watch/namespaces/{namespace}/configmaps");
    for path in [format!("{maps}/one/status"), "/api/v1/watch/componentstatuses".to_owned()] {
        let missing = http.get(&path).await?;
        missing.refused(404, "NotFound", "the server could not find the requested resource")?;
    }
    let message = "the server does not allow this method on the requested resource";
    http.post(&maps, &json!({})).await?.refused(405, "MethodNotAllowed", message)?;
    Ok(())
}

async fn negative_timeout(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut watch = open(&widgets, "timeoutSeconds=-5&resourceVersion=0").await?;
    // It ends at once, whatever it has sent.
    while watch.try_next().await?.is_some() {}
    widgets.http.get(&format!("{}?timeoutSeconds=-5", widgets.path)).await?.code(200)?;
    Ok(())
}
