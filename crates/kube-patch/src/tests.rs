//! The expected results are those of kube-apiserver 1.37.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static BUILTIN: LazyLock<Definitions> =
    LazyLock::new(|| Definitions::on_demand(kube_builtin::schemas::texts()));

fn pod_type() -> ObjectType<'static> {
    BUILTIN.get("io.k8s.api.core.v1.Pod").unwrap()
}

fn blog() -> Value {
    json!({"kind": "Blog", "spec": {"url": "https://x", "tags": ["p", "q"], "free": {"a": [1], "t": true}}})
}

fn spec_after(patch: &Value) -> Result<Value, PatchError> {
    json_patch(&blog(), patch).map(|mut patched| patched["spec"].take())
}

#[test]
fn json_patches_apply() {
    for (patch, pointer, expected) in [
        (json!([{"op": "test", "path": "/spec/none", "value": null}]), "/spec", blog()["spec"].clone()),
        (json!([{"op": "add", "path": "/spec/title"}]), "/spec/title", Value::Null),
        (json!([{"op": "add", "path": "spec/title", "value": "x"}]), "/title", json!("x")),
        (json!([{"op": "add", "path": "/spec/tags/-", "value": "z"}]), "/spec/tags", json!(["p", "q", "z"])),
        (json!([{"op": "add", "path": "/spec/tags/-1", "value": "z"}]), "/spec/tags", json!(["p", "q", "z"])),
        (json!([{"op": "add", "path": "/spec/tags/0", "value": "z"}]), "/spec/tags", json!(["z", "p", "q"])),
        (json!([{"op": "remove", "path": "/spec/tags/-1"}]), "/spec/tags", json!(["p"])),
        (
            json!([{"op": "copy", "from": "/spec/url", "path": "/spec/title"}]),
            "/spec/title",
            json!("https://x"),
        ),
        (
            json!([{"op": "move", "from": "/spec/url", "path": "/spec/title"}]),
            "/spec/title",
            json!("https://x"),
        ),
        (json!([{"op": "copy", "from": "/spec/none", "path": "/spec/title"}]), "/spec/title", Value::Null),
        (json!([{"op": "replace", "path": "/spec/none", "value": 1}]), "/spec/none", json!(1)),
        (json!([{"op": "replace", "path": "", "value": {"a": 1}}]), "/a", json!(1)),
        (json!([{"op": "add", "path": "/spec/title", "value": "x", "extra": 1}]), "/spec/title", json!("x")),
        (json!([]), "/spec/url", json!("https://x")),
        (json!(null), "/spec/url", json!("https://x")),
    ] {
        let patched = json_patch(&blog(), &patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(patched.pointer(pointer), Some(&expected), "{patch}");
    }
}

#[test]
fn json_patches_are_refused() {
    let bad = |message: &str| PatchError::BadRequest(message.to_owned());
    let misfit = |why: &str| PatchError::Inapplicable(why.to_owned());
    let failed = |path: &str| PatchError::TestFailed(format!("testing value {path} failed: test failed"));
    for (patch, error) in [
        (
            json!({}),
            bad(
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ),
        ),
        (
            json!([1]),
            bad(
                "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
            ),
        ),
        (
            json!([{"op": 1, "path": "/spec"}]),
            bad(
                "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
            ),
        ),
        (json!([{"op": "foo", "path": "/a"}]), misfit("Unexpected kind: foo")),
        (json!([{"op": "test", "path": "/spec/url", "value": "no"}]), failed("/spec/url")),
        (json!([{"op": "test", "path": "/spec/none", "value": 1}]), failed("/spec/none")),
        (json!([{"op": "test", "path": "/spec/url", "value": null}]), failed("/spec/url")),
        (
            json!([{"op": "test", "path": "/a/b/c", "value": null}]),
            misfit("test operation does not apply: is missing path: /a/b/c: missing value"),
        ),
        (
            json!([{"op": "remove", "path": "/spec/none"}]),
            misfit(
                "error in remove for path: '/spec/none': Unable to remove nonexistent key: none: missing value",
            ),
        ),
        (
            json!([{"op": "replace", "path": "/spec/tags/5", "value": "z"}]),
            misfit("replace operation does not apply: doc is missing key: /spec/tags/5: missing value"),
        ),
        (
            json!([{"op": "replace", "path": "/none/a", "value": "z"}]),
            misfit("replace operation does not apply: doc is missing path: /none/a: missing value"),
        ),
        (
            json!([{"op": "move", "from": "/spec/none", "path": "/spec/title"}]),
            misfit("error in move for path: 'none': Unable to remove nonexistent key: none: missing value"),
        ),
        (
            json!([{"op": "add", "path": "/x/y/z", "value": 1}]),
            misfit("add operation does not apply: doc is missing path: \"/x/y/z\": missing value"),
        ),
        (json!([{"op": "add"}]), misfit("add operation failed to decode path: missing value")),
        (json!([{"path": "/spec"}]), misfit("Unexpected kind: ")),
    ] {
        assert_eq!(spec_after(&patch), Err(error), "{patch}");
    }
}

#[test]
fn json_patches_are_bounded() {
    let test = json!({"op": "test", "path": "/kind", "value": "Blog"});
    assert!(json_patch(&blog(), &Value::from(vec![test.clone(); 10_000])).is_ok());
    let error = json_patch(&blog(), &Value::from(vec![test; 10_001])).unwrap_err();
    let message =
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!(error.to_string(), message);

    let mut doubling = vec![json!({"op": "add", "path": "/spec/free", "value": {"a": "x".repeat(2000)}})];
    doubling.extend(
        (0..30).map(|n| json!({"op": "copy", "from": "/spec/free", "path": format!("/spec/free/b{n}")})),
    );
    assert!(matches!(json_patch(&blog(), &Value::from(doubling)), Err(PatchError::Inapplicable(_))));

    // Each copy into the innermost member doubles the depth: 16 of them would exhaust the stack.
    let (mut deepening, mut depth) =
        (vec![json!({"op": "add", "path": "/spec/free", "value": {"a": {}}})], 1);
    for _ in 0..16 {
        let innermost = format!("/spec/free{}", "/a".repeat(depth + 1));
        deepening.push(json!({"op": "copy", "from": "/spec/free", "path": innermost}));
        depth = 2 * depth + 1;
    }
    assert!(json_patch(&blog(), &Value::from(deepening[..6].to_vec())).is_ok());
    assert!(matches!(json_patch(&blog(), &Value::from(deepening)), Err(PatchError::Inapplicable(_))));
    let nest = |depth| (1..depth).fold(json!(0), |inner, _| json!([inner]));
    for (depth, fits) in [(126, true), (127, false)] {
        for path in ["/spec/free", "/spec/tags"] {
            let add = json!([{"op": "add", "path": path, "value": nest(depth)}]);
            assert_eq!(json_patch(&blog(), &add).is_ok(), fits, "{depth} {path}");
        }
    }
}

#[test]
fn merge_patches_drop_nulls_in_what_is_new() {
    let list = json!([{"a": null, "b": 1}, null]);
    let merged = merge_patch(&json!({"was": {"c": 1}}), &json!({"new": {"in": list}, "was": list})).unwrap();
    assert_eq!(merged["new"]["in"], json!([{"b": 1}, null]));
    // Not where an object is replaced.
    assert_eq!(merged["was"], list);
}

#[test]
fn merge_patches_apply_or_are_refused() {
    let patched =
        merge_patch(&blog(), &json!({"spec": {"url": null, "free": {"a": {"b": null, "c": 1}}}})).unwrap();
    assert_eq!(patched["spec"], json!({"tags": ["p", "q"], "free": {"a": {"c": 1}, "t": true}}));
    for (patch, message) in [
        (
            json!([]),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            json!(5),
            "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}",
        ),
        (json!(null), "Invalid JSON Patch"),
    ] {
        assert_eq!(merge_patch(&blog(), &patch), Err(PatchError::BadRequest(message.to_owned())));
    }
}

fn pod(patch: &Value) -> Result<Value, PatchError> {
    let pod = json!({
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": ["x/one", "x/two"]},
        "spec": {
            "containers": [{"name": "first", "image": "one", "args": ["a"]}, {"name": "second", "image": "two"}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    });
    strategic_merge_patch(&pod, patch, pod_type())
}

#[test]
fn strategic_patches_merge_by_the_types_keys() {
    for (patch, pointer, expected) in [
        (
            json!({"spec": {"containers": [{"name": "second", "image": "new"}]}}),
            "/spec/containers",
            json!([{"name": "first", "image": "one", "args": ["a"]}, {"name": "second", "image": "new"}]),
        ),
        (
            json!({"spec": {"containers": [{"name": "third"}, {"name": "first", "args": ["b"], "image": null}]}}),
            "/spec/containers",
            json!([{"name": "third"}, {"name": "first", "args": ["b"]}, {"name": "second", "image": "two"}]),
        ),
        (
            json!({"spec": {"containers": [{"name": "first", "$patch": "delete"}]}}),
            "/spec/containers",
            json!([{"name": "second", "image": "two"}]),
        ),
        (
            json!({"spec": {"containers": [{"name": "new"}, {"$patch": "replace"}]}}),
            "/spec/containers",
            json!([{"name": "new"}]),
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "second"}, {"name": "first"}]}}),
            "/spec/containers",
            json!([{"name": "second", "image": "two"}, {"name": "first", "image": "one", "args": ["a"]}]),
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}}),
            "/spec/volumes",
            json!([{"name": "v", "hostPath": {"path": "/"}}]),
        ),
        (
            json!({"metadata": {"finalizers": ["x/three"]}}),
            "/metadata/finalizers",
            json!(["x/three", "x/one", "x/two"]),
        ),
        (
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/one"]}}),
            "/metadata/finalizers",
            json!(["x/two"]),
        ),
        (
            json!({"metadata": {"labels": {"$patch": "replace", "q": "r"}}}),
            "/metadata/labels",
            json!({"q": "r"}),
        ),
        (json!({"metadata": {"labels": {"$patch": "delete"}}}), "/metadata/labels", json!({})),
        (json!({"metadata": {"labels": {"a": null, "c": "d"}}}), "/metadata/labels", json!({"c": "d"})),
        (
            json!({"metadata": {"annotations": {"a": null, "c": "d"}}}),
            "/metadata/annotations",
            json!({"c": "d"}),
        ),
        (json!(null), "/metadata/labels", json!({"a": "b"})),
    ] {
        let patched = pod(&patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(patched.pointer(pointer), Some(&expected), "{patch}");
    }
}

