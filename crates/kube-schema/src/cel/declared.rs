//! The declaration of a schema for CEL: the type of each value, and its maximum size in one request.
//!
//! This follows `SchemaDeclType` in `k8s.io/apiserver/pkg/cel/common`. Sizes are in the units of CEL's `size()`, except
//! that strings with a `maxLength` are measured in bytes.

use std::{collections::BTreeMap, rc::Rc};

use super::value::escape;
use crate::schema::{AdditionalProperties, Schema, SchemaType};

/// The largest request that kube-apiserver accepts, in bytes.
pub(super) const REQUEST_MAX: u64 = 3 * 1024 * 1024;
/// The maximum length of an object's name.
const NAME_MAX: u64 = 253;

/// The declaration of a value.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) kind: Kind,
    /// The maximum number of characters, bytes, items or entries; 0 for values without a size.
    pub(super) max: u64,
    /// The minimum number of bytes that its JSON takes.
    pub(super) min_bytes: u64,
}

/// The type of a declared value.
#[derive(Debug)]
pub(super) enum Kind {
    Dyn,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Rc<Declared>),
    Map(Rc<Declared>),
    /// Fields, by the names that rules use.
    Object(BTreeMap<String, Rc<Declared>>),
}

impl Declared {
    /// Returns the declaration of a schema. `None` if rules cannot access it. `is_resource`: whether `apiVersion`, `kind`
    /// and `metadata` exist regardless of the schema.
    pub(super) fn of(schema: &Schema, is_resource: bool) -> Option<Rc<Self>> {
        let checks = &schema.checks;
        if schema.int_or_string {
            let max = checks.max_length.map_or(REQUEST_MAX - 2, bytes);
            return Some(Self::new(Kind::Dyn, max, 1));
        }
        Some(match schema.kind? {
            SchemaType::Boolean => Self::new(Kind::Bool, 0, 4),
            SchemaType::Integer => Self::new(Kind::Int, 0, 1),
            SchemaType::Number => Self::new(Kind::Double, 0, 1),
            SchemaType::String => Self::string(schema),
            SchemaType::Array => {
                let items = schema.items.as_deref()?;
                let items = Self::of(items, items.embedded_resource)?;
                let max = checks.max_items.map_or((REQUEST_MAX - 2) / (items.min_bytes + 1), count);
                Self::new(Kind::List(items), max, 2)
            }
            SchemaType::Object => match &schema.additional_properties {
                Some(AdditionalProperties::Schema(values)) => {
                    let values = Self::of(values, values.embedded_resource)?;
                    let max = checks.max_properties.map_or((REQUEST_MAX - 2) / (values.min_bytes + 6), count);
                    Self::new(Kind::Map(values), max, 2)
                }
                _ => Self::object(schema, is_resource),
            },
        })
    }

    fn new(kind: Kind, max: u64, min_bytes: u64) -> Rc<Self> {
        Rc::new(Self { kind, max, min_bytes })
    }

    fn string(schema: &Schema) -> Rc<Self> {
        let checks = &schema.checks;
        match checks.format.as_deref() {
            Some("byte") => Self::new(Kind::Bytes, checks.max_length.map_or(REQUEST_MAX - 2, count), 2),
            Some("duration") => Self::new(Kind::Duration, 32, 3),
            Some("date") => Self::new(Kind::Timestamp, 12, 12),
            Some("date-time") => Self::new(Kind::Timestamp, 32, 21),
            _ => {
                let longest =
                    checks.r#enum.iter().filter_map(|value| value.as_str()).map(|text| text.len() as u64);
                let max = match checks.max_length {
                    Some(max) => bytes(max),
                    None if checks.r#enum.is_empty() => REQUEST_MAX - 2,
                    None => longest.max().unwrap_or_default(),
                };
                Self::new(Kind::String, max, 2)
            }
        }
    }

    fn object(schema: &Schema, is_resource: bool) -> Rc<Self> {
        let mut fields = BTreeMap::new();
        let mut min_bytes = 2;
        for (name, property) in &schema.properties {
            let Some(field) = Self::of(property, property.embedded_resource) else { continue };
            if schema.checks.required.contains(name) && property.default.is_none() {
                min_bytes += name.len() as u64 + field.min_bytes + 4;
            }
            fields.insert(escape(name), field);
        }
        if is_resource {
            let string = |max| Self::new(Kind::String, max, 2);
            let own = |name: &str, max: u64| {
                let metadata = schema.properties.get("metadata");
                let field = metadata.and_then(|metadata| metadata.properties.get(name));
                let given = field.and_then(|field| field.checks.max_length).map_or(max, count);
                (name.to_owned(), string(4 * given.min(max)))
            };
            let names = BTreeMap::from([own("name", NAME_MAX), own("generateName", NAME_MAX - 1)]);
            fields.insert("apiVersion".to_owned(), string(REQUEST_MAX - 2));
            fields.insert("kind".to_owned(), string(REQUEST_MAX - 2));
            fields.insert("metadata".to_owned(), Self::new(Kind::Object(names), 0, 2));
        }
        Self::new(Kind::Object(fields), 0, min_bytes)
    }
}

/// Returns the declaration of a map's keys.
pub(super) fn key() -> Rc<Declared> {
    Declared::new(Kind::String, 0, 2)
}

fn count(max: i64) -> u64 {
    u64::try_from(max).unwrap_or_default()
}

/// Converts a length in characters to bytes: a character takes up to four.
fn bytes(max_length: i64) -> u64 {
    count(max_length).saturating_mul(4)
}
