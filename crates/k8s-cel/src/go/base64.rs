//! Base64: Go's `encoding/base64`, which skips line breaks and ignores bits that belong to no byte.

/// Go's `base64.Encoding`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Base64 {
    Standard,
    /// Without padding.
    RawStandard,
    Url,
}

impl Base64 {
    /// `DecodeString`.
    ///
    /// # Errors
    /// Fails with the place of Go's `CorruptInputError`.
    pub(crate) fn decode(self, text: &str) -> Result<Vec<u8>, usize> {
        let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let mut quantum = [0; 4];
            let length = self.read_quantum(bytes, &mut at, &mut quantum)?;
            let [a, b, c, d] = quantum;
            let three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
            decoded.extend(three.into_iter().take(length.saturating_sub(1)));
        }
        Ok(decoded)
    }

    /// Reads the next four digits. Returns how many there are before the padding or the end.
    fn read_quantum(self, bytes: &[u8], at: &mut usize, quantum: &mut [u8; 4]) -> Result<usize, usize> {
        let skip_breaks = |at: &mut usize| {
            while bytes.get(*at).is_some_and(|byte| is_break(*byte)) {
                *at += 1;
            }
        };
        for (index, place) in quantum.iter_mut().enumerate() {
            skip_breaks(at);
            let Some(byte) = bytes.get(*at) else {
                return match index {
                    0 => Ok(0),
                    1 => Err(*at - index),
                    _ if self != Self::RawStandard => Err(*at - index),
                    _ => Ok(index),
                };
            };
            *at += 1;
            if let Some(digit) = self.digit(*byte) {
                *place = digit;
                continue;
            }
            if *byte != b'=' || self == Self::RawStandard || index < 2 {
                return Err(*at - 1);
            }
            if index == 2 {
                skip_breaks(at);
                match bytes.get(*at) {
                    None => return Err(bytes.len()),
                    Some(b'=') => *at += 1,
                    Some(_) => return Err(*at - 1),
                }
            }
            skip_breaks(at);
            return if *at < bytes.len() { Err(*at) } else { Ok(index) };
        }
        Ok(quantum.len())
    }

    fn digit(self, byte: u8) -> Option<u8> {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' if self == Self::Url => 62,
            b'_' if self == Self::Url => 63,
            b'+' if self != Self::Url => 62,
            b'/' if self != Self::Url => 63,
            _ => return None,
        })
    }
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::Base64;

    #[test]
    fn bytes_and_places_of_errors_are_those_of_go() {
        for (encoding, text, expected) in [
            (Base64::Url, "", Ok("")),
            (Base64::Url, "aGk=", Ok("hi")),
            (Base64::Url, "aG\nk=", Ok("hi")),
            (Base64::Url, "aGk=\r\n", Ok("hi")),
            (Base64::Url, "aA\n=\n=", Ok("h")),
            // The last bits belong to no byte.
            (Base64::Url, "aGl=", Ok("hi")),
            (Base64::Url, "a", Err(0)),
            (Base64::Url, "aGk", Err(0)),
            (Base64::Url, "aGVsbG8", Err(4)),
            (Base64::Url, "\na", Err(1)),
            (Base64::Url, "aA=", Err(3)),
            (Base64::Url, "aA=x", Err(2)),
            (Base64::Url, "a===", Err(1)),
            (Base64::Url, "aGk=x", Err(4)),
            (Base64::Url, "a+==", Err(1)),
            (Base64::Standard, "a_==", Err(1)),
            (Base64::RawStandard, "aGk", Ok("hi")),
            (Base64::RawStandard, "aGk=", Err(3)),
            (Base64::RawStandard, "aGVsb", Err(4)),
        ] {
            let decoded = encoding.decode(text);
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(decoded, expected, "{text:?}");
        }
    }
}
