//! The type and the name of an object.

use serde_json::Value;

/// Returns `apiVersion` and `kind`.
pub(super) fn type_of(object: &Value) -> (&str, &str) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    (text("apiVersion"), text("kind"))
}

/// Formats the type: `web.helloworld/v1, Kind=Blog`. Versions of the core group have a slash, too. A version that cannot be one
/// makes the whole type unknown.
pub(super) fn describe_type(object: &Value) -> String {
    let (api_version, kind) = type_of(object);
    if api_version.matches('/').count() > 1 {
        return "/, Kind=".to_owned();
    }
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// Formats the name and the type: `default/blog; web.helloworld/v1, Kind=Blog`
pub(super) fn describe_object(object: &Value) -> String {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}; {}", text("/metadata/namespace"), text("/metadata/name"), describe_type(object))
}
