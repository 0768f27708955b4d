//! The uid of an object, as a cache holds it.

use std::fmt;

/// The length of a UUID as text.
pub(crate) const LENGTH: usize = 36;
/// Where a UUID has dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The uid of an object.
#[derive(Debug, Clone, Copy)]
pub enum Uid<'a> {
    Text(&'a str),
    /// A UUID in its canonical form, which all uids that a kube-apiserver generates have.
    Packed([u8; 16]),
}

impl PartialEq for Uid<'_> {
    /// Whether the texts are the same.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Packed(a), Self::Packed(b)) => a == b,
            (Self::Text(text), Self::Packed(packed)) | (Self::Packed(packed), Self::Text(text)) => {
                text.as_bytes() == unpack(*packed)
            }
        }
    }
}

impl fmt::Display for Uid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Packed(packed) => f.write_str(str::from_utf8(&unpack(*packed)).unwrap_or_default()),
        }
    }
}

/// Returns the bytes of a UUID in its canonical form: with dashes, in lower case.
pub(crate) fn pack(text: &str) -> Option<[u8; 16]> {
    if text.len() != LENGTH {
        return None;
    }
    let (mut packed, mut nibbles) = ([0; 16], 0);
    for (at, byte) in text.bytes().enumerate() {
        let nibble = match byte {
            b'-' if DASHES.contains(&at) => continue,
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        // Not within reach if dashes are missing.
        let to: &mut u8 = packed.get_mut(nibbles / 2)?;
        *to = *to << 4 | nibble;
        nibbles += 1;
    }
    (nibbles == 32).then_some(packed)
}

/// Returns the text of a UUID.
pub(crate) fn unpack(packed: [u8; 16]) -> [u8; LENGTH] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut nibbles = packed.into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    std::array::from_fn(|at| match DASHES.contains(&at) {
        true => b'-',
        false => nibbles.next().map_or(b'0', |nibble| DIGITS[usize::from(nibble)]),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_form_is_packed() {
        let text = "0d7c1c2e-5d3b-4b0a-9c1e-00000000ff1a";
        assert_eq!(Uid::Packed(pack(text).unwrap()).to_string(), text);
        for other in [
            "",
            "1",
            "0D7C1C2E-5D3B-4B0A-9C1E-00000000FF1A",
            "0d7c1c2e05d3b04b0a09c1e000000000ff1a",
            "0d7c1c2-e5d3b-4b0a-9c1e-00000000ff1a",
            "0d7c1c2e-5d3b-4b0a-9c1e-00000000ff1é",
            "------------------------------------",
        ] {
            assert_eq!(pack(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_packed_uid_is_the_same_as_its_text(packed: [u8; 16], other: [u8; 16]) {
            let text = Uid::Packed(packed).to_string();
            prop_assert_eq!(pack(&text), Some(packed));
            prop_assert!(Uid::Packed(packed) == Uid::Text(&text) && Uid::Text(&text) == Uid::Packed(packed));
            prop_assert_eq!(Uid::Packed(other) == Uid::Text(&text), packed == other);
        }
    }
}
