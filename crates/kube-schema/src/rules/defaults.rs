//! Defaults must be pruned and valid.

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use crate::{cel, metadata, prune, schema::Schema, validate};

/// Adds the errors of the defaults inside a schema. Those under `additionalProperties` are forbidden where it matters.
pub(crate) fn check(schema: &Schema, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    if let Some(default) = &schema.default {
        one(schema, default, &path.child("default"), errors);
    }
    if let Some(items) = &schema.items {
        check(items, &path.child("items"), errors);
    }
    let below = path.child("properties");
    for (name, property) in &schema.properties {
        check(property, &below.key(name), errors);
    }
}

fn one(schema: &Schema, default: &Value, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let mut pruned = default.clone();
    prune::value(&mut pruned, schema);
    if pruned != *default {
        errors.push(FieldError::invalid(path, default, "must not have unknown fields"));
    }
    let mut found = Vec::new();
    metadata::validate_embedded(default, schema, path, &mut found);
    if found.is_empty() {
        let invalid = validate::value(schema, default, None, &FieldPath::Root(""));
        found.extend(invalid.into_iter().map(|error| validate::moved(error, path)));
    }
    if found.is_empty() {
        found = cel::validate_default(schema, default, path);
    }
    errors.extend(found);
}
