//! Messages whose JSON is not that of their fields: Go types with their own `MarshalJSON`.

use kube_validation::Quantity;
use serde_json::Value;

use crate::malformed::Malformed;
use crate::wire::{Raw, Reader, WireType, text};

/// Go's zero time in seconds: the start of the year 1.
const ZERO_TIME: i64 = -62_135_596_800;

/// Converts apimachinery's `Time`: in seconds; null if it is zero.
pub(super) fn time(bytes: &[u8]) -> Result<Value, Malformed> {
    rfc3339(bytes, |seconds, _| (seconds, 0), 0)
}

/// Converts apimachinery's `MicroTime`: in microseconds; null if it is zero.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Value, Malformed> {
    rfc3339(bytes, |seconds, nanos| (seconds, nanos / 1000 * 1000), 6)
}

/// Converts a quantity.
pub(super) fn quantity(bytes: &[u8]) -> Result<Value, Malformed> {
    // A message without fields is Go's zero quantity.
    if bytes.is_empty() {
        return Ok("0".into());
    }
    let mut quantity = String::new();
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("Quantity")? {
        match tag.number {
            1 => quantity = text(reader.bytes(tag, "String_")?),
            _ => reader.skip(tag)?,
        }
    }
    Quantity::canonicalize(&quantity).map(Value::from).map_err(Malformed::Quantity)
}

/// Converts an `IntOrString` according to its type.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut kind, mut number, mut string) = (0, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("IntOrString")? {
        match tag.number {
            1 => kind = integer(reader.value(tag, WireType::Varint, "Type")?),
            2 => number = integer(reader.value(tag, WireType::Varint, "IntVal")?) as i32,
            3 => string = text(reader.bytes(tag, "StrVal")?),
            _ => reader.skip(tag)?,
        }
    }
    match kind {
        0 => Ok(number.into()),
        1 => Ok(string.into()),
        _ => Err(Malformed::IntOrString),
    }
}

/// Parses the JSON in a field's `raw`; null if it is empty.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Malformed> {
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("RawExtension")? {
        match tag.number {
            1 => raw = reader.bytes(tag, "Raw")?,
            _ => reader.skip(tag)?,
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|error| Malformed::Json(error.to_string()))
}

/// Converts a number as Go writes it: an integer has no fraction.
pub(super) fn double(number: f64) -> Result<Value, Malformed> {
    // Beyond 2^53, floats cannot represent every integer.
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number).map(Value::Number).ok_or(Malformed::Number)
}

pub(super) fn integer(raw: Raw<'_>) -> i64 {
    match raw {
        Raw::Varint(number) => number as i64,
        Raw::Fixed64(_) | Raw::Bytes(_) => 0,
    }
}

fn rfc3339(
    bytes: &[u8],
    precision: impl FnOnce(i64, i64) -> (i64, i64),
    digits: usize,
) -> Result<Value, Malformed> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("Timestamp")? {
        match tag.number {
            1 => seconds = integer(reader.value(tag, WireType::Varint, "Seconds")?),
            2 => nanos = i64::from(integer(reader.value(tag, WireType::Varint, "Nanos")?) as i32),
            _ => reader.skip(tag)?,
        }
    }
    let (seconds, nanos) = precision(seconds, nanos);
    if (seconds, nanos) == (ZERO_TIME, 0) {
        return Ok(Value::Null);
    }
    Ok(crate::time::format(seconds, nanos / 1000, digits).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_as_go_writes_them() {
        assert_eq!(double(1.0), Ok(json!(1)));
        assert_eq!(double(-1.5), Ok(json!(-1.5)));
        assert_eq!(double(f64::NAN), Err(Malformed::Number));
    }

    #[test]
    fn times() {
        // Seconds 0 and 5; the year 1; a time after the year 9999.
        assert_eq!(time(&[8, 0]), Ok(json!("1970-01-01T00:00:00Z")));
        assert_eq!(time(&[]), Ok(Value::Null));
        assert_eq!(time(&[8, 0x80, 0x92, 0xb8, 0xc3, 0x98, 0xfe, 0xff, 0xff, 0xff, 1]), Ok(Value::Null));
        assert_eq!(
            time(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Ok(json!("2283416224-11-24T12:52:15Z"))
        );
        assert_eq!(micro_time(&[8, 5, 16, 0xd0, 0x0f]), Ok(json!("1970-01-01T00:00:05.000002Z")));
    }
}
