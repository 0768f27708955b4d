//! Base64 and JSON: cel-go's `ext/encoders.go`.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use serde_json::{Map, Value as Json};

use super::{
    arguments::{Table, mismatch, text},
    native::{Numbers, native, number},
};
use crate::value::{Error, Target, VISIT, Value, work};

/// Bits that belong to no byte may be set, as in Go.
const DECODER: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

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

/// Decodes text with or without padding; line breaks do not count. Fails with the place of what is wrong, which is the one
/// that Go reports for text without padding.
fn decode(text: &str) -> Result<Vec<u8>, usize> {
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
    let mut digits: Vec<u8> = text.bytes().filter(|byte| !is_break(*byte)).collect();
    if digits.len().is_multiple_of(4) {
        let padding = digits.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
        digits.truncate(digits.len() - padding);
    }
    DECODER.decode(&digits).map_err(|_| {
        let is_digit =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') || is_break(byte);
        text.bytes().position(|byte| !is_digit(byte)).unwrap_or(text.len().saturating_sub(1))
    })
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
