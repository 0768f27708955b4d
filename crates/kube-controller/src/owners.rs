//! Owner references: how they are set, and whom they name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use kube_informer::ObjectKey;

/// The reason why an object cannot be owned by another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The owner was never created.
    #[error("the owner has no name or no uid: it does not exist in the cluster yet")]
    NotCreated,
    /// An object in a namespace can own objects of that namespace only: the garbage collector deletes others.
    #[error(
        "an object in namespace {owner} cannot own one {}",
        child.as_ref().map_or_else(|| "without a namespace".to_owned(), |child| format!("in namespace {child}"))
    )]
    OtherNamespace {
        /// The owner's namespace.
        owner: String,
        /// The owned object's namespace. `None` if it is cluster-scoped.
        child: Option<String>,
    },
    /// Another controller owns the object. Also one that has the name of the owner but another uid, which is one that
    /// was deleted and created again: the garbage collector is about to delete what its predecessor owned.
    #[error("the object is controlled by {kind} {name} (uid {uid}) already")]
    Controlled {
        /// The controlling owner's kind.
        kind: String,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
}

/// Returns the reference to an owner that controls an object and whose deletion, in the foreground, waits for that of
/// the object. `None` if the owner has no name or uid.
pub(crate) fn owner_reference<K: Resource>(owner: &K, dt: &K::DynamicType) -> Option<OwnerReference> {
    // Empty strings are absent in the API.
    let present = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let meta = owner.meta();
    if !present(&meta.name) || !present(&meta.uid) {
        return None;
    }
    Some(OwnerReference { block_owner_deletion: Some(true), ..owner.controller_owner_ref(dt)? })
}

/// Makes `owner` the controlling owner of an object that is to be written. An object of a namespaced type that names no
/// namespace gets the owner's.
pub(crate) fn own<K: Resource>(
    child: &mut ObjectMeta,
    child_is_namespaced: bool,
    owner: &K,
    dt: &K::DynamicType,
) -> Result<(), OwnerError> {
    let reference = owner_reference(owner, dt).ok_or(OwnerError::NotCreated)?;
    check(child, &reference)?;
    if let Some(namespace) = owner.meta().namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        if child_is_namespaced && child.namespace.is_none() {
            child.namespace = Some(namespace.to_owned());
        }
        if child.namespace.as_deref() != Some(namespace) || !child_is_namespaced {
            let child = if child_is_namespaced { child.namespace.clone() } else { None };
            return Err(OwnerError::OtherNamespace { owner: namespace.to_owned(), child });
        }
    }
    let references = child.owner_references.get_or_insert_default();
    references.retain(|other| other.uid != reference.uid);
    references.push(reference);
    Ok(())
}

/// Checks that no other object controls this one, which may be one that is to be written or the live one. Owners are
/// compared by uid: a name can be that of another object at another time.
pub(crate) fn check(child: &ObjectMeta, owner: &OwnerReference) -> Result<(), OwnerError> {
    match controller(child) {
        Some(other) if other.uid != owner.uid => Err(OwnerError::Controlled {
            kind: other.kind.clone(),
            name: other.name.clone(),
            uid: other.uid.clone(),
        }),
        _ => Ok(()),
    }
}

/// Returns the keys and uids of an object's owners of one type: of a group, in any version, and a kind.
///
/// Whether the owner has a namespace comes from its type, because the reference does not name it: that of a namespaced
/// owner is the object's own, and a cluster-scoped owner has none, also if the object has one.
pub(crate) fn owner_keys(
    child: &ObjectMeta,
    group: &str,
    kind: &str,
    owner_is_namespaced: bool,
) -> Vec<(ObjectKey, String)> {
    let namespace = child.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    // A cluster-scoped object cannot have a namespaced owner: the reference names nothing.
    if owner_is_namespaced && namespace.is_none() {
        return Vec::new();
    }
    let namespace = namespace.filter(|_| owner_is_namespaced);
    let references = child.owner_references.iter().flatten();
    let ours =
        references.filter(|reference| group_of(&reference.api_version) == group && reference.kind == kind);
    ours.map(|reference| (ObjectKey::new(namespace, &reference.name), reference.uid.clone())).collect()
}

fn controller(object: &ObjectMeta) -> Option<&OwnerReference> {
    object.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}

