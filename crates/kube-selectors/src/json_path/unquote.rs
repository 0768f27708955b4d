//! Quoted text of templates: `UnquoteExtend` of `k8s.io/client-go/util/jsonpath`, which has the escapes of Go.

use std::str::Chars;

/// Returns the text between two quotes with its escapes replaced. `None` if one is malformed. Bytes that are not UTF-8, which
/// `\xff` can write, are replaced by U+FFFD.
pub(super) fn unquote(text: &str, quote: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, quote, &mut bytes)?,
            c => push(c, &mut bytes),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the text after a backslash.
fn escape(chars: &mut Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let byte = match chars.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        'x' => u8::try_from(digits(chars, 2, 16, 0)?).ok()?,
        first @ '0'..='7' => u8::try_from(digits(chars, 2, 8, first.to_digit(8)?)?).ok()?,
        c if c == quote => u8::try_from(c).ok()?,
        c @ ('u' | 'U') => {
            let code = digits(chars, if c == 'u' { 4 } else { 8 }, 16, 0)?;
            push(char::from_u32(code)?, bytes);
            return Some(());
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

/// Reads digits that continue a number. `None` if one is missing or the number is too large.
fn digits(chars: &mut Chars<'_>, count: usize, radix: u32, start: u32) -> Option<u32> {
    (0..count)
        .try_fold(start, |number, _| number.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?))
}

fn push(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::unquote;

    #[test]
    fn escapes_are_those_of_go() {
        for (text, expected) in [
            (r"a\n\t\r\\", "a\n\t\r\\"),
            (r#"\""#, "\""),
            (r"\x41\101\u00e4\U0001F600", "AAä😀"),
            (r"\xc3\xa4\xff", "ä\u{fffd}"),
            ("例え", "例え"),
        ] {
            assert_eq!(unquote(text, '"').as_deref(), Some(expected), "{text}");
        }
        for bad in [r"\'", r"\q", r"\x4", r"\400", r"\ud800", r"\U00110000", "\\"] {
            assert_eq!(unquote(bad, '"'), None, "{bad}");
        }
    }
}
