//! JSON merge patch.

use kube_validation::go::json_type;
use serde_json::Value;

use crate::error::PatchError;

/// Applies a JSON merge patch (RFC 7396): members replace those of the object, and null removes them.
///
/// # Errors
/// Fails with [`PatchError::BadRequest`] if the patch is not an object.
pub fn merge_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    match patch {
        Value::Object(_) => {
            let mut patched = object.clone();
            json_patch::merge(&mut patched, patch);
            Ok(patched)
        }
        Value::Null => Err(PatchError::BadRequest("Invalid JSON Patch".to_owned())),
        other => Err(PatchError::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(other)
        ))),
    }
}
