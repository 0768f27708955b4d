//! Strings in quotes, as Go prints them.

use std::fmt::Write as _;

/// Formats a string as Go's `strconv.Quote` and `%q` do: in double quotes, with what cannot be printed escaped.
pub fn quote(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_quoted(c, &mut out));
        // Writing to a String cannot fail.
        chunk.invalid().iter().for_each(|byte| _ = write!(out, "\\x{byte:02x}"));
    }
    out.push('"');
    out
}

fn push_quoted(c: char, out: &mut String) {
    // Writing to a String cannot fail.
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        ' '..='~' => out.push(c),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        '\0'..='\x7f' => _ = write!(out, "\\x{:02x}", u32::from(c)),
        _ if is_printable(c) => out.push(c),
        '\0'..='\u{ffff}' => _ = write!(out, "\\u{:04x}", u32::from(c)),
        _ => _ = write!(out, "\\U{:08x}", u32::from(c)),
    }
}

/// `unicode.IsPrint`, beyond ASCII. Characters that were assigned after Unicode 15.0, which Go 1.26 does not know yet, are
/// printable here.
fn is_printable(c: char) -> bool {
    // The standard library has the table only behind `escape_debug`, which also escapes a mark if it comes first.
    let mut text = [b'a'; 5];
    let length = c.encode_utf8(&mut text[1..]).len();
    str::from_utf8(&text[..=length]).is_ok_and(|text| text.escape_debug().eq(['a', c]))
}

/// The quotes in errors of Go's `time`, which escape every byte that is not printable ASCII.
pub fn quote_bytes(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'\x7f' => out.push(char::from(byte)),
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_by_strconv() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a\"\\\n\r\t\u{7}\u{8}\u{b}\u{c}\0\u{7f}", r#""a\"\\\n\r\t\a\b\v\f\x00\x7f""#),
            ("ä\u{85}\u{a0}\u{ad}", r#""ä\u0085\u00a0\u00ad""#),
            ("日本\u{3000}\u{fffd}\u{feff}", "\"日本\\u3000\u{fffd}\\ufeff\""),
            ("😀\u{e0001}\u{10ffff}", r#""😀\U000e0001\U0010ffff""#),
            ("\u{301}e\u{301}", "\"\u{301}e\u{301}\""),
        ] {
            assert_eq!(quote(text), quoted);
        }
        assert_eq!(quote(b"%\xe6\x97"), r#""%\xe6\x97""#);
    }

    #[test]
    fn times_are_quoted_byte_by_byte() {
        assert_eq!(quote_bytes("a\"é\n\x7f".as_bytes()), "\"a\\\"\\xc3\\xa9\\x0a\x7f\"");
    }
}
