//! Resource versions, comparable as [KEP-5504] allows: decimal, without leading zeros, within one resource only.
//!
//! A [`ResourceVersion`] is always one that a server can have assigned to a stored object: it is never zero.
//!
//! [KEP-5504]:
//! https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version

use std::{fmt, hash::BuildHasher as _, str::FromStr};

use foldhash::fast::FixedState;

/// A resource version, comparable with others of the same resource as [KEP-5504] defines.
///
/// Parsing fails for anything but a positive decimal number without leading zeros.
///
/// [KEP-5504]:
/// https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version
///
/// ```
/// use kube_informer::ResourceVersion;
///
/// let older: ResourceVersion = "999".parse()?;
/// let newer: ResourceVersion = "1000".parse()?;
/// assert!(older < newer);
/// assert!("0".parse::<ResourceVersion>().is_err());
/// # Ok::<(), kube_informer::InvalidResourceVersion>(())
/// ```
// Two halves rather than a `u128`, whose alignment would cost 8 bytes per cached object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion {
    high: u64,
    low: u64,
}

/// The text is not a comparable resource version: it is not a positive decimal number without leading zeros, or it
/// needs more than 128 bits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resource version {0:?} is not a positive decimal number")]
pub struct InvalidResourceVersion(String);

impl FromStr for ResourceVersion {
    type Err = InvalidResourceVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u128>() {
            Ok(value) if well_formed => Ok(Self { high: (value >> 64) as u64, low: value as u64 }),
            _ => Err(InvalidResourceVersion(text.chars().take(64).collect())),
        }
    }
}

impl ResourceVersion {
    /// Returns the 15 least significant decimal digits, which is what an `f64` represents exactly.
    #[cfg(feature = "metrics")]
    pub(crate) fn last_digits(self) -> u64 {
        (self.value() % 10_u128.pow(15)) as u64
    }

    /// Stands for the version of an object that has none. Equal contents have the same.
    pub(crate) fn of_content(content: &[u8]) -> Self {
        let hash = |seed| FixedState::with_seed(seed).hash_one(content);
        // Never zero.
        Self { high: hash(1), low: hash(2) | 1 }
    }

    /// Returns the version of the list that follows one of this version, where lists have none.
    pub(crate) fn next(before: Option<Self>) -> Self {
        let low = before.map_or(1, |before| before.low.saturating_add(1));
        Self { high: 0, low }
    }

    fn value(self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl fmt::Debug for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_the_kep_refuses() {
        for text in ["", "0", "007", "-1", "+1", " 1", "1 ", "0x10", "abc", "1e3", "９"] {
            assert!(text.parse::<ResourceVersion>().is_err(), "{text:?}");
        }
        let too_long = "9".repeat(40);
        assert!(too_long.parse::<ResourceVersion>().is_err());
    }

    proptest! {
        #[test]
        fn orders_and_prints_as_numbers(a in 1_u128.., b in 1_u128..) {
            let (x, y): (ResourceVersion, ResourceVersion) =
                (a.to_string().parse().unwrap(), b.to_string().parse().unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.to_string(), a.to_string());
        }
    }
}
