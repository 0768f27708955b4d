//! Formats values as Go does in the messages of Kubernetes.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Formats a string as Go's `%q` does: in double quotes, with control characters escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            // Writing to a String cannot fail.
            c if c < ' ' || c == '\x7f' => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if c.is_control() => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Formats a slice of strings as Go's `%q` does: `["a" "b"]`.
pub fn quote_all<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

/// Formats several errors as one, as apimachinery's `Aggregate` does: `[a, b]`, or the error itself if there is only one.
pub fn aggregate(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// Formats a number as `%v` does: floats below 1e-4 or from 1e21 have an exponent.
pub fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// Formats a float as `%v` does: the shortest digits that parse to the same float, with an exponent below 1e-4 and from
/// 1e21.
pub fn float_text(float: f64) -> String {
    with_exponent(float, 1e-4)
}

/// Formats a number as `encoding/json` does: floats below 1e-6 or from 1e21 have an exponent.
pub fn json_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => with_exponent(float, 1e-6),
        _ => number.to_string(),
    }
}

/// Returns the type of a value as `encoding/json` names it in its errors: `bool`, `number`, `string`, `array`, `object` or
/// `null`.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns the type of a value of unstructured JSON as `%T` names it: `map[string]interface {}`, `float64`.
pub fn unstructured_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn with_exponent(float: f64, from: f64) -> String {
    if float == 0.0 || (from..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    // Rust writes 1.25e30 and 1e-7 where Go writes 1.25e+30 and 1e-07.
    let text = format!("{float:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_by_go() {
        for (float, text) in [
            (0.5, "0.5"),
            (3.0, "3"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (5e-5, "5e-05"),
            (123_456_789.25, "123456789.25"),
            (1e20, "100000000000000000000"),
        ] {
            assert_eq!(float_text(float), text);
        }
        let json = |float: f64| json_number(&Number::from_f64(float).unwrap());
        assert_eq!((json(5e-5), json(1e-7)), ("0.00005".to_owned(), "1e-07".to_owned()));
    }

    #[test]
    fn strings_are_quoted_as_by_go() {
        assert_eq!(quote("a\"\n\u{1}\u{85}ä"), r#""a\"\n\x01\u0085ä""#);
    }
}
