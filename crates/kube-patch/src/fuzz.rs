//! What must hold of any patch that a client sends. `fuzz/README.md` of the repository says who calls this.
//!
//! The first byte of an input says of what the rest is a patch: an even one of a custom resource, an odd one of a Deployment.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::{Definitions, ObjectType, StructuralType, Writer};

static BLOG: LazyLock<StructuralType> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("apply/tests/schema.json")).expect("it is JSON");
    StructuralType::from_schema(&schema)
});

static BUILTIN: LazyLock<Definitions> = LazyLock::new(|| {
    let schemas = include_str!("../../kube-builtin/data/schemas.json");
    let schemas: Map<String, Value> = serde_json::from_str(schemas).expect("it is JSON");
    Definitions::from_openapi(&schemas)
});

/// An object, how it merges, and the patch of it.
fn case(input: &[u8]) -> Option<(Value, ObjectType<'static>, Value)> {
    let (which, patch) = input.split_first()?;
    let patch = serde_json::from_slice(patch).ok()?;
    if which % 2 == 0 {
        let object = json!({
            "apiVersion": "web.helloworld/v1", "kind": "Blog",
            "metadata": {"name": "first", "labels": {"app": "a"}},
            "spec": {
                "url": "first", "tags": ["p", "q"], "ports": [{"port": 1}, {"port": 2, "tags": ["x"]}],
                "labels": {"a": "1"}, "atomic": {"a": "1"}, "free": {"a": [1, {"b": true}]}, "list": ["x", "x"],
            },
        });
        return Some((object, BLOG.object(), patch));
    }
    let containers = json!([
        {"name": "a", "image": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "X", "value": "1"}]},
        {"name": "b", "image": "b", "args": ["x"]},
    ]);
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "first"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}},
        },
    });
    Some((object, BUILTIN.get("io.k8s.api.apps.v1.Deployment")?, patch))
}

/// A JSON patch does what its operations do, one after the other.
pub fn json_patch(input: &[u8]) {
    let Some((object, _, patch)) = case(input) else { return };
    if let (Ok(patched), Some(operations)) = (crate::json_patch(&object, &patch), patch.as_array()) {
        let stepwise = operations.iter().try_fold(object, |object, operation| {
            crate::json_patch(&object, &Value::Array(vec![operation.clone()]))
        });
        assert_eq!(stepwise, Ok(patched));
    }
}

/// A merge patch says nothing new the second time.
pub fn merge_patch(input: &[u8]) {
    let Some((object, _, patch)) = case(input) else { return };
    if let Ok(once) = crate::merge_patch(&object, &patch) {
        assert_eq!(crate::merge_patch(&once, &patch), Ok(once));
    }
}

/// A strategic merge patch is refused, or makes an object.
pub fn strategic_merge_patch(input: &[u8]) {
    let Some((object, kind, patch)) = case(input) else { return };
    if let Ok(patched) = crate::strategic_merge_patch(&object, &patch, kind) {
        assert!(patched.is_object());
    }
}

/// What is applied says nothing new the second time, and the managed fields that are kept up through another write are read.
pub fn apply(input: &[u8]) {
    let Some((object, kind, applied)) = case(input) else { return };
    let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let writer = |manager| Writer {
        manager,
        subresource: "",
        api_version: &api_version,
        time: jiff::Timestamp::UNIX_EPOCH,
        reset: &[&["status"]],
    };
    let mut live = object.clone();
    crate::track(kind, None, &mut live, &writer("first"));
    let Ok(once) = crate::apply(kind, Some(&live), &applied, &writer("fuzz"), true) else { return };
    assert_eq!(
        crate::apply(kind, Some(&once), &applied, &writer("fuzz"), true),
        Ok(once.clone()),
        "{once:#}"
    );
    let mut next = once.clone();
    crate::track(kind, Some(&once), &mut next, &writer("first"));
    assert_eq!(next, once);
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_patches() {
        fuzz::check("json_patch", 256, super::json_patch);
    }

    #[test]
    fn merge_patches() {
        fuzz::check("merge_patch", 256, super::merge_patch);
    }

    #[test]
    fn strategic_merge_patches() {
        fuzz::check("strategic_merge_patch", 256, super::strategic_merge_patch);
    }

    #[test]
    fn applies() {
        fuzz::check("apply", 256, super::apply);
    }
}
