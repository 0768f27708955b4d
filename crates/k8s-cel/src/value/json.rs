//! Reads JSON by its declaration: apiserver's `pkg/cel/common/valuesunstructured.go`.

use std::sync::LazyLock;

use serde_json::Value as Json;

use super::{Error, Evaluated, List, Map, Opaque, Text, VISIT, Value, work};
use crate::{
    go,
    schema::{Declaration, ListKind, Shape, unescape},
    types::Type,
};

/// Reads a value. The cost does not depend on its size: elements and fields are read when an expression asks for them.
pub(crate) fn read<'a>(json: &'a Json, declaration: &'a Declaration) -> Evaluated<'a> {
    if json.is_null() && !matches!(declaration.shape(), Shape::Dynamic) {
        return if declaration.is_nullable() {
            Ok(Value::Null)
        } else {
            Err(Error::new("invalid data, got null for schema with nullable=false"))
        };
    }
    match declaration.shape() {
        Shape::IntOrString => match json {
            Json::String(text) => Ok(Value::string(text.as_str())),
            Json::Number(number) if number.is_i64() => Ok(Value::Int(number.as_i64().unwrap_or_default())),
            _ => {
                Err(Error::new("invalid data, expected XIntOrString value to be either a string or integer"))
            }
        },
        Shape::Object(_) | Shape::Map(_) => match json {
            Json::Object(map) => Ok(Value::Map(Map::Json(map, declaration))),
            _ => Err(Error::new("invalid data, expected a map for the provided schema with type=object")),
        },
        Shape::List { .. } => match json {
            Json::Array(items) => Ok(Value::List(List::Json(items, declaration))),
            _ => Err(Error::new("invalid data, expected an array for the provided schema with type=array")),
        },
        Shape::String | Shape::Bytes | Shape::Duration | Shape::Date | Shape::DateTime => match json {
            Json::String(text) => read_string(text, declaration.shape()),
            _ => Err(unexpected("string", json)),
        },
        Shape::Double => match json {
            Json::Number(number) => Ok(Value::Double(number.as_f64().unwrap_or_default())),
            _ => Err(unexpected("float", json)),
        },
        Shape::Int => match json.as_i64() {
            Some(value) => Ok(Value::Int(value)),
            None => Err(unexpected("int", json)),
        },
        Shape::Bool => match json {
            Json::Bool(value) => Ok(Value::Bool(*value)),
            _ => Err(unexpected("bool", json)),
        },
        Shape::Preserved => {
            work(nodes(json).saturating_mul(VISIT))?;
            Ok(Value::opaque(Preserved(json.clone())))
        }
        Shape::Dynamic => Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Value::Int(value),
                None => Value::Double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::string(text.as_str()),
            Json::Array(items) => Value::List(List::Json(items, declaration)),
            Json::Object(map) => Value::Map(Map::Json(map, declaration)),
        }),
        Shape::Untyped("array") => {
            Err(Error::new("invalid array type, expected Items with a non-empty Schema"))
        }
        Shape::Untyped(kind) => Err(Error::new(format!(
            "invalid type, expected object, array, number, integer, boolean or string, or no type with \
             x-kubernetes-int-or-string or x-kubernetes-preserve-unknown-fields is true, got {kind}"
        ))),
    }
}

/// How many values there are in JSON.
fn nodes(json: &Json) -> usize {
    match json {
        Json::Array(items) => items.iter().map(nodes).sum::<usize>() + 1,
        Json::Object(entries) => entries.values().map(nodes).sum::<usize>() + 1,
        _ => 1,
    }
}

fn read_string<'a>(text: &'a str, shape: &Shape) -> Evaluated<'a> {
    match shape {
        // The alphabet for URLs, although the format is checked with the other one: that is so in `strfmt`.
        Shape::Bytes => match go::Base64::Url.decode(text) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(at) => {
                let error = format!("illegal base64 data at input byte {at}");
                Err(Error::new(format!("Invalid byte formatted string {text}: {error}")))
            }
        },
        Shape::Duration => go::parse_strfmt_duration(text)
            .map(Value::Duration)
            .map_err(|error| Error::new(format!("Invalid duration {text}: {error}"))),
        Shape::Date => go::parse_date(text)
            .map(Value::Timestamp)
            .map_err(|error| Error::new(format!("Invalid date formatted string {text}: {error}"))),
        Shape::DateTime => go::parse_strfmt_date_time(text)
            .map(Value::Timestamp)
            .map_err(|error| Error::new(format!("Invalid date-time formatted string {text}: {error}"))),
        _ => Ok(Value::string(text)),
    }
}

/// Reads an element of a list with this declaration.
pub(super) fn read_element<'a>(item: &'a Json, list: &'a Declaration) -> Evaluated<'a> {
    read(item, list.element().unwrap_or(list))
}

/// Finds and reads an entry of a map or a field of an object, by its name in CEL.
pub(super) fn read_entry<'a>(
    entries: &'a serde_json::Map<String, Json>,
    name: &str,
    declaration: &'a Declaration,
) -> Option<Evaluated<'a>> {
    match declaration.shape() {
        Shape::Map(value) => Some(read(entries.get(name)?, value)),
        Shape::Object(_) => {
            // A null is like an absent field, if it is allowed or not.
            let present = |name: &str| entries.get(name).filter(|value| !value.is_null());
            match declaration.field(name) {
                Some(field) => Some(read(present(&field.name)?, &field.declaration)),
                // A name that CEL cannot express reaches its property, too, where no checker is in the way.
                None => {
                    let name = unescape(name)?;
                    Some(read(present(&name)?, declaration.property(&name)?))
                }
            }
        }
        Shape::Dynamic => Some(read(entries.get(name)?, declaration)),
        _ => None,
    }
}

/// Whether the schema knows a name in JSON.
pub(super) fn is_declared(name: &str, declaration: &Declaration) -> bool {
    match declaration.shape() {
        Shape::Object(_) => declaration.property(name).is_some(),
        _ => true,
    }
}

/// The key in CEL of an entry with a name in JSON; `None` if the schema does not declare it.
pub(super) fn key<'a>(name: &'a str, declaration: &'a Declaration) -> Option<Text<'a>> {
    match declaration.as_object() {
        Some(object) => object.by_json(name).map(|(escaped, _)| escaped.unwrap_or(name).into()),
        None => Some(name.into()),
    }
}

/// The declaration of data without a schema.
pub(crate) fn dynamic() -> &'static Declaration {
    static DYNAMIC: LazyLock<Declaration> = LazyLock::new(Declaration::dynamic);
    &DYNAMIC
}

fn unexpected(expected: &str, json: &Json) -> Error {
    let found = match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_i64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    };
    Error::new(format!("invalid data, expected {expected}, got {found}"))
}

/// Data that no schema describes. It can be compared, and nothing else.
#[derive(Debug)]
struct Preserved(Json);

impl Opaque for Preserved {
    fn type_of(&self) -> Type {
        Type::Opaque("unknown".into(), [].into())
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        Ok(other.downcast::<Self>().is_some_and(|other| self.0 == other.0))
    }

    fn display(&self) -> String {
        self.0.to_string()
    }
}

impl Declaration {
    /// What the schema says about equality and `+` of a list.
    pub(super) fn list_kind(&self) -> &ListKind {
        match self.shape() {
            Shape::List { kind, .. } => kind,
            _ => &ListKind::Atomic,
        }
    }
}
