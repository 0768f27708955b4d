//! Base64 and JSON: cel-go's `ext/encoders.go`.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value as Json};

use super::{
    arguments::{Table, mismatch, text},
    native::{Numbers, native, number},
};
use crate::{
    go::Base64,
    value::{Error, Target, VISIT, Value, work},
};

pub(super) const TABLE: Table = &[
    ("base64_encode_bytes", |args| match args {
        [Value::Bytes(bytes)] => Ok(Value::string(BASE64_STANDARD.encode(&**bytes))),
        _ => mismatch(),
    }),
    ("base64_decode_string", |args| match decode(text(args, 0)?) {
        Ok(bytes) => Ok(Value::Bytes(bytes.into())),
        Err(at) => Err(Error::new(format!("illegal base64 data at input byte {at}"))),
    }),
    ("json_encode_dyn", |args| match args {
        [value] => Ok(Value::string(json(value)?.to_string())),
        _ => mismatch(),
    }),
];

/// Decodes text with or without padding. Fails with the place of what is wrong in a text without padding.
fn decode(text: &str) -> Result<Vec<u8>, usize> {
    Base64::Standard.decode(text).or_else(|_| Base64::RawStandard.decode(text))
}

/// The JSON of a value, as protobuf maps it.
pub(crate) fn json(value: &Value<'_>) -> Result<Json, Error> {
    /// Numbers beyond are strings, because readers of JSON would round them.
    const SAFE: u64 = (1 << 53) - 1;
    work(VISIT)?;
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) if value.unsigned_abs() <= SAFE => (*value).into(),
        Value::Uint(value) if *value <= SAFE => (*value).into(),
        Value::Int(value) => value.to_string().into(),
        Value::Uint(value) => value.to_string().into(),
        Value::Double(value) => number(*value)?,
        Value::String(text) => {
            work(text.len())?;
            (**text).into()
        }
        Value::Bytes(bytes) => BASE64_STANDARD.encode(&**bytes).into(),
        Value::Duration(_) | Value::Timestamp(_) => value.clone().convert(Target::String)?.to_string().into(),
        Value::List(list) => {
            Json::Array(list.iter().map(|element| json(&element?)).collect::<Result<_, Error>>()?)
        }
        Value::Map(map) => {
            let mut object = Map::new();
            for (key, value) in map.entries() {
                let Value::String(key) = key else { return Err(not_native(&key, "string")) };
                object.insert(key.to_string(), json(&value?)?);
            }
            Json::Object(object)
        }
        Value::Optional(Some(value)) => json(value)?,
        Value::Object(object) if object.is_patch() => {
            return Err(Error::new("cannot convert to native type: *structpb.Value"));
        }
        Value::Object(object) => native(object, Numbers::Doubles)?,
        Value::Optional(None) | Value::Type(_) | Value::Opaque(_) => {
            return Err(not_native(value, "*structpb.Value"));
        }
    })
}

/// The error of a value that does not have a type of Go.
pub(super) fn not_native(value: &Value<'_>, go_type: &str) -> Error {
    let name = value.type_name();
    Error::new(match value {
        Value::Null => format!("type conversion error from 'null_type' to '{go_type}'"),
        Value::Bool(_) | Value::List(_) | Value::Map(_) => {
            format!("type conversion error from {name} to '{go_type}'")
        }
        Value::Double(_) => format!("type conversion error from Double to '{go_type}'"),
        Value::Bytes(_) => format!("type conversion error from Bytes to '{go_type}'"),
        Value::Int(_) | Value::Uint(_) => format!("unsupported type conversion from '{name}' to {go_type}"),
        Value::String(_) => format!("unsupported native conversion from string to '{go_type}'"),
        Value::Duration(_) => format!("type conversion error from 'Duration' to '{go_type}'"),
        Value::Timestamp(_) => format!("type conversion error from 'Timestamp' to '{go_type}'"),
        Value::Optional(Some(value)) => return not_native(value, go_type),
        Value::Optional(None) => "optional.none() dereference".to_owned(),
        Value::Type(_) => "type conversion not supported for 'type'".to_owned(),
        Value::Object(_) | Value::Opaque(_) => {
            // The types of authorization have their full names there.
            let short = match name.split_once('.') {
                Some((_, short)) if !short.contains('.') => short,
                _ => &name,
            };
            format!("type conversion error from '{short}' to '{go_type}'")
        }
    })
}
