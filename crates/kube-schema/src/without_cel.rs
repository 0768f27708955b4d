//! Replaces CEL if the feature `cel` is off: a schema with rules is refused, never accepted unchecked.

use std::collections::BTreeSet;

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use crate::schema::{AdditionalProperties, Schema};

/// The errors found by rules; always empty.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) errors: Vec<FieldError>,
    pub(crate) ratcheted: Vec<FieldError>,
}

/// Refuses the rules of a schema and of the schemas inside it.
pub(crate) fn compile(
    schema: &mut Schema,
    _: &Value,
    _: Option<&Schema>,
    path: &FieldPath<'_>,
    _: &BTreeSet<String>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    refuse(schema, path, &mut errors);
    errors
}

fn refuse(schema: &Schema, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    if !schema.definitions.is_empty() {
        let detail = "rules in CEL cannot be evaluated: kube-schema was built without its feature `cel`";
        errors.push(FieldError::forbidden(path.child("x-kubernetes-validations"), detail));
    }
    if let Some(AdditionalProperties::Schema(values)) = &schema.additional_properties {
        refuse(values, &path.child("additionalProperties"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in &schema.properties {
        refuse(property, &properties.key(name), errors);
    }
    if let Some(items) = &schema.items {
        refuse(items, &path.child("items"), errors);
    }
}

/// Returns no errors: a schema with rules is refused anyway.
pub(crate) fn validate_default(_: &Schema, _: &Value, _: &FieldPath<'_>) -> Vec<FieldError> {
    Vec::new()
}

/// Returns no errors: a schema with rules does not parse.
pub(crate) fn validate(_: &Schema, _: &Value, _: Option<&Value>, _: &FieldPath<'_>) -> Found {
    Found::default()
}
