//! Parses the JSON of `openAPIV3Schema` to a [`Schema`] that kube-apiserver would accept.

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use crate::{cel, read, rules, schema::Schema};

/// Parses the schema at `path`. The rules of `previous`, the schema that it replaces, are not compiled again.
pub(super) fn schema(
    openapi: &Value,
    path: &str,
    previous: Option<&Schema>,
) -> Result<Schema, Vec<FieldError>> {
    let path = FieldPath::Root(path);
    let mut patterns = read::Patterns::default();
    let (mut schema, wrong_types) = read::schema(openapi, &path, &mut patterns);
    let (Value::Object(json), true) = (openapi, wrong_types.is_empty()) else { return Err(wrong_types) };

    let mut errors = Vec::new();
    if schema.nullable {
        errors.push(FieldError::forbidden(path.child("nullable"), "nullable cannot be true at the root"));
    }
    let unsupported = rules::check_openapi(json, &path);
    let unconvertible = rules::unconvertible(json);
    // Each check assumes what the one before found; the rules, that the defaults are valid.
    let mut uncompiled = Vec::new();
    if unconvertible.is_none() {
        let mut invalid = rules::check_structure(json, &path, &mut patterns);
        if invalid.is_empty() {
            uncompiled = cel::compile(&mut schema, openapi, previous, &path, &unsupported.places);
            rules::check_defaults(&schema, &path, &mut invalid);
        }
        if !invalid.is_empty() {
            uncompiled.clear();
        }
        errors.extend(invalid);
    }
    errors.extend(unsupported.errors);
    errors.extend(uncompiled);
    // Most reasons are also among the errors.
    if let (true, Some(reason)) = (errors.is_empty(), unconvertible) {
        errors.push(FieldError::invalid(path, &"".into(), &reason));
    }
    if errors.is_empty() { Ok(schema) } else { Err(errors) }
}
