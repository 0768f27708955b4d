//! Arithmetic of estimates, and the costs that they are made of.

/// The cost of reading one character.
pub(super) const PER_CHARACTER: f64 = 0.1;
/// The cost of one character of a regular expression, for one unit of the cost of reading the text.
pub(super) const PER_PATTERN_CHARACTER: f64 = 0.25;

pub(super) const NEW_LIST: Estimate = Estimate::fixed(10);
pub(super) const NEW_MAP: Estimate = Estimate::fixed(30);
pub(super) const NEW_STRUCT: Estimate = Estimate::fixed(40);

/// The least and the most that a size or a cost can be. Both saturate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Estimate {
    pub(super) const ZERO: Self = Self::fixed(0);
    pub(super) const ONE: Self = Self::fixed(1);
    pub(super) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    /// The union of no estimates.
    pub(super) const EMPTY: Self = Self { min: u64::MAX, max: 0 };

    pub(super) const fn fixed(value: u64) -> Self {
        Self { min: value, max: value }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// The product with a factor, rounded up.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { min: scaled(self.min, factor), max: scaled(self.max, factor) }
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

impl std::iter::Sum for Estimate {
    fn sum<I: Iterator<Item = Self>>(estimates: I) -> Self {
        estimates.fold(Self::ZERO, Self::plus)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn scaled(value: u64, factor: f64) -> u64 {
    // The conversion back saturates.
    (value as f64 * factor).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::Estimate;

    #[test]
    fn large_estimates_saturate() {
        let large = Estimate::UNKNOWN;
        assert_eq!(large.scaled(1.0), large);
        assert_eq!(large.scaled(0.1).max, 1_844_674_407_370_955_264);
        assert_eq!(large.plus(Estimate::ONE), Estimate { min: 1, max: u64::MAX });
        assert_eq!(large.times(Estimate::fixed(2)), large);
        assert_eq!(Estimate::fixed(3).scaled(18_446_744_073_709_551_615.0), Estimate::fixed(u64::MAX));
        assert_eq!(Estimate::fixed(11).scaled(0.1), Estimate::fixed(2));
    }
}
