//! The metadata of an object.

use std::collections::BTreeSet;

use kube_validation::go::quote;
use serde_json::{Map, Value, json};

use crate::resource::{NAMESPACE, Resource};

/// The finalizers of Kubernetes itself, which have no domain.
const KNOWN_FINALIZERS: [&str; 3] = ["foregroundDeletion", "kubernetes", "orphan"];

/// Returns an object's metadata, which is created if there is none.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    match &mut object["metadata"] {
        Value::Object(metadata) => metadata,
        // It was set to an object above.
        _ => unreachable!(),
    }
}

/// The strings of a list. Other values, and what is not a list, are ignored.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Copies a field from `from` to `to`, or removes it if it is absent.
pub(super) fn copy(to: &mut Value, from: &Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}

/// Whether an object is marked as deleted.
pub(crate) fn is_deleted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether an object is marked as deleted and nothing is left to wait for: no finalizer and no grace period.
pub(crate) fn is_finished(resource: &Resource, object: &Value) -> bool {
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    is_deleted(object)
        && empty(&object["metadata"]["finalizers"])
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) <= 0
        && (resource.group_kind() != NAMESPACE || empty(&object["spec"]["finalizers"]))
}

/// Whether an object has a finalizer.
pub(crate) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|it| it == finalizer))
}

/// Removes a finalizer.
pub(crate) fn remove_finalizer(object: &mut Value, finalizer: &str) {
    if let Some(finalizers) = object.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|it| it != finalizer);
        if finalizers.is_empty() {
            metadata(object).remove("finalizers");
        }
    }
}

/// The warnings about finalizers that a custom resource has and its previous state has not: `validateKubeFinalizerName` of
/// apiextensions-apiserver.
pub(super) fn finalizer_warnings(new: &Value, old: &Value) -> Vec<String> {
    let finalizers =
        |object: &Value| texts(&object["metadata"]["finalizers"]).into_iter().collect::<BTreeSet<_>>();
    let (new, old) = (finalizers(new), finalizers(old));
    let is_local = |name: &&String| !name.contains('/') && !KNOWN_FINALIZERS.contains(&name.as_str());
    let warning = |name: &String| {
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        format!(
            "metadata.finalizers: {}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with \
             other finalizer writers",
            quote(name)
        )
    };
    new.difference(&old).filter(is_local).map(warning).collect()
}

/// The owners that an object names.
pub(crate) fn owner_references(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

/// Removes owners that an object names more than once, and returns the warning about them: `dedupOwnerReferences` of
/// apiserver's handlers. References that differ in anything stay, even if they have the same uid. `admitted`: whether admission
/// has changed the object before.
pub(crate) fn remove_repeated_owners(object: &mut Value, admitted: bool) -> Option<String> {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut)?;
    let is_repeated = |(index, owner): (usize, &Value)| owners[..index].contains(owner);
    // Nearly always, there is nothing to do.
    if !owners.iter().enumerate().any(is_repeated) {
        return None;
    }
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut repeated = Vec::new();
    for owner in owners.drain(..) {
        match kept.contains(&owner) {
            true => repeated.push(owner["uid"].as_str().unwrap_or_default().to_owned()),
            false => kept.push(owner),
        }
    }
    *owners = kept;
    let when = if admitted { " after mutating admission happens" } else { "" };
    Some(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_owners_are_repeated() {
        let owner = |name: &str, uid: &str| json!({"name": name, "uid": uid});
        let (a, b, renamed) = (owner("a", "1"), owner("b", "2"), owner("c", "1"));
        let mut object = json!({"metadata": {"ownerReferences": [a, b, renamed, b, a, a]}});
        let warning = remove_repeated_owners(&mut object, false).unwrap();
        assert!(warning.ends_with("duplicate UID(s) observed: 2, 1, 1"), "{warning}");
        assert_eq!(object["metadata"]["ownerReferences"], json!([a, b, renamed]));
        assert_eq!(remove_repeated_owners(&mut object, true), None);
        assert_eq!(remove_repeated_owners(&mut json!({}), true), None);
    }
}
