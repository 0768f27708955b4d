//! Conversions between types: the `ConvertToType` methods of cel-go's types.

use super::{
    Error, Evaluated, Timestamp, Value,
    arithmetic::{SECONDS_MAX, SECONDS_MIN},
    overflow,
};
use crate::{go, types::Type};

/// The types to which functions such as `int(x)` convert.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
}

impl Target {
    fn type_of(self) -> Type {
        match self {
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::String => Type::String,
            Self::Bytes => Type::Bytes,
            Self::Duration => Type::Duration,
            Self::Timestamp => Type::Timestamp,
        }
    }
}

impl<'a> Value<'a> {
    /// Converts the value.
    ///
    /// # Errors
    /// Fails if the value has no counterpart in the type: out of its range, or a text that it does not have.
    #[allow(clippy::cast_precision_loss)] // As in cel-go: integers become the nearest double.
    pub(crate) fn convert(self, target: Target) -> Evaluated<'a> {
        let converted = match (&self, target) {
            (Self::Bool(_), Target::Bool)
            | (Self::Int(_), Target::Int)
            | (Self::Uint(_), Target::Uint)
            | (Self::Double(_), Target::Double)
            | (Self::String(_), Target::String)
            | (Self::Bytes(_), Target::Bytes)
            | (Self::Duration(_), Target::Duration)
            | (Self::Timestamp(_), Target::Timestamp) => return Ok(self),
            (Self::Int(value), Target::Uint) => {
                Some(Self::Uint(u64::try_from(*value).map_err(|_| overflow("unsigned integer"))?))
            }
            (Self::Int(value), Target::Double) => Some(Self::Double(*value as f64)),
            (Self::Int(seconds), Target::Timestamp) => {
                if !(SECONDS_MIN..=SECONDS_MAX).contains(seconds) {
                    return Err(overflow("timestamp"));
                }
                Some(Self::Timestamp(Timestamp { seconds: *seconds, nanos: 0, offset: 0 }))
            }
            (Self::Uint(value), Target::Int) => {
                Some(Self::Int(i64::try_from(*value).map_err(|_| overflow("integer"))?))
            }
            (Self::Uint(value), Target::Double) => Some(Self::Double(*value as f64)),
            (Self::Double(value), Target::Int) => {
                Some(Self::Int(to_int(*value).ok_or_else(|| overflow("integer"))?))
            }
            (Self::Double(value), Target::Uint) => {
                Some(Self::Uint(to_uint(*value).ok_or_else(|| overflow("unsigned integer"))?))
            }
            (Self::Duration(nanos), Target::Int) => Some(Self::Int(*nanos)),
            (Self::Timestamp(time), Target::Int) => Some(Self::Int(time.seconds)),
            (Self::Bytes(bytes), Target::String) => match std::str::from_utf8(bytes) {
                Ok(text) => Some(Self::string(text.to_owned())),
                Err(_) => return Err(Error::new("invalid UTF-8 in bytes, cannot convert to string")),
            },
            (Self::Null, Target::String) => Some(Self::string("null")),
            (Self::Bool(value), Target::String) => Some(Self::string(value.to_string())),
            (Self::Int(value), Target::String) => Some(Self::string(value.to_string())),
            (Self::Uint(value), Target::String) => Some(Self::string(value.to_string())),
            (Self::Double(value), Target::String) => Some(Self::string(go::format_general(*value))),
            (Self::Duration(nanos), Target::String) => Some(Self::string(go::format_seconds(*nanos))),
            (Self::Timestamp(time), Target::String) => Some(Self::string(go::format_rfc3339(*time))),
            (Self::String(text), _) => parse(text, target)?,
            _ => None,
        };
        converted.ok_or_else(|| {
            let from = self.type_of().runtime();
            Error::new(format!("type conversion error from '{from}' to '{}'", target.type_of().runtime()))
        })
    }
}

/// Reads a text; `None` if the text is not of the type.
fn parse(text: &str, target: Target) -> Result<Option<Value<'static>>, Error> {
    Ok(match target {
        Target::Bool => go::parse_bool(text).map(Value::Bool),
        Target::Int => go::parse_int(text).map(Value::Int),
        Target::Uint => go::parse_uint(text).map(Value::Uint),
        Target::Double => go::parse_float(text).map(Value::Double),
        Target::Bytes => Some(Value::Bytes(text.as_bytes().to_vec().into())),
        Target::Duration => go::parse_duration(text).ok().map(Value::Duration),
        Target::Timestamp => match go::parse_rfc3339(text) {
            Ok(time) if !(SECONDS_MIN..=SECONDS_MAX).contains(&time.seconds) => {
                return Err(overflow("timestamp"));
            }
            found => found.ok().map(Value::Timestamp),
        },
        Target::String => None,
    })
}

/// Truncates; `None` outside of the range, whose limits are excluded.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn to_int(value: f64) -> Option<i64> {
    (value > i64::MIN as f64 && value < i64::MAX as f64).then_some(value as i64)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn to_uint(value: f64) -> Option<u64> {
    (0.0..18_446_744_073_709_551_616.0).contains(&value).then_some(value as u64)
}

/// The integer that equals a double, if there is one.
#[allow(clippy::cast_precision_loss, clippy::float_cmp)]
pub(crate) fn lossless_int(value: f64) -> Option<i64> {
    to_int(value).filter(|int| *int as f64 == value)
}

#[allow(clippy::cast_precision_loss, clippy::float_cmp)]
pub(crate) fn lossless_uint(value: f64) -> Option<u64> {
    to_uint(value).filter(|uint| *uint as f64 == value)
}
