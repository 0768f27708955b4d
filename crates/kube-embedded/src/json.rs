//! JSON as Go's `encoding/json` writes it, which is what clients of kube-apiserver get.
//!
//! It differs from serde_json's in two ways: `<`, `>`, `&`, U+2028 and U+2029 are escaped, and floats have their own form
//! (`1`, not `1.0`). Objects are written once, when they are stored; what is sent are those bytes.

use std::io;

use kube_validation::go;
use serde::Serialize;
use serde_json::Number;
use serde_json::ser::{Formatter, Serializer};

/// Appends a value.
pub(crate) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Serialising into memory cannot fail for values and for structs with texts as keys.
    let _ = value.serialize(&mut Serializer::with_formatter(out, Go));
}

/// A value as bytes.
pub(crate) fn to_vec(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

/// JSON in Go's indented form, without the end of the line.
pub(crate) fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * json.len());
    let mut depth = 0_usize;
    let new_line = |out: &mut Vec<u8>, depth| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b"  ", depth).flatten());
    };
    let mut rest = json;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'"' => {
                let length = text_length(after);
                out.push(b'"');
                out.extend_from_slice(&after[..length]);
                rest = &after[length..];
            }
            b'{' | b'[' => {
                out.push(*byte);
                if let [close @ (b'}' | b']'), after @ ..] = after {
                    out.push(*close);
                    rest = after;
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(*other),
        }
    }
    out
}

/// The length of a text and its closing quote, after the opening one.
fn text_length(after: &[u8]) -> usize {
    let mut escaped = false;
    let end = after.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(after.len(), |end| end + 1)
}

/// Go's form.
struct Go;

impl Formatter for Go {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        match Number::from_f64(value) {
            Some(number) => writer.write_all(go::json_number(&number).as_bytes()),
            None => writer.write_all(b"null"),
        }
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, escape, length)) = next_escape(rest) {
            writer.write_all(&rest.as_bytes()[..at])?;
            writer.write_all(escape)?;
            rest = &rest[at + length..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// The next character that has to be escaped: where it is, how it is written, and its length.
fn next_escape(text: &str) -> Option<(usize, &'static [u8], usize)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let found = bytes[from..].iter().position(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2))?;
        let at = from + found;
        match bytes[at..] {
            [b'<', ..] => return Some((at, b"\\u003c", 1)),
            [b'>', ..] => return Some((at, b"\\u003e", 1)),
            [b'&', ..] => return Some((at, b"\\u0026", 1)),
            [0xe2, 0x80, 0xa8, ..] => return Some((at, b"\\u2028", 3)),
            [0xe2, 0x80, 0xa9, ..] => return Some((at, b"\\u2029", 3)),
            // Another character that begins with this byte.
            _ => from = at + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(value: &Value) -> String {
        String::from_utf8(to_vec(value)).unwrap()
    }

    /// The answers of kube-apiserver 1.37.2 to the same values in a custom resource.
    #[test]
    fn values_are_written_as_by_go() {
        for (value, expected) in [
            (json!("<>&"), r#""\u003c\u003e\u0026""#),
            (json!("a<b"), r#""a\u003cb""#),
            (json!("\u{2028}\u{2029}\u{2027}\u{2030}€"), "\"\\u2028\\u2029\u{2027}\u{2030}€\""),
            (json!({"<": "\u{8}\u{c}\n\u{1}\"\\"}), r#"{"\u003c":"\b\f\n\u0001\"\\"}"#),
            (json!("\u{7f}😀"), "\"\u{7f}😀\""),
            (json!(1.0), "1"),
            (json!(-1.0), "-1"),
            (json!(1e2), "100"),
            (json!(0.1), "0.1"),
            (json!(0.000_001), "0.000001"),
            (json!(1e-7), "1e-7"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(1.5e300), "1.5e+300"),
            (json!(123_456_789.5), "123456789.5"),
            (json!(i64::MAX), "9223372036854775807"),
        ] {
            assert_eq!(text(&value), expected, "{value}");
        }
    }

    #[test]
    fn indented_json_is_as_by_go() {
        let value = json!({"a": {}, "b": [], "c": [1, {"d": "e,{\"\\", "f": null}], "g": {"h": true}});
        let expected = concat!(
            "{\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"e,{\\\"\\\\\",\n      ",
            "\"f\": null\n    }\n  ],\n  \"g\": {\n    \"h\": true\n  }\n}"
        );
        let indented = indent(format!("{value}\n").as_bytes());
        assert_eq!(String::from_utf8(indented.clone()).unwrap(), expected);
        assert_eq!(indent(&indented), indented);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[a<>&\u{2028}\u{2029}\u{2027}é\"\\\\]{0,8}", number in any::<f64>()) {
            let number = if number.is_finite() { number } else { 0.5 };
            let value = json!({text.clone(): [text.clone(), number]});
            let read: Value = serde_json::from_slice(&to_vec(&value)).unwrap();
            prop_assert_eq!((&read[&text][0], read[&text][1].as_f64()), (&json!(text), Some(number)));
        }
    }
}
