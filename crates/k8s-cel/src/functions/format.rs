//! `'%s'.format([...])`: cel-go's `ext/formatting.go`, in the version that writes numbers as in American English.

use super::{Table, text};
use crate::value::{Error, List, Target, Value};

/// The number of decimals, if a clause does not say it.
const PRECISION: usize = 6;
/// Go has no limit here; more decimals than this are all zeros.
const PRECISION_MAX: usize = 2_000;

pub(super) const TABLE: Table = &[("string_format", |args| match args {
    [_, Value::List(values)] => format(text(args, 0)?, values).map(Value::string).map_err(Error::new),
    _ => Err(Error::no_such_overload()),
})];

fn format(pattern: &str, values: &List<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        let (before, clause) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = clause.strip_prefix("%%") {
            out.push('%');
            rest = after;
            continue;
        }
        let value = values.get(next).ok_or_else(|| format!("index {next} out of range"))?;
        next += 1;
        let clause = clause.get(1..).filter(|clause| !clause.is_empty()).ok_or("unexpected end of string")?;
        let (verb, precision, after) =
            parse(clause).map_err(|error| format!("could not parse formatting clause: {error}"))?;
        let value = value.map_err(|error| error.to_string())?;
        out.push_str(
            &write(verb, precision, &value).map_err(|error| format!("error during formatting: {error}"))?,
        );
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Reads a clause behind its `%`: the verb, the number of decimals, and what follows.
fn parse(clause: &str) -> Result<(char, usize, &str), String> {
    let (precision, rest) = match clause.strip_prefix('.') {
        None => (PRECISION, clause),
        Some(digits) => {
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .ok_or("error while parsing precision: could not find end of precision specifier")?;
            let (digits, rest) = digits.split_at(end);
            let precision: i64 = digits.parse().map_err(|_| {
                let quoted = kube_validation::go::quote(digits);
                let why = if digits.is_empty() { "invalid syntax" } else { "value out of range" };
                format!("error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {quoted}: {why}")
            })?;
            (usize::try_from(precision).unwrap_or(usize::MAX).min(PRECISION_MAX), rest)
        }
    };
    // Go looks at a byte, not at a character.
    let byte = rest.bytes().next().unwrap_or_default();
    match byte {
        b's' | b'd' | b'f' | b'e' | b'b' | b'x' | b'X' | b'o' => {
            Ok((char::from(byte), precision, rest.get(1..).unwrap_or_default()))
        }
        other => Err(format!("unrecognized formatting clause \"{}\"", char::from(other))),
    }
}

fn write(verb: char, precision: usize, value: &Value<'_>) -> Result<String, String> {
    let given = |rule: &str| Err(format!("{rule}, was given {}", value.type_name()));
    match (verb, value) {
        ('s', _) => string(value),
        ('d', Value::Int(value)) => Ok(value.to_string()),
        ('d', Value::Uint(value)) => Ok(value.to_string()),
        ('d', _) => given("decimal clause can only be used on integers"),
        ('f' | 'e', _) => match (double(value), verb) {
            (Some(value), 'f') => Ok(fixed(value, precision)),
            (Some(value), _) => Ok(scientific(value, precision)),
            (None, 'f') => given("fixed-point clause can only be used on doubles"),
            (None, _) => given("scientific clause can only be used on doubles"),
        },
        ('b', Value::Int(value)) => Ok(signed(*value, |magnitude| format!("{magnitude:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('b', Value::Bool(value)) => Ok(if *value { "1" } else { "0" }.to_owned()),
        ('b', _) => given("only integers and bools can be formatted as binary"),
        ('o', Value::Int(value)) => Ok(signed(*value, |magnitude| format!("{magnitude:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('o', _) => given("octal clause can only be used on integers"),
        (_, value) => {
            let hex = match value {
                Value::Int(value) => signed(*value, |magnitude| format!("{magnitude:x}")),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                _ => return given("only integers, byte buffers, and strings can be formatted as hex"),
            };
            Ok(if verb == 'X' { hex.to_ascii_uppercase() } else { hex })
        }
    }
}

fn signed(value: i64, write: impl Fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", write(value.unsigned_abs()))
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn not_finite(value: f64) -> Option<String> {
    let text = if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "∞"
    } else if value == f64::NEG_INFINITY {
        "-∞"
    } else {
        return None;
    };
    Some(text.to_owned())
}

/// With a comma between thousands.
fn fixed(value: f64, precision: usize) -> String {
    not_finite(value).unwrap_or_else(|| {
        let text = format!("{value:.precision$}");
        let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
        let (whole, fraction) = digits.find('.').map_or((digits, ""), |point| digits.split_at(point));
        let mut grouped = String::from(sign);
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped + fraction
    })
}

/// With a multiplication sign and a raised exponent of at least two digits.
fn scientific(value: f64, precision: usize) -> String {
    not_finite(value).unwrap_or_else(|| {
        let text = format!("{value:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { "⁻" } else { "" };
        let digits: String = format!("{:02}", exponent.abs()).chars().map(raised).collect();
        format!("{mantissa}×10{sign}{digits}")
    })
}

fn raised(digit: char) -> char {
    match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    }
}

/// `%s`.
fn string(value: &Value<'_>) -> Result<String, String> {
    match value {
        Value::List(list) => {
            let elements = list.iter().map(|element| inner(&element.map_err(|error| error.to_string())?));
            Ok(format!("[{}]", elements.collect::<Result<Vec<_>, _>>()?.join(", ")))
        }
        Value::Map(map) => {
            let mut pairs = Vec::with_capacity(map.len());
            for (key, value) in map.entries() {
                if !matches!(key, Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
                    return Err(format!("no formatting function for map key of type {}", key.type_name()));
                }
                pairs.push((inner(&key)?, inner(&value.map_err(|error| error.to_string())?)?));
            }
            pairs.sort();
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            Ok(format!("{{{}}}", pairs.join(", ")))
        }
        Value::Null => Ok("null".to_owned()),
        Value::Type(value) => Ok(value.name().to_owned()),
        Value::Optional(_) | Value::Opaque(_) => Err(format!(
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
             timestamps, was given {}",
            value.type_name()
        )),
        other => match other.clone().convert(Target::String) {
            Ok(text) => Ok(text.to_string()),
            Err(error) => Err(format!(
                "could not convert argument {} to string",
                kube_validation::go::quote(&error.to_string())
            )),
        },
    }
}

/// A value inside a list or a map.
fn inner(value: &Value<'_>) -> Result<String, String> {
    let quote = kube_validation::go::quote;
    Ok(match value {
        Value::String(text) => quote(text),
        Value::Bytes(_) => format!("b{}", quote(&string(value)?)),
        Value::Timestamp(_) => format!("timestamp({})", quote(&string(value)?)),
        Value::Duration(_) => format!("duration({})", quote(&string(value)?)),
        Value::Double(value) if value.is_nan() => "\"NaN\"".to_owned(),
        Value::Double(value) if value.is_infinite() => {
            if *value > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }.to_owned()
        }
        Value::Double(value) => format!("{value:.PRECISION$}"),
        Value::Optional(_) | Value::Opaque(_) => {
            return Err(format!("no formatting function for {}", value.type_name()));
        }
        other => string(other)?,
    })
}
