//! Removes the fields that a schema does not specify.
//!
//! The rules are apiextensions-apiserver's `pruning`, including its quirks: a map with `additionalProperties: true` keeps
//! its keys and loses everything inside their values.

use kube_validation::FieldPath;
use serde_json::{Map, Value};

use crate::{metadata, schema::Schema};

/// Prunes a whole object, except its `apiVersion`, `kind` and `metadata`. Returns the removed paths, sorted, with those
/// inside the metadata of embedded resources last.
pub(super) fn root(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut pruner = Pruner::default();
    let path = FieldPath::Root("");
    if let Value::Object(map) = object {
        if schema.preserve_unknown_fields {
            pruner.known_fields(map, schema, true, &path);
        } else {
            pruner.known_and_unknown(map, schema, true, &path);
        }
    }
    pruner.fields.sort();
    pruner.metadata.sort();
    pruner.fields.append(&mut pruner.metadata);
    pruner.fields
}

/// Prunes a value inside an object, such as a default, according to the schema only.
pub(super) fn value(value: &mut Value, schema: &Schema) {
    Pruner::default().value(value, Some(schema), &FieldPath::Root(""));
}

/// Collects the removed paths.
#[derive(Default)]
struct Pruner {
    fields: Vec<String>,
    metadata: Vec<String>,
}

impl Pruner {
    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, path: &FieldPath<'_>) {
        let Some(schema) = schema else { return self.unknown(value, path) };
        match value {
            _ if schema.preserve_unknown_fields => self.preserved(value, schema, path),
            Value::Object(map) => {
                self.embedded_metadata(map, schema, path);
                self.known_and_unknown(map, schema, schema.embedded_resource, path);
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, schema.items.as_deref(), &path.index(index));
                }
            }
            _ => {}
        }
    }

    /// Prunes a value without a schema: maps lose everything.
    fn unknown(&mut self, value: &mut Value, path: &FieldPath<'_>) {
        match value {
            Value::Object(map) => {
                self.fields.extend(map.keys().map(|key| path.child(key).to_string()));
                map.clear();
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.unknown(item, &path.index(index));
                }
            }
            _ => {}
        }
    }

    /// Prunes a value below `x-kubernetes-preserve-unknown-fields`: pruning continues inside the fields that the schema
    /// specifies.
    fn preserved(&mut self, value: &mut Value, schema: &Schema, path: &FieldPath<'_>) {
        match value {
            Value::Object(map) => {
                self.embedded_metadata(map, schema, path);
                self.known_fields(map, schema, schema.embedded_resource, path);
            }
            Value::Array(list) => {
                let Some(items) = schema.items.as_deref() else { return };
                for (index, item) in list.iter_mut().enumerate() {
                    self.preserved(item, items, &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn known_and_unknown(
        &mut self,
        map: &mut Map<String, Value>,
        schema: &Schema,
        is_resource: bool,
        path: &FieldPath<'_>,
    ) {
        map.retain(|key, value| {
            let known = schema.properties.contains_key(key) || schema.additional_properties.is_some();
            if is_resource && metadata::is_type_or_object_meta(key) {
                return true;
            }
            if known {
                self.value(value, schema.property(key), &path.child(key));
            } else {
                self.fields.push(path.child(key).to_string());
            }
            known
        });
    }

    fn known_fields(
        &mut self,
        map: &mut Map<String, Value>,
        schema: &Schema,
        is_resource: bool,
        path: &FieldPath<'_>,
    ) {
        for (key, value) in map.iter_mut() {
            if is_resource && metadata::is_type_or_object_meta(key) {
                continue;
            }
            if schema.properties.contains_key(key) || schema.additional_properties.is_some() {
                self.value(value, schema.property(key), &path.child(key));
            }
        }
    }

    fn embedded_metadata(&mut self, map: &mut Map<String, Value>, schema: &Schema, path: &FieldPath<'_>) {
        if schema.embedded_resource
            && let Some(metadata) = map.get_mut("metadata")
        {
            self.metadata.extend(metadata::prune(metadata, &path.child("metadata")));
        }
    }
}
