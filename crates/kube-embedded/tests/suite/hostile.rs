//! Requests that are valid one by one, and meant to harm the server or the objects in it.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http_body_util::BodyExt;
use kube_embedded::Server;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::support::in_time;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

async fn send(server: &Server, method: &str, path: &str, kind: &str, body: &Value) -> (u16, Value) {
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(kube::client::Body::from(body.to_string().into_bytes())).expect("a request");
    let response = in_time(server.service().oneshot(request)).await.expect("it cannot fail");
    let code = response.status().as_u16();
    let body = in_time(response.into_body().collect()).await.expect("a whole body").to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    send(server, "GET", path, JSON, &Value::Null).await
}

/// A definition of `things.example.com` whose versions take any fields.
fn definition(scope: &str, versions: &[Value]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": scope,
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": versions,
        },
    })
}

fn version(name: &str, storage: bool, spec: &Value) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
}

fn any() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

async fn define(server: &Server, definition: &Value) {
    let (code, answer) = send(server, "POST", DEFINITIONS, JSON, definition).await;
    assert_eq!(code, 201, "{answer}");
}

fn thing(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

/// An object in `depth` objects.
fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({}), |inner, _| json!({"a": inner}))
}

#[tokio::test]
async fn depth_is_bounded() {
    let server = Server::start();
    define(&server, &definition("Namespaced", &[version("v1", true, &any())])).await;
    // The object and its spec are two levels, and the innermost object is one.
    let (code, answer) = send(&server, "POST", THINGS, JSON, &thing("deep", &nested(118))).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = send(&server, "POST", THINGS, JSON, &thing("deeper", &nested(119))).await;
    assert_eq!((code, &answer["message"]), (400, &json!("the object is nested more than 120 levels deep")));

    // The server can still read what it has stored.
    let one = format!("{THINGS}/deep");
    let (code, _) = send(&server, "PATCH", &one, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(code, 200);
    let (code, found) = get(&server, &format!("{THINGS}?labelSelector=a%3Db")).await;
    assert_eq!((code, found["items"].as_array().map(Vec::len)), (200, Some(1)));
    let deepest = format!("/spec{}", "/a".repeat(118));
    let copy = json!([{"op": "copy", "from": "/spec", "path": format!("{deepest}/a")}]);
    let (code, answer) = send(&server, "PATCH", &one, "application/json-patch+json", &copy).await;
    assert_eq!(code, 422, "{answer}");
    let (code, _) = send(&server, "DELETE", &one, JSON, &Value::Null).await;
    assert_eq!((code, get(&server, &one).await.0), (200, 404));
}

/// A definition of a built-in resource is stored, as by kube-apiserver, and does not replace the resource.
#[tokio::test]
async fn built_in_resources_stay() {
    let server = Server::start();
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let before = get(&server, classes).await.1["items"].clone();
    let mut definition = definition("Cluster", &[version("v1", true, &any())]);
    definition["metadata"] = json!({
        "name": "priorityclasses.scheduling.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved"},
    });
    definition["spec"]["group"] = json!("scheduling.k8s.io");
    definition["spec"]["names"] = json!({
        "plural": "priorityclasses", "singular": "priorityclass", "kind": "PriorityClass", "listKind": "PriorityClassList",
    });
    define(&server, &definition).await;
    let wrong = json!({"metadata": {"name": "wrong"}, "value": "not a number"});
    assert_eq!(send(&server, "POST", classes, JSON, &wrong).await.0, 400);

    let path = format!("{DEFINITIONS}/priorityclasses.scheduling.k8s.io");
    assert_eq!(send(&server, "DELETE", &path, JSON, &Value::Null).await.0, 200);
    in_time(async {
        while get(&server, &path).await.0 != 404 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(get(&server, classes).await.1["items"], before);
}

/// The controllers write objects in their storage version.
#[tokio::test]
async fn controllers_keep_the_fields_of_other_versions() {
    let server = Server::start();
    let with = |field: &str| json!({"type": "object", "properties": {field: {"type": "string"}}});
    let versions = [version("v1", false, &with("new")), version("v1beta1", true, &with("old"))];
    define(&server, &definition("Namespaced", &versions)).await;
    let (code, _) =
        send(&server, "POST", "/api/v1/namespaces", JSON, &json!({"metadata": {"name": "web"}})).await;
    assert_eq!(code, 201);
    let things = "/apis/example.com/v1beta1/namespaces/web/things";
    let mut one = thing("one", &json!({"old": "kept"}));
    one["apiVersion"] = json!("example.com/v1beta1");
    one["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(send(&server, "POST", things, JSON, &one).await.0, 201);

    assert_eq!(send(&server, "DELETE", "/api/v1/namespaces/web", JSON, &Value::Null).await.0, 200);
    let path = format!("{things}/one");
    let ending = in_time(async {
        loop {
            let (_, one) = get(&server, &path).await;
            if one["metadata"]["deletionTimestamp"].is_string() {
                break one;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ending["spec"], json!({"old": "kept"}));
}

/// A request whose body arrives after its resource has changed is answered by the resource as it is then.
#[tokio::test]
async fn a_slow_body_meets_the_current_resource() {
    let server = Server::start();
    let versions = [version("v1", true, &any())];
    define(&server, &definition("Namespaced", &versions)).await;
    let (sender, body) = delayed_body();
    let request = http::Request::post(THINGS).header("content-type", JSON).body(body).expect("a request");
    let mut answer = std::pin::pin!(server.service().oneshot(request));
    assert!(answer.as_mut().now_or_never().is_none(), "it waits for its body");

    let path = format!("{DEFINITIONS}/things.example.com");
    assert_eq!(send(&server, "DELETE", &path, JSON, &Value::Null).await.0, 200);
    in_time(async {
        while get(&server, &path).await.0 != 404 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    define(&server, &definition("Cluster", &versions)).await;
    sender.send(thing("one", &json!({})).to_string().into()).expect("it is awaited");
    assert_eq!(in_time(answer).await.expect("it cannot fail").status().as_u16(), 404);
    let (_, all) = get(&server, "/apis/example.com/v1/things").await;
    assert_eq!(all["items"], json!([]));
}

/// A watch that is opened while its resource changes shows the new one, or ends.
#[tokio::test]
async fn a_waiting_watch_does_not_serve_an_old_schema() {
    let server = Server::start();
    let with = |field: &str| json!({"type": "object", "properties": {field: {"type": "string"}}});
    define(&server, &definition("Namespaced", &[version("v1", true, &with("old"))])).await;
    let (_, list) = get(&server, THINGS).await;
    let now: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let next = now + 2;
    let uri = format!(
        "{THINGS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion={next}"
    );
    let request = http::Request::get(uri).body(kube::client::Body::empty()).expect("a request");
    let mut answer = std::pin::pin!(server.service().oneshot(request));
    assert!(answer.as_mut().now_or_never().is_none(), "it waits for the version");

    let changed = definition("Namespaced", &[version("v1", true, &with("new"))]);
    let patch = json!({"spec": changed["spec"]});
    let path = format!("{DEFINITIONS}/things.example.com");
    assert_eq!(send(&server, "PATCH", &path, MERGE, &patch).await.0, 200);
    assert_eq!(send(&server, "POST", THINGS, JSON, &thing("one", &json!({"new": "shown"}))).await.0, 201);
    let mut lines = in_time(answer).await.expect("it cannot fail").into_body().into_data_stream();
    while let Some(line) = in_time(lines.next()).await {
        let line = String::from_utf8(line.expect("no error").to_vec()).expect("text");
        assert!(!line.contains("\"ADDED\"") || line.contains("shown"), "{line}");
        if line.contains("\"ADDED\"") {
            break;
        }
    }
}

#[tokio::test]
async fn a_counter_at_its_end_goes_on() {
    let server = Server::start();
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let set = |image: &str| {
        json!({
            "metadata": {"name": "one", "annotations": {"deprecated.daemonset.template.generation": i64::MAX.to_string()}},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": image}]},
                },
            },
        })
    };
    assert_eq!(send(&server, "POST", sets, JSON, &set("one")).await.0, 201);
    assert_eq!(send(&server, "PUT", &format!("{sets}/one"), JSON, &set("two")).await.0, 200);
}

/// A body that arrives when it is sent.
fn delayed_body()
-> (oneshot::Sender<Bytes>, impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send) {
    let (sender, receiver) = oneshot::channel::<Bytes>();
    let body = http_body_util::StreamBody::new(futures_util::stream::once(async move {
        let bytes = receiver.await.unwrap_or_default();
        Ok::<_, std::io::Error>(http_body::Frame::data(bytes))
    }));
    (sender, body)
}
