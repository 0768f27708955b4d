//! The values of string and bytes literals.

/// What a literal stands for, quotes and prefix included in `literal`: bytes, which are UTF-8 unless
/// `is_bytes`.
pub(super) fn unescape(literal: &str, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    // Every line ends with a newline.
    let literal = literal.replace("\r\n", "\n").replace('\r', "\n");
    let (raw, quoted) = match literal.strip_prefix(['r', 'R']) {
        Some(quoted) => (true, quoted),
        None => (false, literal.as_str()),
    };
    let inside = ["'''", "\"\"\"", "'", "\""]
        .iter()
        .find_map(|quote| quoted.strip_prefix(quote)?.strip_suffix(quote))
        .ok_or("unable to unescape string")?;
    if raw {
        return Ok(inside.as_bytes().to_vec());
    }
    let mut value = Vec::with_capacity(inside.len());
    let mut parts = inside.split('\\');
    value.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    while let Some(part) = parts.next() {
        let rest = match part.as_bytes() {
            // Two backslashes: the text after the second is not an escape.
            [] => {
                value.push(b'\\');
                parts.next().ok_or("unable to unescape string, found '\\' as last character")?
            }
            _ => unescape_one(part, is_bytes, &mut value)?,
        };
        value.extend_from_slice(rest.as_bytes());
    }
    Ok(value)
}

/// Adds what the text after a backslash stands for, and returns what follows that.
fn unescape_one<'a>(text: &'a str, is_bytes: bool, value: &mut Vec<u8>) -> Result<&'a str, &'static str> {
    const INVALID: &str = "unable to unescape string";
    const INVALID_OCTAL: &str = "unable to unescape octal sequence in string";
    let kind = text.bytes().next().unwrap_or_default();
    let (start, length, radix, invalid) = match kind {
        b'x' | b'X' => (1, 2, 16, INVALID),
        b'u' if !is_bytes => (1, 4, 16, INVALID),
        b'U' if !is_bytes => (1, 8, 16, INVALID),
        b'0'..=b'3' => (0, 3, 8, INVALID_OCTAL),
        _ => {
            value.push(match kind {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                b'\'' | b'"' | b'`' | b'?' => kind,
                _ => return Err(INVALID),
            });
            return text.get(1..).ok_or(INVALID);
        }
    };
    let digits = text.get(start..start + length).ok_or(invalid)?;
    let code = u32::from_str_radix(digits, radix).map_err(|_| invalid)?;
    if is_bytes {
        value.push(u8::try_from(code).map_err(|_| invalid)?);
    } else {
        let character = char::from_u32(code).ok_or("invalid unicode code point")?;
        value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    text.get(start + length..).ok_or(invalid)
}
