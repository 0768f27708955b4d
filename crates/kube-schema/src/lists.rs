//! Lists of type `set` and `map`: finds duplicate values and keys, and correlates the elements of a list with the old ones.

use std::collections::BTreeMap;

use kube_validation::{FieldError, FieldPath};
use serde_json::{Map, Value};

use crate::schema::{ListType, Schema, SchemaType};

/// Reports the duplicates in the lists inside `value`.
pub(super) fn validate(value: &Value, schema: &Schema, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(property) =
                    schema.additional_properties.as_ref().and_then(|schema| schema.schema())
                {
                    validate(value, property, &path.key(name), errors);
                }
                if let Some(property) = schema.properties.get(name) {
                    validate(value, property, &path.child(name), errors);
                }
            }
        }
        Value::Array(list) => {
            match schema.list_type {
                ListType::Atomic => {}
                ListType::Set => {
                    for index in repeated(list) {
                        errors.push(FieldError::duplicate(path.index(index), &list[index]));
                    }
                }
                ListType::Map => validate_map(list, schema, path, errors),
            }
            let Some(items) = schema.items.as_deref() else { return };
            for (index, item) in list.iter().enumerate() {
                validate(item, items, &path.index(index), errors);
            }
        }
        _ => {}
    }
}

/// Returns the element of `old` that has the keys of `item`. `None` if one of the keys is absent or not a scalar.
pub(super) fn correlated<'v>(schema: &Schema, item: &Value, old: &'v [Value]) -> Option<&'v Value> {
    if schema.kind != Some(SchemaType::Array)
        || schema.list_type != ListType::Map
        || schema.list_map_keys.is_empty()
    {
        return None;
    }
    let same_key = |old: &Value| {
        schema.list_map_keys.iter().all(|key| match (item.get(key), old.get(key)) {
            (Some(new), Some(old)) => new == old && !new.is_object() && !new.is_array() && !new.is_null(),
            _ => false,
        })
    };
    old.iter().find(|old| same_key(old))
}

fn validate_map(list: &[Value], schema: &Schema, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let detail = "must be an object for an array of list-type map";
    for (index, item) in list.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            errors.push(FieldError::invalid(path.index(index), item, detail));
            return;
        }
    }
    let keys: Vec<_> = list
        .iter()
        .map(|item| {
            let of_item = |key: &String| Some((key.clone(), item.get(key)?.clone()));
            Value::Object(schema.list_map_keys.iter().filter_map(of_item).collect::<Map<_, _>>())
        })
        .collect();
    for index in repeated(&keys) {
        errors.push(FieldError::duplicate(path.index(index), &keys[index]));
    }
}

/// Returns the index of the second occurrence of each value that occurs more than once, in order.
fn repeated(list: &[Value]) -> Vec<usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut repeated = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            repeated.push(index);
        }
    }
    repeated
}
