//! Formats values as Go does in the messages of Kubernetes.

pub mod ip;
mod quote;
#[cfg(feature = "regex")]
pub mod regex;
pub mod url;

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Number, Value};

pub use self::quote::{quote, quote_bytes};

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

/// Formats a number of unstructured JSON as `%v` does: an integer of 64 bits as it is, any other number as
/// [`float_text`] does.
pub fn number(number: &Number) -> String {
    integer_or(number, float_text)
}

/// Formats a float as `%v` does: the shortest digits that parse to the same float, with an exponent below 1e-4 and from
/// 1e6.
pub fn float_text(float: f64) -> String {
    with_exponent(float, 1e-4..1e6)
}

/// Formats a number of unstructured JSON as `encoding/json` does: floats below 1e-6 or from 1e21 have an exponent.
pub fn json_number(number: &Number) -> String {
    // encoding/json writes 1e-7 where `%v` writes 1e-07.
    integer_or(number, |float| with_exponent(float, 1e-6..1e21).replace("e-0", "e-"))
}

/// Formats an integer that an int64 holds; larger ones are floats in unstructured JSON.
fn integer_or(number: &Number, format: impl Fn(f64) -> String) -> String {
    match (number.as_i64(), number.as_f64()) {
        (None, Some(float)) => format(float),
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

/// Formats a value of unstructured JSON as `%v` does: `map[a:1 b:[x y]]`, a string as it is, null as `<nil>`.
pub fn value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(it) => number(it),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(self::value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(object) => {
            let entries = sorted(object).into_iter();
            let entries: Vec<String> =
                entries.map(|(key, item)| format!("{key}:{}", self::value(item))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Formats a value of unstructured JSON as `%#v` does: `map[string]interface {}{"a":1, "b":[]interface {}{"x"}}`.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(it) => number(it),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(object) => {
            let entries = sorted(object).into_iter();
            let entries: Vec<String> =
                entries.map(|(key, item)| format!("{}:{}", quote(key), syntax(item))).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}

/// Formats unstructured JSON as `json.Marshal` does: with sorted keys, and `<`, `>`, `&`, U+2028 and U+2029 escaped.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, None, &mut out);
    out
}

/// Formats unstructured JSON as `json.MarshalIndent` does, with four spaces per level.
pub fn json_indented(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, Some(0), &mut out);
    out
}

/// Appends JSON, indented if it has a level.
fn write_json(value: &Value, level: Option<usize>, out: &mut String) {
    let inner = level.map(|level| level + 1);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, inner, out);
                write_json(item, inner, out);
            }
            close(']', items.is_empty(), level, out);
        }
        Value::Object(object) => {
            out.push('{');
            for (index, (key, item)) in sorted(object).into_iter().enumerate() {
                separate(index, inner, out);
                write_string(key, out);
                out.push_str(if level.is_some() { ": " } else { ":" });
                write_json(item, inner, out);
            }
            close('}', object.is_empty(), level, out);
        }
        Value::String(text) => write_string(text, out),
        Value::Number(number) => out.push_str(&json_number(number)),
        Value::Bool(_) | Value::Null => out.push_str(&value.to_string()),
    }
}

/// Starts an item of an array or an object.
fn separate(index: usize, level: Option<usize>, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    new_line(level, out);
}

fn close(bracket: char, is_empty: bool, level: Option<usize>, out: &mut String) {
    if !is_empty {
        new_line(level, out);
    }
    out.push(bracket);
}

fn new_line(level: Option<usize>, out: &mut String) {
    if let Some(level) = level {
        out.push('\n');
        (0..level).for_each(|_| out.push_str("    "));
    }
}

fn write_string(text: &str, out: &mut String) {
    for c in Value::from(text).to_string().chars() {
        match c {
            // Writing to a String cannot fail.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
}

/// Returns the entries of an object by key. A map of serde_json may keep the order of insertion.
fn sorted(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

fn with_exponent(float: f64, without: Range<f64>) -> String {
    if float == 0.0 || without.contains(&float.abs()) {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_formatted_as_by_go() {
        for (float, text) in [
            (0.5, "0.5"),
            (3.0, "3"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (5e-5, "5e-05"),
            (123_456.25, "123456.25"),
            (1e6, "1e+06"),
            (-123_456_789.25, "-1.2345678925e+08"),
        ] {
            assert_eq!(float_text(float), text);
        }
        let json = |float: f64| json_number(&Number::from_f64(float).unwrap());
        assert_eq!((json(5e-5), json(1e-7)), ("0.00005".to_owned(), "1e-7".to_owned()));
        assert_eq!((json(1e20), json(1e21)), ("100000000000000000000".to_owned(), "1e+21".to_owned()));
        let (int64, larger) = (Number::from(i64::MAX), Number::from(u64::MAX));
        assert_eq!(
            (number(&int64), number(&larger)),
            (i64::MAX.to_string(), "1.8446744073709552e+19".to_owned())
        );
        assert_eq!(json_number(&larger), "18446744073709552000");
    }

    #[test]
    fn values_are_formatted_as_by_go() {
        let value =
            json!({"b": [1, null, "a b"], "a": {"x<&>\u{2028}\u{7f}": 2.5}, "c": [], "d": {}, "e": true});
        assert_eq!(
            super::value(&value),
            "map[a:map[x<&>\u{2028}\u{7f}:2.5] b:[1 <nil> a b] c:[] d:map[] e:true]"
        );
        let compact = "{\"a\":{\"x\\u003c\\u0026\\u003e\\u2028\u{7f}\":2.5},\"b\":[1,null,\"a b\"],\"c\":[],\"d\":{},\"e\":true}";
        assert_eq!(super::json(&value), compact);
        let indented = "{\n    \"a\": [\n        1\n    ],\n    \"b\": []\n}";
        assert_eq!(json_indented(&json!({"b": [], "a": [1]})), indented);
    }
}