/// The core group, `""`, has versions without a slash.
fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{Namespace, Secret};
    use proptest::prelude::*;

    use super::*;

    fn meta(namespace: Option<&str>, name: &str, uid: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            namespace: namespace.map(str::to_owned),
            name: Some(name.to_owned()),
            uid: uid.map(str::to_owned),
            ..ObjectMeta::default()
        }
    }

    fn deployment(namespace: &str, uid: &str) -> Deployment {
        Deployment { metadata: meta(Some(namespace), "web", Some(uid)), ..Deployment::default() }
    }

    fn namespace(uid: &str) -> Namespace {
        Namespace { metadata: meta(None, "web", Some(uid)), ..Namespace::default() }
    }

    fn owned_by(api_version: &str, kind: &str) -> ObjectMeta {
        let reference = OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: "web".to_owned(),
            uid: "1".to_owned(),
            ..OwnerReference::default()
        };
        ObjectMeta { owner_references: Some(vec![reference]), ..meta(Some("a"), "child", None) }
    }

    #[test]
    fn the_reference_controls_and_blocks_deletion() {
        let expected = OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: "web".to_owned(),
            uid: "1".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        assert_eq!(owner_reference(&deployment("a", "1"), &()), Some(expected));
        assert_eq!(owner_reference(&deployment("a", ""), &()), None);
        assert_eq!(owner_reference(&Secret::default(), &()), None);
    }

    #[test]
    fn an_owned_object_gets_the_namespace_of_its_owner() {
        let mut child = meta(None, "child", None);
        own(&mut child, true, &deployment("a", "1"), &()).unwrap();
        assert_eq!(child.namespace.as_deref(), Some("a"));
        let once = child.clone();
        own(&mut child, true, &deployment("a", "1"), &()).unwrap();
        assert_eq!(child, once, "the reference is there once");
    }

    #[test]
    fn a_namespaced_owner_owns_nothing_outside_its_namespace() {
        let mut elsewhere = meta(Some("b"), "child", None);
        let error = own(&mut elsewhere, true, &deployment("a", "1"), &()).unwrap_err();
        assert_eq!(error.to_string(), "an object in namespace a cannot own one in namespace b");
        let mut cluster_scoped = meta(None, "child", None);
        let error = own(&mut cluster_scoped, false, &deployment("a", "1"), &()).unwrap_err();
        assert_eq!(error.to_string(), "an object in namespace a cannot own one without a namespace");
        for child in [elsewhere, cluster_scoped] {
            assert_eq!(child.owner_references, None);
        }
    }

    #[test]
    fn a_cluster_scoped_owner_owns_objects_anywhere() {
        let mut child = meta(Some("a"), "child", None);
        own(&mut child, true, &namespace("1"), &()).unwrap();
        assert_eq!(
            owner_keys(&child, "", "Namespace", false),
            [(ObjectKey::new(None, "web"), "1".to_owned())]
        );
        own(&mut meta(None, "child", None), false, &namespace("1"), &()).unwrap();
    }

    #[test]
    fn an_owner_that_does_not_exist_yet_is_an_error() {
        let mut child = meta(Some("a"), "child", None);
        assert_eq!(own(&mut child, true, &Deployment::default(), &()), Err(OwnerError::NotCreated));
    }

    #[test]
    fn objects_are_adopted_by_uid_and_not_by_name() {
        let mut child = meta(Some("a"), "child", None);
        own(&mut child, true, &deployment("a", "1"), &()).unwrap();
        let recreated = deployment("a", "2");
        let error = own(&mut child, true, &recreated, &()).unwrap_err();
        assert_eq!(error.to_string(), "the object is controlled by Deployment web (uid 1) already");
        assert_eq!(check(&child, &owner_reference(&recreated, &()).unwrap()), Err(error));
    }

    #[test]
    fn an_owner_that_does_not_control_is_no_obstacle() {
        let mut child = owned_by("v1", "Secret");
        own(&mut child, true, &deployment("a", "2"), &()).unwrap();
        assert_eq!(child.owner_references.unwrap().len(), 2);
    }

    // Rule 18
    #[test]
    fn owners_match_group_and_kind_in_any_version() {
        let key = [(ObjectKey::new("a", "web"), "1".to_owned())];
        assert_eq!(owner_keys(&owned_by("apps/v1", "Deployment"), "apps", "Deployment", true), key);
        assert_eq!(owner_keys(&owned_by("apps/v1beta1", "Deployment"), "apps", "Deployment", true), key);
        assert_eq!(owner_keys(&owned_by("v1", "Secret"), "", "Secret", true), key);
        assert_eq!(owner_keys(&owned_by("other/v1", "Deployment"), "apps", "Deployment", true), []);
        assert_eq!(owner_keys(&owned_by("apps/v1", "ReplicaSet"), "apps", "Deployment", true), []);
        assert_eq!(owner_keys(&owned_by("apps", "Deployment"), "apps", "Deployment", true), []);
    }

    // Rule 18
    #[test]
    fn whether_an_owner_is_namespaced_comes_from_the_type() {
        let namespaced = owned_by("apps/v1", "Deployment");
        let mut cluster_scoped = namespaced.clone();
        cluster_scoped.namespace = None;
        let keys = |child, owner_is_namespaced| owner_keys(child, "apps", "Deployment", owner_is_namespaced);
        assert_eq!(keys(&namespaced, true)[0].0, ObjectKey::new("a", "web"));
        assert_eq!(keys(&namespaced, false)[0].0, ObjectKey::new(None, "web"));
        assert_eq!(keys(&cluster_scoped, false)[0].0, ObjectKey::new(None, "web"));
        assert_eq!(keys(&cluster_scoped, true), []);
    }

    proptest! {
        #[test]
        fn an_object_leads_to_the_owner_that_was_set(
            owner_namespace in "[a-b]", child_namespace in prop::option::of("[a-b]"), namespaced in any::<bool>(),
        ) {
            let owner = deployment(&owner_namespace, "1");
            let mut child = meta(child_namespace.as_deref(), "child", None);
            let owned = own(&mut child, namespaced, &owner, &());
            let fits = namespaced && child_namespace.is_none_or(|namespace| namespace == owner_namespace);
            prop_assert_eq!(owned.is_ok(), fits);
            let keys = owner_keys(&child, "apps", "Deployment", true);
            let expected = (ObjectKey::new(owner_namespace.as_str(), "web"), "1".to_owned());
            prop_assert_eq!(keys, if fits { vec![expected] } else { vec![] });
        }
    }
}
