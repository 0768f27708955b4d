//! The parts of cells: fields of objects, formatted as kubectl does.

use jiff::Timestamp;
use kube_selectors::LabelSelector;
use serde_json::Value;

use crate::age::since;

pub(super) fn at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn len(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

pub(super) fn name(object: &Value) -> Value {
    at(object, "/metadata/name").into()
}

pub(super) fn ago(time: &str, now: Timestamp) -> String {
    since(Some(time), now).unwrap_or_else(|| "<invalid>".to_owned())
}

pub(super) fn age_of(object: &Value, now: Timestamp) -> Value {
    ago(at(object, "/metadata/creationTimestamp"), now).into()
}

pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

pub(super) fn scalar_or(value: &Value, absent: &str) -> Value {
    match value {
        Value::Null => absent.into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

pub(super) fn access_modes(modes: &Value) -> Value {
    let short = |mode: &Value| match mode.as_str()? {
        "ReadWriteOnce" => Some("RWO"),
        "ReadOnlyMany" => Some("ROX"),
        "ReadWriteMany" => Some("RWX"),
        "ReadWriteOncePod" => Some("RWOP"),
        _ => None,
    };
    modes.as_array().into_iter().flatten().filter_map(short).collect::<Vec<_>>().join(",").into()
}

/// Formats a label selector as kubectl does: `metav1.FormatLabelSelector`.
pub(super) fn selector(selector: &Value) -> Value {
    if selector.is_null() {
        return "<none>".into();
    }
    match LabelSelector::from_object(selector) {
        Ok(selector) => or_none(&selector.to_string()),
        Err(_) => "<error>".into(),
    }
}
