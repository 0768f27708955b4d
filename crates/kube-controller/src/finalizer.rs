//! When a finalizer is added and removed, as patches that test the version.
//!
//! The patches are JSON merge patches with the whole list and the version of the object that it was computed from. A
//! version that is not the current one is refused with 409, as any conflict is. JSON patches with `test` operations,
//! which kube's helper sends, are refused with 422, which a caller cannot tell from an invalid object, and a test of one
//! item does not notice that the object was marked for deletion or changed since the cleanup read it.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

/// Returns the merge patch that adds a finalizer. `None` if it is there already, or if the object is being deleted:
/// the server takes no new finalizers then.
pub(crate) fn add(object: &ObjectMeta, finalizer: &str) -> Option<Value> {
    if object.deletion_timestamp.is_some() || is_on(object, finalizer) {
        return None;
    }
    let finalizers = object.finalizers.iter().flatten().map(String::as_str).chain([finalizer]);
    Some(patch(object, finalizers))
}

/// Returns the merge patch that removes a finalizer. `None` if it is not there.
///
/// The object is the newest that is known, such as the answer to the status write before: the server refuses the patch
/// if it has changed since.
pub(crate) fn remove(object: &ObjectMeta, finalizer: &str) -> Option<Value> {
    let others = object.finalizers.iter().flatten().map(String::as_str).filter(|name| *name != finalizer);
    is_on(object, finalizer).then(|| patch(object, others))
}

/// Returns whether a finalizer is on the object.
pub(crate) fn is_on(object: &ObjectMeta, finalizer: &str) -> bool {
    object.finalizers.iter().flatten().any(|name| name == finalizer)
}

fn patch<'a>(object: &ObjectMeta, finalizers: impl Iterator<Item = &'a str>) -> Value {
    let finalizers: Vec<_> = finalizers.collect();
    // The uid as well, so that a recreated object, whose version happens to be equal after a restore from a backup, is
    // refused.
    json!({"metadata": {
        "uid": object.uid,
        "resourceVersion": object.resource_version,
        "finalizers": finalizers,
    }})
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
    use kube::{Api, ResourceExt};
    use kube_embedded::Server;
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "web.helloworld/blog";

    fn object(finalizers: &[&str], deleting: bool) -> ObjectMeta {
        let time = deleting.then(|| serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some("7".to_owned()),
            finalizers: (!finalizers.is_empty())
                .then(|| finalizers.iter().map(|name| (*name).to_owned()).collect()),
            deletion_timestamp: time,
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_finalizer_is_added_behind_others() {
        let expected = json!({"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": ["a/b", OURS]}});
        assert_eq!(add(&object(&["a/b"], false), OURS), Some(expected));
        assert_eq!(add(&object(&[], false), OURS).unwrap()["metadata"]["finalizers"], json!([OURS]));
    }

    #[test]
    fn a_finalizer_is_not_added_twice_or_during_deletion() {
        assert_eq!(add(&object(&[OURS], false), OURS), None);
        assert_eq!(add(&object(&[], true), OURS), None);
        assert_eq!(add(&object(&["a/b"], true), OURS), None);
    }

    #[test]
    fn removing_a_finalizer_keeps_those_of_others() {
        // A duplicate, which others may have written, must not keep the object forever.
        let patch = remove(&object(&["a/b", OURS, "c/d", OURS], true), OURS).unwrap();
        let expected =
            json!({"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": ["a/b", "c/d"]}});
        assert_eq!(patch, expected);
        assert_eq!(remove(&object(&["a/b"], true), OURS), None);
    }

    async fn config_map(api: &Api<ConfigMap>) -> ConfigMap {
        let object = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    async fn send(api: &Api<ConfigMap>, patch: &Value) -> Result<ConfigMap, kube::Error> {
        api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await
    }

    // Rule 20
    #[tokio::test]
    async fn patches_test_the_version() {
        let server = Server::start();
        let api = Api::<ConfigMap>::default_namespaced(server.client());
        let stale = config_map(&api).await;
        // Two adds from the same state: the second is a conflict, and does not add the finalizer twice.
        let patch = add(&stale.metadata, OURS).unwrap();
        let on = send(&api, &patch).await.unwrap();
        assert_eq!(on.finalizers(), [OURS]);
        let error = send(&api, &patch).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 409), "{error:?}");

        // Another one is added in between: removing ours does not remove it.
        let stale = on;
        let other = add(&stale.metadata, "a/b").unwrap();
        let both = send(&api, &other).await.unwrap();
        let error = send(&api, &remove(&stale.metadata, OURS).unwrap()).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 409), "{error:?}");
        let left = send(&api, &remove(&both.metadata, OURS).unwrap()).await.unwrap();
        assert_eq!(left.finalizers(), ["a/b"]);

        // The last one lets the object go.
        api.delete("a", &DeleteParams::default()).await.unwrap();
        let deleting = api.get("a").await.unwrap();
        assert_eq!(add(&deleting.metadata, OURS), None);
        send(&api, &remove(&deleting.metadata, "a/b").unwrap()).await.unwrap();
        assert!(api.get_opt("a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_recreated_object_is_not_patched() {
        let server = Server::start();
        let api = Api::<ConfigMap>::default_namespaced(server.client());
        let first = config_map(&api).await;
        api.delete("a", &DeleteParams::default()).await.unwrap();
        let second = config_map(&api).await;
        assert!(send(&api, &add(&first.metadata, OURS).unwrap()).await.is_err());
        // The same, if a version were equal.
        let mut patch = add(&first.metadata, OURS).unwrap();
        patch["metadata"]["resourceVersion"] = second.resource_version().into();
        assert!(send(&api, &patch).await.is_err());
    }

    proptest! {
        #[test]
        fn removing_undoes_adding(names in prop::collection::vec("[a-c]/x", 0..4)) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let before = object(&names, false);
            let mut after = before.clone();
            let patch = add(&before, OURS).unwrap();
            after.finalizers = serde_json::from_value(patch["metadata"]["finalizers"].clone()).unwrap();
            prop_assert!(is_on(&after, OURS));
            prop_assert_eq!(add(&after, OURS), None);
            prop_assert_eq!(remove(&after, OURS).unwrap()["metadata"]["finalizers"].clone(), json!(names));
        }
    }
}
