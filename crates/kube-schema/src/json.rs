//! Accessors for the JSON of a schema. A value of the wrong type counts as absent: it was refused when the schema was read.

use serde_json::{Map, Value};

/// The JSON of one schema.
pub(crate) type Json = Map<String, Value>;

pub(crate) fn text<'a>(schema: &'a Json, field: &str) -> &'a str {
    schema.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn flag(schema: &Json, field: &str) -> bool {
    schema.get(field).and_then(Value::as_bool).unwrap_or_default()
}

pub(crate) fn object<'a>(schema: &'a Json, field: &str) -> Option<&'a Json> {
    schema.get(field).and_then(Value::as_object)
}

pub(crate) fn list<'a>(schema: &'a Json, field: &str) -> &'a [Value] {
    schema.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn is_set(schema: &Json, field: &str) -> bool {
    schema.get(field).is_some_and(|value| !value.is_null())
}

/// Returns whether a field is absent or has an empty value.
pub(crate) fn is_empty(schema: &Json, field: &str) -> bool {
    match schema.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// Returns the schemas of the properties, ordered by name.
pub(crate) fn properties(schema: &Json) -> impl Iterator<Item = (&str, &Json)> {
    object(schema, "properties")
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| Some((name.as_str(), schema.as_object()?)))
}

/// Returns the schemas in a list such as `allOf`.
pub(crate) fn schemas<'a>(schema: &'a Json, field: &str) -> impl Iterator<Item = (usize, &'a Json)> {
    list(schema, field).iter().enumerate().filter_map(|(index, schema)| Some((index, schema.as_object()?)))
}
