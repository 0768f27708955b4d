//! Fills in the defaults of a schema, after removing nulls that are not allowed.
//!
//! The rules are apiextensions-apiserver's `defaulting`: a `null` where the schema has no `nullable` counts as
//! absent, so it is dropped, or replaced by the default.

use serde_json::Value;

use crate::schema::Schema;

/// Removes the nulls that are neither allowed nor defaulted, then fills in defaults.
pub(super) fn value(value: &mut Value, schema: &Schema) {
    drop_nulls(value, schema);
    fill(value, schema);
}

/// Removes each `null` from objects whose schema neither allows it nor has a default for it.
fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => map.retain(|key, value| {
            let Some(schema) = schema.property(key) else { return true };
            if value.is_null() && !schema.nullable && schema.default.is_none() {
                return false;
            }
            drop_nulls(value, schema);
            true
        }),
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return };
            list.iter_mut().for_each(|item| drop_nulls(item, items));
        }
        _ => {}
    }
}

/// Fills in defaults, also for nulls that are not allowed.
pub(super) fn fill(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                match map.get_mut(name) {
                    None => _ = map.insert(name.clone(), default.clone()),
                    Some(value) if value.is_null() && !property.nullable => *value = default.clone(),
                    Some(_) => {}
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(property) = schema.property(name) {
                    replace_null(value, property);
                    fill(value, property);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return };
            for item in list {
                replace_null(item, items);
                fill(item, items);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}
