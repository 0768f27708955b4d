//! Messages whose JSON is not that of their fields: types of Go with a `MarshalJSON` of their own.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Malformed;
use super::decode::Decoder;
use super::wire::{Raw, Reader, WireType, text};

/// The second that Go's zero time is: the first of the year 1.
const ZERO_TIME: i64 = -62_135_596_800;

/// apimachinery's `Time`: in seconds, null if zero.
pub(super) fn time(bytes: &[u8]) -> Result<Value, Malformed> {
    rfc3339(bytes, |seconds, _| (seconds, 0), "%Y-%m-%dT%H:%M:%SZ")
}

/// apimachinery's `MicroTime`: in microseconds, null if zero.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Value, Malformed> {
    rfc3339(bytes, |seconds, nanos| (seconds, nanos / 1000 * 1000), "%Y-%m-%dT%H:%M:%S.%6fZ")
}

/// A quantity, as it is written: the client's library has made it canonical.
pub(super) fn quantity(bytes: &[u8]) -> Result<Value, Malformed> {
    // A message without any field is Go's zero quantity.
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
    if is_quantity(&quantity) { Ok(quantity.into()) } else { Err(Malformed::Quantity) }
}

/// `IntOrString`: the one that its type says.
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

/// JSON in a field's `raw`; null if it is empty.
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

/// apiextensions' `JSONSchemaPropsOrArray`.
pub(super) fn schema_or_array(decoder: &mut Decoder, bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut schema, mut schemas) = (Value::Null, Vec::new());
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("JSONSchemaPropsOrArray")? {
        match tag.number {
            1 => schema = decoder.schema(reader.bytes(tag, "Schema")?)?,
            2 => schemas.push(decoder.schema(reader.bytes(tag, "JSONSchemas")?)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(if schemas.is_empty() { schema } else { schemas.into() })
}

/// apiextensions' `JSONSchemaPropsOrBool`.
pub(super) fn schema_or_bool(decoder: &mut Decoder, bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut allows, mut schema) = (false, None);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("JSONSchemaPropsOrBool")? {
        match tag.number {
            1 => allows = integer(reader.value(tag, WireType::Varint, "Allows")?) != 0,
            2 => schema = Some(decoder.schema(reader.bytes(tag, "Schema")?)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(schema.unwrap_or_else(|| allows.into()))
}

/// apiextensions' `JSONSchemaPropsOrStringArray`.
pub(super) fn schema_or_strings(decoder: &mut Decoder, bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut schema, mut strings) = (Value::Null, Vec::new());
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("JSONSchemaPropsOrStringArray")? {
        match tag.number {
            1 => schema = decoder.schema(reader.bytes(tag, "Schema")?)?,
            2 => strings.push(json!(text(reader.bytes(tag, "Property")?))),
            _ => reader.skip(tag)?,
        }
    }
    Ok(if strings.is_empty() { schema } else { strings.into() })
}

/// A number as Go writes it: without a fraction if it has none.
pub(super) fn double(number: f64) -> Result<Value, Malformed> {
    // Beyond 2^53 an integer is one of several that the same number stands for.
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number).map(Value::Number).ok_or(Malformed::Number)
}

fn integer(raw: Raw<'_>) -> i64 {
    match raw {
        Raw::Varint(number) => number as i64,
        Raw::Fixed64(_) | Raw::Bytes(_) => 0,
    }
}

fn rfc3339(
    bytes: &[u8],
    precision: impl FnOnce(i64, i64) -> (i64, i64),
    format: &str,
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
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let time = Timestamp::from_nanosecond(nanos).map_err(|_| Malformed::Time)?;
    // RFC 3339 has no years before Christ.
    if time.as_second() < ZERO_TIME {
        return Err(Malformed::Time);
    }
    Ok(time.strftime(format).to_string().into())
}

/// Whether apimachinery's `ParseQuantity` takes a text.
fn is_quantity(text: &str) -> bool {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, suffix) = number.split_at(end);
    if digits.matches('.').count() > 1 || !digits.contains(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = || suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    suffixes.contains(&suffix) || exponent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for good in ["0", "1", "-1.5", "+.5", "100m", "1Gi", "12e6", "1E-3", "1E", "5."] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "m", ".", "1xx", "1.2.3", "1 Gi", "e3", "1e", "1gi", "--1"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

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
        assert_eq!(time(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Err(Malformed::Time));
        assert_eq!(micro_time(&[8, 5, 16, 0xd0, 0x0f]), Ok(json!("1970-01-01T00:00:05.000002Z")));
    }
}
