//! Escapes of single characters.

use std::str::Chars;

/// The text of an error about a part of a pattern.
pub(super) fn failed(problem: &str, part: &str) -> String {
    format!("error parsing regexp: {problem}: `{part}`")
}

/// Reads an escape of a code point, which may be a surrogate. Returns what follows it, too.
pub(super) fn read_escape(text: &str) -> Result<(u32, &str), String> {
    let mut chars = text.chars();
    chars.next();
    let Some(c) = chars.next() else {
        return Err(failed("trailing backslash at end of expression", ""));
    };
    let code = match c {
        '0'..='7' => octal(c, &mut chars),
        'x' => hexadecimal(&mut chars),
        'a' => Some(0x07),
        't' => Some(0x09),
        'n' => Some(0x0a),
        'v' => Some(0x0b),
        'f' => Some(0x0c),
        'r' => Some(0x0d),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
        _ => None,
    };
    let rest = chars.as_str();
    code.map(|code| (code, rest))
        .ok_or_else(|| failed("invalid escape sequence", text.strip_suffix(rest).unwrap_or(text)))
}

/// Up to three digits. One that is not zero would be a backreference.
fn octal(first: char, chars: &mut Chars<'_>) -> Option<u32> {
    let next = |chars: &Chars<'_>| chars.clone().next().and_then(|c| c.to_digit(8));
    let mut code = first.to_digit(8)?;
    if code != 0 {
        next(chars)?;
    }
    for _ in 0..2 {
        let Some(digit) = next(chars) else { break };
        chars.next();
        code = code * 8 + digit;
    }
    Some(code)
}

/// Two digits, or any number of them in braces.
fn hexadecimal(chars: &mut Chars<'_>) -> Option<u32> {
    match chars.next()? {
        '{' => {}
        first => {
            let second = chars.next();
            return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
        }
    }
    let mut code = None;
    loop {
        match chars.next()? {
            '}' => return code,
            c => {
                let value = code.unwrap_or(0) * 16 + c.to_digit(16)?;
                code = Some(value).filter(|value| *value <= u32::from(char::MAX));
                code?;
            }
        }
    }
}
