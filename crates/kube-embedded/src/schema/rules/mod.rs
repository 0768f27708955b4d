//! What makes a schema one that kube-apiserver takes: apiextensions-apiserver's `ValidateStructural`, `ValidateDefaults`
//! and `ValidateCustomResourceDefinitionOpenAPISchema`, over the JSON of the schema.
//!
//! What has the wrong JSON type counts as absent here: reading the schema has refused it before.

mod defaults;
mod openapi;
mod structural;

use serde_json::{Map, Value};

pub(super) use self::structural::check as check_structure;
pub(super) use self::{defaults::check as check_defaults, openapi::check as check_openapi};

/// The JSON of one schema.
type Json = Map<String, Value>;

pub(super) fn text<'a>(schema: &'a Json, field: &str) -> &'a str {
    schema.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn flag(schema: &Json, field: &str) -> bool {
    schema.get(field).and_then(Value::as_bool).unwrap_or_default()
}

pub(super) fn object<'a>(schema: &'a Json, field: &str) -> Option<&'a Json> {
    schema.get(field).and_then(Value::as_object)
}

pub(super) fn list<'a>(schema: &'a Json, field: &str) -> &'a [Value] {
    schema.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_set(schema: &Json, field: &str) -> bool {
    schema.get(field).is_some_and(|value| !value.is_null())
}

/// The schemas of the properties, in order of their names.
fn properties(schema: &Json) -> impl Iterator<Item = (&str, &Json)> {
    object(schema, "properties")
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| Some((name.as_str(), schema.as_object()?)))
}

/// The schemas in a list, `allOf` say.
fn schemas<'a>(schema: &'a Json, field: &str) -> impl Iterator<Item = (usize, &'a Json)> {
    list(schema, field).iter().enumerate().filter_map(|(index, schema)| Some((index, schema.as_object()?)))
}
