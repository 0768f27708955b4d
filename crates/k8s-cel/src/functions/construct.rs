//! Objects that an expression makes: the well-known types of protobuf.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::encoders::{json, not_native};
use crate::{
    go::Timestamp,
    value::{Error, Evaluated, Key, Value, overflow},
};

/// The type of a field.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    String,
    Bytes,
    /// The only value of an enumeration.
    Null,
    /// A message with a map or a list.
    Struct,
    ListValue,
    /// The map or the list itself.
    Fields,
    Values,
}

/// Makes an object of a type, such as `google.protobuf.Duration{seconds: 5}`.
pub(crate) fn construct<'a>(type_name: &str, fields: &[(Arc<str>, Value<'a>)]) -> Evaluated<'a> {
    let unknown = || Error::new(format!("unknown type '{type_name}'"));
    let message = type_name.strip_prefix("google.protobuf.").ok_or_else(unknown)?;
    let default = default(message).ok_or_else(unknown)?;
    let mut values = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let kind = kind(message, name).ok_or_else(|| Error::new(format!("no such field: {name}")))?;
        let full_name = format!("{type_name}.{name}");
        let fits = match kind {
            Kind::Fields => matches!(value, Value::Map(_)),
            Kind::Values => matches!(value, Value::List(_)),
            _ => true,
        };
        if !fits {
            let found = value.type_of().runtime();
            return Err(Error::new(format!("unsupported field type for {full_name}: {found}")));
        }
        let converted = converted(value, kind).map_err(|error| match error {
            error if error.is_final() => error,
            error => Error::new(format!("field type conversion error for {full_name} value type: {error}")),
        });
        values.push((&**name, converted?));
    }
    let int = |name: &str| match values.iter().rev().find(|(known, _)| *known == name) {
        Some((_, Value::Int(value))) => *value,
        _ => 0,
    };
    match message {
        "Timestamp" => {
            let (seconds, nanos) = (int("seconds"), int("nanos"));
            let seconds = seconds.saturating_add(nanos.div_euclid(1_000_000_000));
            let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
            Ok(Value::Timestamp(Timestamp { seconds, nanos, offset: 0 }))
        }
        "Duration" => {
            let nanos = int("seconds").saturating_mul(1_000_000_000).saturating_add(int("nanos"));
            Ok(Value::Duration(nanos))
        }
        // All others have the value of their field, or of one of their fields.
        _ => Ok(values.pop().map_or(default, |(_, value)| value)),
    }
}

/// The value of a message without fields. `None` if there is no such message.
fn default<'a>(message: &str) -> Option<Value<'a>> {
    Some(match message {
        "Timestamp" => Value::Timestamp(Timestamp { seconds: 0, nanos: 0, offset: 0 }),
        "Duration" => Value::Duration(0),
        "BoolValue" => Value::Bool(false),
        "Int32Value" | "Int64Value" => Value::Int(0),
        "UInt32Value" | "UInt64Value" => Value::Uint(0),
        "FloatValue" | "DoubleValue" => Value::Double(0.0),
        "StringValue" => Value::string(""),
        "BytesValue" => Value::Bytes(Vec::new().into()),
        "Value" => Value::Null,
        "ListValue" => Value::list(Vec::new()),
        "Struct" => Value::Map(BTreeMap::new().into()),
        _ => return None,
    })
}

fn kind(message: &str, field: &str) -> Option<Kind> {
    Some(match (message, field) {
        ("Timestamp" | "Duration", "seconds") | ("Int64Value", "value") => Kind::Int64,
        ("Timestamp" | "Duration", "nanos") | ("Int32Value", "value") => Kind::Int32,
        ("UInt64Value", "value") => Kind::Uint64,
        ("UInt32Value", "value") => Kind::Uint32,
        ("BoolValue", "value") | ("Value", "bool_value") => Kind::Bool,
        ("FloatValue", "value") => Kind::Float,
        ("DoubleValue", "value") | ("Value", "number_value") => Kind::Double,
        ("StringValue", "value") | ("Value", "string_value") => Kind::String,
        ("BytesValue", "value") => Kind::Bytes,
        ("Value", "null_value") => Kind::Null,
        ("Value", "struct_value") => Kind::Struct,
        ("Value", "list_value") => Kind::ListValue,
        ("Struct", "fields") => Kind::Fields,
        ("ListValue", "values") => Kind::Values,
        _ => return None,
    })
}

impl Kind {
    /// The name of its type in Go.
    fn go_type(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Float => "float32",
            Self::Double => "float64",
            Self::String => "string",
            Self::Bytes => "[]uint8",
            Self::Null => "protoreflect.EnumNumber",
            Self::Struct => "*structpb.Struct",
            Self::ListValue => "*structpb.ListValue",
            // These are never converted from another type.
            Self::Fields | Self::Values => "",
        }
    }
}

/// The value as a field has it.
fn converted<'a>(value: &Value<'a>, kind: Kind) -> Evaluated<'a> {
    Ok(match (kind, value) {
        (kind, Value::Optional(Some(value))) => converted(value, kind)?,
        (Kind::Int32, Value::Int(value)) if i32::try_from(*value).is_err() => {
            return Err(overflow("integer"));
        }
        (Kind::Null, Value::Int(value)) if i32::try_from(*value).is_err() => {
            return Err(overflow("integer"));
        }
        (Kind::Uint32, Value::Uint(value)) if u32::try_from(*value).is_err() => {
            return Err(overflow("unsigned integer"));
        }
        #[allow(clippy::cast_possible_truncation)] // A float is rounded to its precision.
        (Kind::Float, Value::Double(value)) => Value::Double(f64::from(*value as f32)),
        (Kind::Null, Value::Int(_)) => Value::Null,
        (Kind::Bool, Value::Bool(_))
        | (Kind::Int32 | Kind::Int64, Value::Int(_))
        | (Kind::Uint32 | Kind::Uint64, Value::Uint(_))
        | (Kind::Double, Value::Double(_))
        | (Kind::String, Value::String(_))
        | (Kind::Bytes, Value::Bytes(_)) => value.clone(),
        (Kind::String, Value::Opaque(opaque)) if is_text(&value.type_name()) => {
            Value::string(opaque.display())
        }
        (Kind::Struct | Kind::Fields, Value::Map(_)) | (Kind::ListValue | Kind::Values, Value::List(_)) => {
            plain(json(value)?)
        }
        (kind, value) => return Err(not_native(value, kind.go_type())),
    })
}

/// Whether the values of a library's type become strings where a string is wanted.
fn is_text(type_name: &str) -> bool {
    matches!(
        type_name,
        "kubernetes.Quantity" | "kubernetes.Semver" | "kubernetes.URL" | "net.CIDR" | "net.IP"
    )
}

/// JSON as protobuf's `Value` has it: all numbers are doubles.
fn plain<'a>(json: Json) -> Value<'a> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => Value::Double(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::string(text),
        Json::Array(items) => Value::list(items.into_iter().map(plain).collect()),
        Json::Object(entries) => {
            let entries = entries.into_iter().map(|(name, value)| (Key::String(name.into()), plain(value)));
            Value::Map(entries.collect::<BTreeMap<_, _>>().into())
        }
    }
}
