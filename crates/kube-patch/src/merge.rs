//! JSON merge patch.

use kube_validation::go::json_type;
use serde_json::Value;

use crate::error::PatchError;

/// Applies a JSON merge patch (RFC 7396): members replace those of the object, and null removes them.
///
/// As in kube-apiserver (evanphx/json-patch), this also goes for objects in new arrays, which the RFC takes as they are.
///
/// # Errors
/// Fails with [`PatchError::BadRequest`] if the patch is not an object.
pub fn merge_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    match patch {
        Value::Object(_) => {
            let mut patched = object.clone();
            merge(&mut patched, patch);
            Ok(patched)
        }
        Value::Null => Err(PatchError::BadRequest("Invalid JSON Patch".to_owned())),
        other => Err(PatchError::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(other)
        ))),
    }
}

/// Merges a member. What replaces an object is taken as it is.
fn merge(current: &mut Value, patch: &Value) {
    match (&mut *current, patch) {
        (Value::Object(current), Value::Object(patch)) => {
            for (name, patch) in patch {
                match current.get_mut(name) {
                    _ if patch.is_null() => drop(current.remove(name)),
                    Some(member) if !member.is_null() => merge(member, patch),
                    _ => drop(current.insert(name.clone(), without_nulls(patch))),
                }
            }
        }
        (Value::Object(_), other) => *current = other.clone(),
        (_, patch) => *current = without_nulls(patch),
    }
}

/// A value without the members that are null. Null as an item of an array stays.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
