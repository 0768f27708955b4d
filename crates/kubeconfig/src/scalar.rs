//! What a scalar of a YAML file means: text, a number, a boolean or null. Source: `go.yaml.in/yaml/v2`, `resolve.go`,
//! which reads YAML 1.1, and `sigs.k8s.io/yaml`, `yaml.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

const PREFIX: &str = "tag:yaml.org,2002:";

/// Why a scalar is refused.
pub(crate) type Problem = &'static str;

/// Resolves the text of a plain scalar, or of one with a tag.
pub(crate) fn resolve(tag: Option<&str>, text: &str) -> Result<Value, Problem> {
    let tag = tag.map(|tag| tag.strip_prefix(PREFIX).unwrap_or(tag));
    let value = match tag {
        None => return plain(text),
        Some("int") => integer(&text.replace('_', "")).unwrap_or_default(),
        Some("bool" | "float" | "null") => plain(text)?,
        Some("timestamp") if is_timestamp(text) => return Ok(text.into()),
        Some("timestamp") => Value::Null,
        Some("binary") => {
            let data =
                STANDARD.decode(text.replace(['\r', '\n'], "")).map_err(|_| "!!binary without base64")?;
            return Ok(String::from_utf8_lossy(&data).into_owned().into());
        }
        // Nobody defines other tags.
        Some(_) => return Ok(text.into()),
    };
    match (tag, value) {
        (Some("bool"), value @ Value::Bool(_)) | (Some("null"), value @ Value::Null) => Ok(value),
        (Some("int" | "float"), value @ Value::Number(_)) => Ok(value),
        _ => Err("a value does not match its tag"),
    }
}

fn plain(text: &str) -> Result<Value, Problem> {
    Ok(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err("a number is not finite"),
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

/// Underscores are ignored, except in numbers that begin with a point.
fn number(text: &str) -> Option<Value> {
    match text.as_bytes().first()? {
        b'.' if is_float(text) => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            let text = text.replace('_', "");
            integer(&text).or_else(|| if is_float(&text) { float(&text) } else { None })
        }
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`, else `ParseUint`.
fn integer(text: &str) -> Option<Value> {
    let is_negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let prefixes = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2), ("0", 8)];
    let prefixed =
        prefixes.into_iter().find_map(|(prefix, radix)| Some((radix, digits.strip_prefix(prefix)?)));
    let (radix, digits) = prefixed.filter(|(_, digits)| !digits.is_empty()).unwrap_or((10, digits));
    // Rust accepts another sign here.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if is_negative {
        return 0_i64.checked_sub_unsigned(size).map(Value::from);
    }
    // Only a number without a sign may need all 64 bits.
    if text.starts_with('+') && i64::try_from(size).is_err() {
        return None;
    }
    Some(size.into())
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_digits = |text: &str| !text.is_empty() && all_digits(text);
    let has_mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && all_digits(fraction),
        None => is_digits(mantissa),
    };
    has_mantissa && exponent.is_none_or(is_digits)
}

/// Go writes a float without a fraction like an integer, with zeros in place of the digits that it does not need.
fn float(text: &str) -> Option<Value> {
    let float: f64 = text.parse().ok().filter(|float: &f64| float.is_finite())?;
    let is_integer =
        float.fract() == 0.0 && float.abs() < 1e21 && !(float == 0.0 && float.is_sign_negative());
    let written = if is_integer { format!("{float}").parse().ok() } else { None };
    written.or_else(|| Number::from_f64(float)).map(Value::Number)
}

/// Whether Go's `time.Parse` accepts one of the four formats of `parseTimestamp`, such as `2006-1-2T15:4:5.9Z`.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let Some(date) = fields(date, '-', &[4, 2, 2]) else { return false };
    let (Ok(year), Ok(month), Ok(day)) = (date[0].try_into(), date[1].try_into(), date[2].try_into()) else {
        return false;
    };
    let Some(time) = time else { return jiff::civil::Date::new(year, month, day).is_ok() };
    let has_zone = !text.contains(' ');
    let time = match time.find(['Z', '+', '-']) {
        Some(at) if has_zone => {
            let (time, zone) = time.split_at(at);
            if zone != "Z" && !is_offset(&zone[1..]) {
                return false;
            }
            time
        }
        None if !has_zone => time,
        _ => return false,
    };
    let (time, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let is_time =
        fields(time, ':', &[2, 2, 2]).is_some_and(|time| time[0] < 24 && time[1] < 60 && time[2] < 60);
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_time && is_fraction && jiff::civil::Date::new(year, month, day).is_ok()
}

fn is_offset(text: &str) -> bool {
    text.len() == 5 && fields(text, ':', &[2, 2]).is_some_and(|offset| offset[0] <= 24 && offset[1] < 60)
}

/// Splits `text` into numbers with at most as many digits as `lengths` says; the year needs all four.
fn fields(text: &str, separator: char, lengths: &[usize]) -> Option<Vec<u16>> {
    let fields: Vec<&str> = text.split(separator).collect();
    let fits = |(field, length): (&&str, &usize)| {
        field.bytes().all(|byte| byte.is_ascii_digit())
            && if *length == 4 { field.len() == 4 } else { (1..=*length).contains(&field.len()) }
    };
    let is_complete = fields.len() == lengths.len() && fields.iter().zip(lengths).all(fits);
    if is_complete { fields.iter().map(|field| field.parse().ok()).collect() } else { None }
}

/// Returns the key of a JSON object for a scalar.
pub(crate) fn key(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("a key is null"),
        Value::Array(_) | Value::Object(_) => Err("a key is a list or a map"),
    }
}
