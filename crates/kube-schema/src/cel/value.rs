//! JSON as CEL sees it through a schema: fields have their escaped names, numbers their declared types, and strings of the
//! formats `date`, `date-time`, `duration` and `byte` become timestamps, durations and bytes.

use std::{collections::HashMap, sync::Arc};

use base64::Engine;
use kube_cel::cel::{
    Value as Cel, functions,
    objects::{Key, Map},
};
use serde_json::Value;

use crate::schema::{Schema, SchemaType};

/// Converts the value of `self`. The root of a resource also has `apiVersion`, `kind` and the names in `metadata`.
pub(super) fn convert(value: &Value, schema: &Schema, is_root: bool) -> Cel {
    match value {
        Value::Object(fields) => {
            let by_name = schema.additional_properties.is_none();
            let mut map = HashMap::with_capacity(fields.len());
            for (name, value) in fields {
                let value = match schema.property(name) {
                    Some(property) if !(is_root && name == "metadata") => convert(value, property, false),
                    _ if is_root && matches!(name.as_str(), "apiVersion" | "kind") => dynamic(value),
                    _ if is_root && name == "metadata" => names_of(value),
                    _ if schema.preserve_unknown_fields || schema.kind.is_none() => dynamic(value),
                    _ => continue,
                };
                let name = if by_name { escape(name) } else { name.clone() };
                map.insert(Key::String(Arc::new(name)), value);
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
        Value::Array(list) => Cel::List(Arc::new(match schema.items.as_deref() {
            Some(items) => list.iter().map(|item| convert(item, items, schema.embedded_resource)).collect(),
            None => list.iter().map(dynamic).collect(),
        })),
        Value::String(text) => string(text, schema),
        Value::Number(number) if schema.kind == Some(SchemaType::Number) && !schema.int_or_string => {
            Cel::Float(number.as_f64().unwrap_or(f64::NAN))
        }
        Value::Number(number) if schema.kind == Some(SchemaType::Integer) => integral(number),
        other => dynamic(other),
    }
}

/// Returns a property's name as rules write it.
///
/// See "Escaping" in the documentation of `x-kubernetes-validations`.
pub(super) fn escape(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

fn names_of(metadata: &Value) -> Cel {
    let names = ["name", "generateName"];
    let map: HashMap<_, _> = names
        .iter()
        .filter_map(|name| Some((Key::String(Arc::new((*name).to_owned())), dynamic(metadata.get(*name)?))))
        .collect();
    Cel::Map(Map { map: Arc::new(map) })
}

fn dynamic(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(bool) => Cel::Bool(*bool),
        Value::Number(number) if number.is_i64() => integral(number),
        Value::Number(number) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(dynamic).collect())),
        Value::Object(fields) => {
            let entries =
                fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), dynamic(value)));
            Cel::Map(Map { map: Arc::new(entries.collect()) })
        }
    }
}

fn integral(number: &serde_json::Number) -> Cel {
    #[allow(clippy::cast_possible_truncation)]
    Cel::Int(number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64))
}

/// Converts a string according to its format. A malformed one stays a string: validation has already refused it.
fn string(text: &str, schema: &Schema) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    if schema.int_or_string || schema.kind != Some(SchemaType::String) {
        return plain();
    }
    match schema.checks.format.as_deref() {
        Some("date") => {
            functions::time::timestamp(Arc::new(format!("{text}T00:00:00Z"))).unwrap_or_else(|_| plain())
        }
        Some("date-time") => {
            functions::time::timestamp(Arc::new(text.to_owned())).unwrap_or_else(|_| plain())
        }
        Some("duration") => functions::time::duration(Arc::new(text.to_owned())).unwrap_or_else(|_| plain()),
        Some("byte") => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_or_else(|_| plain(), |bytes| Cel::Bytes(Arc::new(bytes))),
        _ => plain(),
    }
}
