//! `'%s'.format([...])`: cel-go's `ext/formatting.go` and `ext/formatting_v2.go`.

use super::arguments::{Table, text};
use crate::{
    check::{Clause, Form},
    go,
    value::{Error, Evaluated, List, Target, VISIT, Value, work},
};

/// The number of decimals, if a clause does not say it.
const PRECISION: usize = 6;
/// More decimals than any double has.
const DECIMALS_MAX: usize = 1_100;
/// What Go prints for a number in a format that is too large.
const TOO_LARGE: &str = "%!(NOVERB)";

pub(super) const TABLE: Table = &[
    ("string_format", |args| format(args, Form::American)),
    ("string_format_v4", |args| format(args, Form::Specification)),
];

fn format<'a>(args: &[Value<'a>], form: Form) -> Evaluated<'a> {
    match args {
        [_, Value::List(values)] => {
            let mut panics = false;
            let formatted = formatted(text(args, 0)?, values, form, &mut panics).map(Value::string);
            // Errors here are texts; that of the work is the same again.
            work(0)?;
            if panics && formatted.is_ok() {
                let message = "runtime error: invalid memory address or nil pointer dereference";
                return Err(Error::Internal(message.to_owned()));
            }
            formatted.map_err(Error::new)
        }
        _ => Err(Error::no_such_overload()),
    }
}

/// Whether an object inside a value has a field that its schema does not declare. kube-apiserver panics when it prints one.
fn hides_field(value: &Value<'_>) -> bool {
    if work(VISIT).is_err() {
        return false;
    }
    let inside = |value: Evaluated<'_>| value.is_ok_and(|value| hides_field(&value));
    match value {
        Value::List(list) => list.iter().any(inside),
        Value::Map(map) => map.len() > map.keys().count() || map.entries().any(|(_, value)| inside(value)),
        _ => false,
    }
}

