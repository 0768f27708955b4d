//! Properties that hold for any patch that a client sends. `fuzz/README.md` in the repository describes who calls these
//! functions.
//!
//! The first byte of an input selects the object: a custom resource if it is even, a Deployment if it is odd. The rest is the
//! patch.

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

/// Returns an object, its type, and the patch.
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

/// A JSON patch has the effect of its operations, one after the other.
pub fn json_patch(input: &[u8]) {
    let Some((object, _, patch)) = case(input) else { return };
    if let (Ok(patched), Some(operations)) = (crate::json_patch(&object, &patch), patch.as_array()) {
        let stepwise = operations.iter().try_fold(object, |object, operation| {
            crate::json_patch(&object, &Value::Array(vec![operation.clone()]))
        });
        assert_eq!(stepwise, Ok(patched));
    }
}

/// Merge patches are idempotent.
pub fn merge_patch(input: &[u8]) {
    let Some((object, _, patch)) = case(input) else { return };
    if let Ok(once) = crate::merge_patch(&object, &patch) {
        assert_eq!(crate::merge_patch(&once, &patch), Ok(once));
    }
}

/// A strategic merge patch is refused, or results in an object.
pub fn strategic_merge_patch(input: &[u8]) {
    let Some((object, kind, patch)) = case(input) else { return };
    if let Ok(patched) = crate::strategic_merge_patch(&object, &patch, kind) {
        assert!(patched.is_object());
    }
}

/// Applies are idempotent, and another write that changes nothing keeps the managed fields.
pub fn apply(input: &[u8]) {
    let Some((object, kind, applied)) = case(input) else { return };
    let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let writer = |manager| Writer {
        manager,
        subresource: "",
        api_version: &api_version,
        time: jiff::Timestamp::UNIX_EPOCH,
        reset: &[&["status"]],
        versions: &[],
        convert: None,
        is_convertible: true,
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
