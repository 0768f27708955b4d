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
                let Value::String(key) = key else {
                    return Err(Error::new(match key {
                        Value::Bool(_) => "type conversion error from bool to 'string'".to_owned(),
                        Value::Double(_) => "type conversion error from Double to 'string'".to_owned(),
                        key => format!("unsupported type conversion from '{}' to string", key.type_name()),
                    }));
                };
                object.insert(key.to_string(), json(&value?)?);
            }
            Json::Object(object)
        }
        Value::Optional(Some(value)) => json(value)?,
        Value::Optional(None) => return Err(Error::new("optional.none() dereference")),
        Value::Object(object) if object.is_patch() => {
            return Err(Error::new("cannot convert to native type: *structpb.Value"));
        }
        Value::Object(object) => native(object, Numbers::Doubles)?,
        Value::Type(_) => return Err(Error::new("type conversion not supported for 'type'")),
        Value::Opaque(_) => {
            let name = value.type_name();
            // The types of authorization have their full names there.
            let short = match name.split_once('.') {
                Some((_, short)) if !short.contains('.') => short,
                _ => &name,
            };
            return Err(Error::new(format!("type conversion error from '{short}' to '*structpb.Value'")));
        }
    })
}
