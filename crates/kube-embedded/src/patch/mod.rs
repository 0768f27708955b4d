//! Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7396) and Kubernetes' strategic merge patch.
//!
//! Each takes an object and returns the patched one; an object is never patched by half. Work and growth are bounded: 10,000
//! operations, 3 MiB of copies.

mod json;
mod strategic;

use serde_json::Value;

pub(crate) use json::json_patch;
pub(crate) use strategic::strategic_merge_patch;

/// Why a patch was refused, by the answer's code; the text is the `Status`'s message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// 400 `BadRequest`: the patch is none.
    #[error("{0}")]
    BadRequest(String),
    /// 413 `RequestEntityTooLarge`: too many operations.
    #[error("Request entity too large: {0}")]
    TooLarge(String),
    /// 422 `Invalid`: the patch does not fit the object. kube-apiserver says no more than this.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// 500 without a reason: a strategic merge patch that does not fit the type.
    #[error("{0}")]
    Internal(String),
}

/// Applies a JSON merge patch.
///
/// A null removes a member, also from what the patch itself adds.
pub(crate) fn merge_patch(object: &Value, patch: &Value) -> Result<Value, Error> {
    match patch {
        Value::Object(_) => {
            let mut patched = object.clone();
            json_patch::merge(&mut patched, patch);
            Ok(patched)
        }
        Value::Null => Err(Error::BadRequest("Invalid JSON Patch".to_owned())),
        other => Err(Error::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(other)
        ))),
    }
}

/// What Go's JSON decoder calls a value.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
