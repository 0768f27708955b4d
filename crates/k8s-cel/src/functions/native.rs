//! The JSON of objects that an expression made: the conversion of apiserver's `pkg/cel/mutation/dynamic`, with its limits.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map as Fields, Number, Value as Json};

use crate::{
    go,
    value::{Error, List, Map, Object, Value, native_type},
};

/// What integers become.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Numbers {
    /// Themselves.
    Exact,
    /// The nearest double, as in protobuf's `Value`.
    Doubles,
}

/// Why there is no JSON.
enum Failure {
    /// What is wrong with a map of a field, whose name goes before it.
    Field(String),
    Other(String),
}

/// The JSON of an object, whose fields are values that JSON has.
///
/// # Errors
/// Fails for values that JSON does not have, for null, and as in kube-apiserver for lists and maps of an expression inside of
/// others.
pub(crate) fn native(object: &Object<'_>, numbers: Numbers) -> Result<Json, Error> {
    fields(object, numbers).map_err(|failure| match failure {
        Failure::Field(text) | Failure::Other(text) => Error::new(text),
    })
}

fn fields(object: &Object<'_>, numbers: Numbers) -> Result<Json, Failure> {
    let fields = object.fields.iter().map(|(name, value)| {
        let json = match value {
            Value::List(list) => match list {
                List::Values(values, _) => array(values.iter().map(|value| element(value, numbers))),
                List::Json(..) => array(list.iter().map(|value| read(&value?, numbers))),
            },
            Value::Map(Map::Values(entries)) => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = key.value();
                    let Some(key) = key.as_str() else { return Err(Failure::Field(not_a_string(&key))) };
                    Ok((key.to_owned(), element(value, numbers)?))
                });
                entries.collect::<Result<_, _>>().map(Json::Object)
            }
            value => read(value, numbers),
        };
        let json = json.map_err(|failure| match failure {
            Failure::Field(text) => {
                Failure::Field(format!("fail to convert field {}: {text}", go::quote(&**name)))
            }
            failure @ Failure::Other(_) => failure,
        });
        Ok((name.to_string(), json?))
    });
    fields.collect::<Result<Fields<_, _>, _>>().map(Json::Object)
}

/// A field, or something inside of one that was read from JSON.
fn read(value: &Value<'_>, numbers: Numbers) -> Result<Json, Failure> {
    match value {
        Value::List(list @ List::Json(..)) => array(list.iter().map(|value| read(&value?, numbers))),
        Value::Map(map @ Map::Json(..)) => {
            let entries = map.entries().map(|(key, value)| Ok((key.to_string(), read(&value?, numbers)?)));
            entries.collect::<Result<_, _>>().map(Json::Object)
        }
        value => element(value, numbers),
    }
}

/// A value inside of a list or a map that the expression made.
fn element(value: &Value<'_>, numbers: Numbers) -> Result<Json, Failure> {
    #[allow(clippy::cast_precision_loss)] // As in protobuf.
    let integer = |exact: Number, double: f64| match numbers {
        Numbers::Exact => Ok(Json::Number(exact)),
        Numbers::Doubles => Ok(number(double)?),
    };
    #[allow(clippy::cast_precision_loss)]
    match value {
        Value::Bool(value) => Ok(Json::Bool(*value)),
        Value::Int(value) => integer((*value).into(), *value as f64),
        Value::Uint(value) => integer((*value).into(), *value as f64),
        Value::Double(value) => Ok(number(*value)?),
        Value::String(text) => Ok((**text).into()),
        Value::Bytes(bytes) => Ok(BASE64_STANDARD.encode(&**bytes).into()),
        Value::Type(named) => Ok(named.name().into()),
        Value::Optional(None) => Ok(Json::Null),
        Value::Optional(Some(value)) => element(value, numbers),
        Value::List(List::Json(items, _)) => Ok(Json::Array(items.to_vec())),
        Value::Map(Map::Json(entries, _)) => Ok(Json::Object((*entries).clone())),
        Value::Object(object) if !object.is_patch() => fields(object, numbers),
        value => Err(Failure::Other(format!("proto: invalid type: {}", native_type(value)))),
    }
}

fn array(items: impl Iterator<Item = Result<Json, Failure>>) -> Result<Json, Failure> {
    items.collect::<Result<_, _>>().map(Json::Array)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// What Go prints for a key with `%q` and `%T`.
fn not_a_string(key: &Value<'_>) -> String {
    let code = match key {
        Value::Int(value) => u32::try_from(*value).ok(),
        Value::Uint(value) => u32::try_from(*value).ok(),
        _ => None,
    };
    let (quoted, named) = match key {
        Value::Int(_) | Value::Uint(_) => {
            let character = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            let named = if matches!(key, Value::Int(_)) { "types.Int" } else { "types.Uint" };
            (format!("'{}'", go::quote(character.to_string()).trim_matches('"')), named)
        }
        Value::Bool(value) => (format!("%!q(types.Bool={value})"), "types.Bool"),
        other => (format!("%!q(types.Double={other})"), "types.Double"),
    };
    format!("map key {quoted} is of type {named}, not string")
}

/// A number without decimals has no point.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn number(value: f64) -> Result<Json, Error> {
    if value.fract() == 0.0 && value.abs() < 9e18 && !(value == 0.0 && value.is_sign_negative()) {
        return Ok((value as i64).into());
    }
    serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        Error::new(format!("proto: google.protobuf.Value.number_value: invalid {name} value"))
    })
}
