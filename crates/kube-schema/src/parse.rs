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
    let (mut schema, wrong_types) = read::schema(openapi, &path);
    let (Value::Object(json), true) = (openapi, wrong_types.is_empty()) else { return Err(wrong_types) };

    let unconvertible = rules::unconvertible(json);
    let mut errors = match unconvertible {
        Some(_) => Vec::new(),
        None => rules::check_structure(json, &path),
    };
    let is_structural = unconvertible.is_none() && errors.is_empty();
    if schema.nullable {
        errors
            .insert(0, FieldError::forbidden(path.child("nullable"), "nullable cannot be true at the root"));
    }
    let unsupported = rules::check_openapi(json, &path);
    let uncompiled = match is_structural && unsupported.is_empty() {
        true => cel::compile(&mut schema, openapi, previous, &path),
        false => Vec::new(),
    };
    if is_structural {
        rules::check_defaults(&schema, &path, &mut errors);
    }
    errors.extend(unsupported);
    errors.extend(uncompiled);
    // Most reasons are also among the errors.
    if let (true, Some(reason)) = (errors.is_empty(), unconvertible) {
        errors.push(FieldError::invalid(path, &"".into(), &reason));
    }
    if errors.is_empty() { Ok(schema) } else { Err(errors) }
}