#[test]
fn strategic_patches_are_refused() {
    let internal = |message: &str| PatchError::Internal(message.to_owned());
    for (patch, error) in [
        (
            json!([]),
            PatchError::BadRequest(
                "json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned(),
            ),
        ),
        (json!({"$patch": "bogus"}), internal("unknown patch type: bogus in map: map[$patch:bogus]")),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            internal("map: map[image:x] does not contain declared merge key: name"),
        ),
        (
            json!({"spec": {"containers": ["x"]}}),
            internal(
                "list element types are not identical: [[map[args:[a] image:one name:first] map[image:two name:second]] [x]]",
            ),
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "nope"}], "containers": [{"name": "a"}]}}),
            internal(
                "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:nope]]\n",
            ),
        ),
        (
            json!({"spec": {"containers": [{"name": "first", "$patch": "zap"}]}}),
            internal("unknown patch type: zap in map: map[$patch:zap name:first]"),
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}}),
            PatchError::BadRequest("invalid patch format of retainKeys".to_owned()),
        ),
    ] {
        assert_eq!(pod(&patch), Err(error), "{patch}");
    }
}

fn any_patch() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "first|second|delete|replace|merge|/spec|/spec/containers/-1|add|copy|move|test|[a-c]"
            .prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 32, 4, |inner| {
        let keys = r"metadata|spec|containers|finalizers|labels|volumes|name|image|op|path|from|value|\$patch|\$retainKeys|\$deleteFromPrimitiveList/finalizers|\$setElementOrder/(containers|finalizers)";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_patch_panics(patch in any_patch(), object in any_patch()) {
        let _ = json_patch(&object, &patch);
        let _ = merge_patch(&object, &patch);
        let _ = pod(&patch);
        let _ = strategic_merge_patch(&object, &patch, pod_type());
    }

    #[test]
    fn an_empty_patch_changes_nothing(object in any_patch()) {
        prop_assert_eq!(json_patch(&object, &json!([])), Ok(object.clone()));
        if object.is_object() {
            prop_assert_eq!(merge_patch(&object, &json!({})), Ok(object.clone()));
            prop_assert_eq!(strategic_merge_patch(&object, &json!({}), pod_type()), Ok(object));
        }
    }
}
