//! Bytes in JSON, as `encoding/base64` reads and writes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Returns a text in its canonical form (line breaks are ignored), or Go's message with the position of the error.
pub(crate) fn canonical(text: &str) -> Result<String, String> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match BASE64_STANDARD.decode(&plain) {
        Ok(bytes) => Ok(BASE64_STANDARD.encode(bytes)),
        // The same bits, except for trailing ones without a meaning.
        Err(base64::DecodeError::InvalidLastSymbol { .. }) => Ok(plain),
        Err(_) => Err(base64_error(text)),
    }
}

/// Go's error for a text that is not base64, with the position where its decoder stops.
#[must_use]
pub fn base64_error(text: &str) -> String {
    format!("illegal base64 data at input byte {}", wrong_at(text.as_bytes()))
}

/// Returns where Go's decoder stops: at an invalid character, else at the start of an incomplete group of four.
fn wrong_at(text: &[u8]) -> usize {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut group = 0;
    let mut filled = 0;
    for (at, byte) in text.iter().copied().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n')) {
        if !is_digit(byte) {
            let padding_in_place = byte == b'=' && filled >= 2;
            return if padding_in_place { at + 1 } else { at };
        }
        filled += 1;
        if filled == 4 {
            (group, filled) = (at + 1, 0);
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_go_does() {
        assert_eq!(canonical("Yg==\n").as_deref(), Ok("Yg=="));
        for (text, at) in [("b", 0), ("!!", 0), ("Yg", 0), ("YWJjYg", 4), ("YW!j", 2)] {
            assert_eq!(canonical(text), Err(format!("illegal base64 data at input byte {at}")), "{text}");
        }
    }
}
