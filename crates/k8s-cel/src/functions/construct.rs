//! Objects that an expression makes: the well-known types of protobuf.

use std::sync::Arc;

use crate::{
    go::Timestamp,
    value::{Error, Evaluated, Value},
};

/// Makes an object of a type, such as `google.protobuf.Duration{seconds: 5}`.
pub(crate) fn construct<'a>(type_name: &str, fields: &[(Arc<str>, Value<'a>)]) -> Evaluated<'a> {
    let field = |name: &str| fields.iter().rev().find(|(known, _)| &**known == name).map(|(_, value)| value);
    let int = |name: &str| match field(name) {
        None => Ok(0),
        Some(Value::Int(value)) => Ok(*value),
        Some(other) => Err(Error::new(format!("field type conversion error: {other}"))),
    };
    match type_name {
        "google.protobuf.Timestamp" => {
            let (seconds, nanos) = (int("seconds")?, int("nanos")?);
            let seconds = seconds.saturating_add(nanos.div_euclid(1_000_000_000));
            let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
            Ok(Value::Timestamp(Timestamp { seconds, nanos, offset: 0 }))
        }
        "google.protobuf.Duration" => {
            let nanos = int("seconds")?.saturating_mul(1_000_000_000).saturating_add(int("nanos")?);
            Ok(Value::Duration(nanos))
        }
        "google.protobuf.BoolValue" => Ok(field("value").cloned().unwrap_or(Value::Bool(false))),
        "google.protobuf.Int32Value" => match field("value") {
            Some(Value::Int(value)) if i32::try_from(*value).is_err() => Err(Error::new("integer overflow")),
            value => Ok(value.cloned().unwrap_or(Value::Int(0))),
        },
        "google.protobuf.Int64Value" => Ok(field("value").cloned().unwrap_or(Value::Int(0))),
        "google.protobuf.UInt32Value" => match field("value") {
            Some(Value::Uint(value)) if u32::try_from(*value).is_err() => {
                Err(Error::new("unsigned integer overflow"))
            }
            value => Ok(value.cloned().unwrap_or(Value::Uint(0))),
        },
        "google.protobuf.UInt64Value" => Ok(field("value").cloned().unwrap_or(Value::Uint(0))),
        #[allow(clippy::cast_possible_truncation)] // A float is rounded to its precision.
        "google.protobuf.FloatValue" => match field("value") {
            Some(Value::Double(value)) => Ok(Value::Double(f64::from(*value as f32))),
            value => Ok(value.cloned().unwrap_or(Value::Double(0.0))),
        },
        "google.protobuf.DoubleValue" => Ok(field("value").cloned().unwrap_or(Value::Double(0.0))),
        "google.protobuf.StringValue" => Ok(field("value").cloned().unwrap_or_else(|| Value::string(""))),
        "google.protobuf.BytesValue" => {
            Ok(field("value").cloned().unwrap_or_else(|| Value::Bytes(Vec::new().into())))
        }
        _ => Err(Error::new(format!("unknown type '{type_name}'"))),
    }
}
