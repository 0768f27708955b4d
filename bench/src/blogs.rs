//! Blogs as a cluster has them: applied with kubectl, with labels.
//!
//! As the server sends it one is about 925 B, of which managedFields are 311 B and the last-applied annotation 245 B.

use serde_json::{Value, json};

/// The field manager of `kubectl apply`, under which the server writes managedFields.
pub(crate) const FIELD_MANAGER: &str = "kubectl-client-side-apply";

/// The name of the Blog with this number. Names sort as numbers do.
pub(crate) fn name(number: usize) -> String {
    format!("blog-{number:06}")
}

/// The Blog that `kubectl apply` creates.
pub(crate) fn blog(namespace: &str, number: usize) -> Value {
    let name = name(number);
    let labels = json!({"app": "blog", "team": format!("team-{}", number % 50)});
    let spec = json!({"url": format!("https://blog-{number:06}.example.com/")});
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