/// `panics` is set if kube-apiserver panics when it prints one of the values.
fn formatted(pattern: &str, values: &List<'_>, form: Form, panics: &mut bool) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut next = 0;
    while let Some((before, clause)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = clause.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let value = values.get(next).ok_or_else(|| format!("index {next} out of range"))?;
        next += 1;
        if clause.is_empty() {
            return Err("unexpected end of string".to_owned());
        }
        let (parsed, read) = Clause::parse(clause.as_bytes(), form)?;
        let value = value.map_err(|error| error.to_string())?;
        let text = match form {
            Form::American => american(parsed, &value),
            Form::Specification => specified(parsed, &value),
        };
        *panics |= hides_field(&value);
        let text = text.map_err(|error| format!("error during formatting: {error}"))?;
        // The cost is that of the pattern.
        spend(text.len().saturating_mul(4))?;
        out.push_str(&text);
        rest = clause.get(read..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

fn spend(amount: usize) -> Result<(), String> {
    work(amount).map_err(|error| error.to_string())
}

/// What both forms write in the same way; `None` for a value that the clause does not take.
fn digits(clause: Clause, value: &Value<'_>) -> Option<String> {
    Some(match (clause, value) {
        (Clause::Decimal, Value::Int(value)) => value.to_string(),
        (Clause::Decimal, Value::Uint(value)) => value.to_string(),
        (Clause::Binary, Value::Int(value)) => signed(*value, |magnitude| format!("{magnitude:b}")),
        (Clause::Binary, Value::Uint(value)) => format!("{value:b}"),
        (Clause::Binary, Value::Bool(value)) => if *value { "1" } else { "0" }.to_owned(),
        (Clause::Octal, Value::Int(value)) => signed(*value, |magnitude| format!("{magnitude:o}")),
        (Clause::Octal, Value::Uint(value)) => format!("{value:o}"),
        (Clause::Hex { upper }, value) => {
            let hex = match value {
                Value::Int(value) => signed(*value, |magnitude| format!("{magnitude:x}")),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                _ => return None,
            };
            if upper { hex.to_ascii_uppercase() } else { hex }
        }
        _ => return None,
    })
}

/// The form of cel-spec: numbers as in Go, and text without quotes also inside lists and maps.
fn specified(clause: Clause, value: &Value<'_>) -> Result<String, String> {
    #[allow(clippy::cast_precision_loss)] // As in cel-go.
    let number = match value {
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        _ => None,
    };
    let precision = |precision: Option<usize>| precision.unwrap_or(PRECISION);
    match (clause, number) {
        (Clause::String, _) => return plain(value),
        (Clause::Decimal, Some(number)) if matches!(value, Value::Double(_)) => return Ok(double(number)),
        (Clause::Fixed(_) | Clause::Scientific(_), Some(number)) if !number.is_finite() => {
            return Ok(double(number));
        }
        (Clause::Fixed(digits), Some(number)) => {
            let digits = precision(digits);
            return Ok(format!("{number:.digits$}"));
        }
        (Clause::Scientific(digits), Some(number)) => {
            let (mantissa, exponent) = scientific_parts(number, precision(digits));
            let sign = if exponent < 0 { '-' } else { '+' };
            return Ok(format!("{mantissa}e{sign}{:02}", exponent.abs()));
        }
        _ => {}
    }
    digits(clause, value).ok_or_else(|| clause.refuses(&value.type_name(), Form::Specification))
}

/// All digits that the number needs, without an exponent.
fn double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        value.to_string()
    }
}

/// `%s` of cel-spec.
fn plain(value: &Value<'_>) -> Result<String, String> {
    spend(VISIT)?;
    let element = |value: Evaluated<'_>| plain(&value.map_err(|error| error.to_string())?);
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double(*value),
        Value::String(text) => text.to_string(),
        // Go's strings may hold any bytes.
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => go::format_seconds(*nanos),
        Value::Timestamp(time) => go::format_rfc3339(go::Timestamp { offset: 0, ..*time }),
        Value::Type(value) => value.name().to_owned(),
        Value::List(list) => {
            format!("[{}]", list.iter().map(element).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Value::Map(map) => {
            let pairs = map.entries().map(|(key, value)| Ok((plain(&key)?, element(value)?)));
            let mut pairs = pairs.collect::<Result<Vec<_>, String>>()?;
            pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Optional(_) | Value::Object(_) | Value::Opaque(_) => {
            return Err(Clause::String.refuses(&value.type_name(), Form::Specification));
        }
    })
}

/// The form of Kubernetes. cel-go takes the digits behind the point of `%.3e` for a width, for which the package that prints
/// numbers in American English has 16 bits.
fn american(clause: Clause, value: &Value<'_>) -> Result<String, String> {
    let number = double_or_name(value);
    match (clause, number) {
        (Clause::String, _) => string(value),
        (Clause::Fixed(Some(number)) | Clause::Scientific(Some(number)), Some(_))
            if number / 10 > 1_000_000 =>
        {
            Ok(TOO_LARGE.to_owned())
        }
        (Clause::Fixed(decimals), Some(value)) => Ok(fixed(value, decimals.unwrap_or(PRECISION))),
        (Clause::Scientific(width), Some(value)) => {
            let width = width.unwrap_or(PRECISION) & 0xffff;
            Ok(format!("{:>width$}", scientific(value, PRECISION)))
        }
        _ => digits(clause, value).ok_or_else(|| clause.refuses(&value.type_name(), Form::American)),
    }
}

fn signed(value: i64, write: impl Fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", write(value.unsigned_abs()))
}

fn double_or_name(value: &Value<'_>) -> Option<f64> {
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

/// With a comma between thousands. Go's package has 8 bits for the number of decimals, and beyond prints zeros only if it must.
fn fixed(value: f64, precision: usize) -> String {
    // A negative zero has no sign.
    let value = value + 0.0;
    not_finite(value).unwrap_or_else(|| {
        let exact = precision.min(DECIMALS_MAX);
        let text = format!("{value:.exact$}");
        let point = text.find('.').unwrap_or(text.len());
        let needed = text.trim_end_matches('0').trim_end_matches('.').len();
        let decimals = precision & 0xff;
        let shown = if decimals == 0 { point } else { point + 1 + decimals };
        let text = text.get(..needed.max(shown)).unwrap_or(&text);
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
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
    let value = value + 0.0;
    not_finite(value).unwrap_or_else(|| {
        let (mantissa, exponent) = scientific_parts(value, precision);
        let sign = if exponent < 0 { "⁻" } else { "" };
        let digits: String = format!("{:02}", exponent.abs()).chars().map(raised).collect();
        format!("{mantissa}×10{sign}{digits}")
    })
}

/// The digits before the exponent, and the exponent.
fn scientific_parts(value: f64, precision: usize) -> (String, i32) {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
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
    spend(VISIT)?;
    match value {
        Value::List(list) => {
            let elements = list.iter().map(|element| inner(&element.map_err(|error| error.to_string())?));
            let text = format!("[{}]", elements.collect::<Result<Vec<_>, _>>()?.join(", "));
            // It is copied at each level.
            spend(text.len().saturating_mul(4))?;
            Ok(text)
        }
        Value::Map(map) => {
            let mut pairs = Vec::with_capacity(map.len());
            for key in map.keys() {
                if !matches!(key, Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
                    return Err(format!("no formatting function for map key of type {}", key.type_name()));
                }
                let name = inner(&key)?;
                // A field that is null has a key, but no value.
                let value =
                    map.find(&key).ok().flatten().ok_or_else(|| format!("could not find key: {name}"))?;
                pairs.push((name, inner(&value.map_err(|error| error.to_string())?)?));
            }
            pairs.sort();
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            Ok(format!("{{{}}}", pairs.join(", ")))
        }
        Value::Null => Ok("null".to_owned()),
        Value::Type(value) => Ok(value.name().to_owned()),
        Value::Optional(_) | Value::Object(_) | Value::Opaque(_) => {
            Err(Clause::String.refuses(&value.type_name(), Form::American))
        }
        other => match other.clone().convert(Target::String) {
            Ok(text) => Ok(text.to_string()),
            Err(error) => {
                Err(format!("could not convert argument {} to string", go::quote(error.to_string())))
            }
        },
    }
}

/// A value inside a list or a map.
fn inner(value: &Value<'_>) -> Result<String, String> {
    let quote = |text: &str| go::quote(text);
    Ok(match value {
        Value::String(text) => {
            spend(text.len())?;
            quote(text)
        }
        Value::Bytes(_) => format!("b{}", quote(&string(value)?)),
        Value::Timestamp(_) => format!("timestamp({})", quote(&string(value)?)),
        Value::Duration(_) => format!("duration({})", quote(&string(value)?)),
        Value::Double(value) if value.is_nan() => "\"NaN\"".to_owned(),
        Value::Double(value) if value.is_infinite() => {
            if *value > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }.to_owned()
        }
        Value::Double(value) => format!("{value:.PRECISION$}"),
        Value::Optional(_) | Value::Object(_) | Value::Opaque(_) => {
            return Err(format!("no formatting function for {}", value.type_name()));
        }
        other => string(other)?,
    })
}
