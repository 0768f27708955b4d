//! Migration from `kubectl apply` to `kubectl apply --server-side`: the annotation in which the former stores what it applied.

use serde_json::Value;

use super::object::type_of;
use super::set::Set;
use super::update::Conflicts;
use super::walk;
use crate::types::Type;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The maximum size of all annotations of an object together, in bytes (apimachinery's `TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Returns the fields of the last applied configuration that are unchanged in the live object.
pub(super) fn owned(kind: Type<'_>, live: &Value, api_version: &str) -> Set {
    let Some(last) = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return Set::default();
    };
    if type_of(&last).0 != api_version || !walk::validate(kind, &last, false).is_empty() {
        return Set::default();
    }
    let changes = walk::compare(kind, &last, live);
    let set = walk::field_set(kind, &last);
    set.difference(&changes.modified).difference(&changes.added).difference(&changes.removed)
}

/// Removes the conflicts at these fields.
pub(super) fn without(conflicts: Conflicts, allowed: &Set) -> Conflicts {
    let rest = conflicts.into_iter().filter_map(|(manager, mut paths)| {
        paths.retain(|path| !allowed.has(path));
        (!paths.is_empty()).then_some((manager, paths))
    });
    rest.collect()
}

/// Writes the applied configuration to the annotation, if the object has the annotation.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    if annotation(object).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = applied.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{applied}\n");
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else {
        return;
    };
    annotations.insert(ANNOTATION.to_owned(), text.into());
    let size: usize =
        annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()
}
