//! Blogs as they are in a real cluster: applied with kubectl, with labels.
//!
//! The server sends about 940 B for each, of which managedFields are 320 B and the last-applied annotation 230 B.

use bytes::Bytes;
use serde_json::{Value, json};

/// The field manager of `kubectl apply`, which appears in managedFields.
pub const FIELD_MANAGER: &str = "kubectl-client-side-apply";

/// Returns the name of the Blog with this number. Names sort like the numbers.
pub fn name(number: usize) -> String {
    format!("blog-{number:06}")
}

/// Returns the Blog with this number as `kubectl apply` creates it.
pub fn blog(namespace: &str, number: usize) -> Value {
    let name = name(number);
    let labels = json!({"team": format!("team-{:02}", number % 50)});
    let spec = json!({"url": format!("https://{number:06}.example.com")});
    let configuration = json!({
        "apiVersion": "web.helloworld/v1",
        "kind": "Blog",
        "metadata": {"annotations": {}, "labels": labels, "name": name, "namespace": namespace},
        "spec": spec,
    });
    json!({
        "apiVersion": "web.helloworld/v1",
        "kind": "Blog",
        "metadata": {
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{configuration}\n")},
            "labels": labels,
            "name": name,
            "namespace": namespace,
        },
        "spec": spec,
    })
}

/// Returns a line of a watch, as a server writes it, with the Blog at this version.
pub fn watch_line(kind: &str, namespace: &str, number: usize, version: usize) -> Bytes {
    let mut blog = blog(namespace, number);
    blog["spec"]["url"] = format!("https://{number:06}.example.com/{version}").into();
    let metadata = &mut blog["metadata"];
    metadata["creationTimestamp"] = "2026-11-22T19:00:00Z".into();
    metadata["generation"] = version.into();
    metadata["resourceVersion"] = version.to_string().into();
    metadata["uid"] = format!("0d7c1c2e-5d3b-4b0a-9c1e-{number:012x}").into();
    metadata["managedFields"] = json!([{
        "apiVersion": "web.helloworld/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {
                "f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}},
                "f:labels": {".": {}, "f:team": {}},
            },
            "f:spec": {".": {}, "f:url": {}},
        },
        "manager": FIELD_MANAGER,
        "operation": "Update",
        "time": "2026-11-22T19:00:00Z",
    }]);
    event(kind, &blog)
}

/// Returns the line that ends the initial events of a watch-list (KEP-3157).
pub fn initial_events_end(version: usize) -> Bytes {
    let bookmark = json!({
        "apiVersion": "web.helloworld/v1",
        "kind": "Blog",
        "metadata": {
            "annotations": {"k8s.io/initial-events-end": "true"},
            "resourceVersion": version.to_string(),
        },
    });
    event("BOOKMARK", &bookmark)
}

/// Returns the event by which a server reports that a watch's version is too old.
pub fn expired() -> Bytes {
    let status = json!({
        "apiVersion": "v1",
        "code": 410,
        "kind": "Status",
        "message": "too old resource version",
        "metadata": {},
        "reason": "Expired",
        "status": "Failure",
    });
    event("ERROR", &status)
}

pub(crate) fn event(kind: &str, object: &Value) -> Bytes {
    // The type comes first, as in kube-apiserver.
    Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
}
