//! Fixed-point numbers with a suffix, and their canonical form.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// An amount of a resource: `100m`, `1.5Gi`, `12e6`.
///
/// Equality and order are those of the value: `1Ki` equals `1024`. [`Display`](fmt::Display) prints the canonical form of
/// `k8s.io/apimachinery/pkg/api/resource`: no fraction, the largest suffix that fits, and the kind of suffix it was
/// written with. Parsing rounds digits below nano up, away from zero.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// The value is `digits * 10^exponent`.
    digits: i128,
    exponent: i32,
    format: Format,
}

/// The reason why a text is not a [`Quantity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuantityError {
    /// The text has the wrong form. The message is kube-apiserver's.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Malformed,
    /// The text has the right form, but more digits than fit into 128 bits. kube-apiserver accepts such a number.
    #[error("a quantity has more digits than 128 bits can hold")]
    OutOfRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// The exponent of nano, the finest that is kept.
const FINEST: i32 = -9;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Returns the canonical form of a quantity, as the API server stores it. A number with more digits than a [`Quantity`]
    /// can hold is returned unchanged.
    ///
    /// # Errors
    /// Fails with [`ParseQuantityError::Malformed`] if the text has the wrong form.
    pub fn canonicalize(text: &str) -> Result<String, ParseQuantityError> {
        match text.parse::<Self>() {
            Ok(quantity) => Ok(quantity.to_string()),
            Err(ParseQuantityError::OutOfRange) => Ok(text.to_owned()),
            Err(malformed) => Err(malformed),
        }
    }

    /// Returns whether it is less than zero.
    pub fn is_negative(self) -> bool {
        self.digits < 0
    }

    /// Returns whether it is zero.
    pub fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// Returns whether it is an integer.
    pub fn is_whole(self) -> bool {
        let (digits, exponent) = self.normalized();
        digits == 0 || exponent >= 0
    }

    /// Returns the nearest floating-point number.
    pub fn to_f64(self) -> f64 {
        self.digits as f64 * 10_f64.powi(self.exponent)
    }

    /// Returns the value rounded up to an integer.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        if self.exponent >= 0 {
            return self;
        }
        let divisor = 10_i128.checked_pow(self.exponent.unsigned_abs());
        Self { digits: divide_up(self.digits, divisor), exponent: 0, ..self }
    }

    /// Returns how many units of `10^scale` it is, rounded up: with -3, thousandths. A number that does not fit is the nearest
    /// that does.
    pub fn scaled_value(self, scale: i32) -> i64 {
        let by = self.exponent.saturating_sub(scale);
        let factor = 10_i128.checked_pow(by.unsigned_abs());
        let scaled = match by {
            0.. => factor.map_or_else(
                || self.digits.saturating_mul(i128::MAX),
                |factor| self.digits.saturating_mul(factor),
            ),
            _ => divide_up(self.digits, factor),
        };
        i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
    }

    fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        let exponent = self.exponent.min(other.exponent);
        let scaled = |it: Self| {
            let factor = 10_i128.checked_pow(it.exponent.abs_diff(exponent))?;
            it.digits.checked_mul(factor)
        };
        let digits = scaled(self).zip(scaled(other)).and_then(|(one, other)| one.checked_add(other));
        match digits {
            Some(digits) => Self { digits, exponent, format },
            None => Self { format, ..self.max(other) },
        }
    }

    /// Returns the same value without trailing zeros in its digits.
    fn normalized(self) -> (i128, i32) {
        let (mut digits, mut exponent) = (self.digits, self.exponent);
        while digits != 0 && digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        (digits, exponent)
    }

    /// Formats the value with a binary suffix, which requires an integer: a fraction is rounded up. `None` on overflow.
    fn binary_text(self) -> Option<String> {
        let mut whole = if self.exponent >= 0 {
            self.digits.checked_mul(10_i128.checked_pow(self.exponent.unsigned_abs())?)?
        } else {
            divide_up(self.digits, 10_i128.checked_pow(self.exponent.unsigned_abs()))
        };
        let mut power = 0;
        while whole % 1024 == 0 && power < BINARY.len() {
            whole /= 1024;
            power += 1;
        }
        let suffix = power.checked_sub(1).and_then(|power| BINARY.get(power)).copied();
        Some(format!("{whole}{}", suffix.unwrap_or_default()))
    }

    /// Returns whether the absolute value is less than 1024, where binary suffixes are not used.
    fn is_small(self) -> bool {
        let bound = Self { digits: 1024, exponent: 0, format: Format::Binary };
        Self { digits: self.digits.saturating_abs(), ..self } < bound
    }
}

impl Quantity {
    /// Parses an amount that is compared with a limit: one that is out of range, which kube-apiserver accepts, is more than any
    /// limit. `None` if it is none.
    pub fn parse_or_huge(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(quantity) => Some(quantity),
            Err(ParseQuantityError::OutOfRange) if text.starts_with('-') => Some(Self::from(i64::MIN)),
            Err(ParseQuantityError::OutOfRange) => Some(Self::from(i64::MAX)),
            Err(ParseQuantityError::Malformed) => None,
        }
    }
}

impl From<i64> for Quantity {
    fn from(value: i64) -> Self {
        Self { digits: value.into(), exponent: 0, format: Format::Decimal }
    }
}

/// A sum has the suffixes of its first term, unless that is zero. One with more digits than a quantity can hold is rounded to
/// its greater term.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

/// As a sum with the negative.
impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.plus(Self { digits: other.digits.saturating_neg(), ..other })
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        use ParseQuantityError::{Malformed, OutOfRange};
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(Malformed);
        }
        let (format, scale, factor) = suffix_of(suffix).ok_or(Malformed)?;
        // Trailing zeros of a fraction add digits but no value.
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse::<i128>();
        let digits = digits.ok().and_then(|digits| digits.checked_mul(factor)).ok_or(OutOfRange)?;
        let places = i32::try_from(fraction.len()).map_err(|_| OutOfRange)?;
        let exponent = scale.checked_sub(places).filter(|it| (-60..=36).contains(it)).ok_or(OutOfRange)?;
        let mut quantity = Self { digits, exponent, format };
        if exponent < FINEST {
            let divisor = 10_i128.checked_pow((FINEST - exponent).unsigned_abs());
            quantity.digits = divide_up(quantity.digits, divisor);
            quantity.exponent = FINEST;
        }
        if negative {
            quantity.digits = -quantity.digits;
        }
        Ok(quantity)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits == 0 {
            return f.write_str("0");
        }
        if self.format == Format::Binary
            && !self.is_small()
            && let Some(text) = self.binary_text()
        {
            return f.write_str(&text);
        }
        let (mut digits, mut exponent) = self.normalized();
        while exponent % 3 != 0 {
            let Some(more) = digits.checked_mul(10) else { return write!(f, "{digits}e{exponent}") };
            digits = more;
            exponent -= 1;
        }
        let suffix = DECIMAL.iter().find(|(_, scale)| *scale == exponent).map(|(suffix, _)| *suffix);
        match (self.format, suffix) {
            (Format::Exponent, _) | (_, None) if exponent != 0 => write!(f, "{digits}e{exponent}"),
            (_, suffix) => write!(f, "{digits}{}", suffix.unwrap_or_default()),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((a, a_exponent), (b, b_exponent)) = (self.normalized(), other.normalized());
        if a.signum() != b.signum() || a == 0 {
            return a.signum().cmp(&b.signum());
        }
        // Of two values of the same sign, the one with more digits before the point has the greater magnitude. If these are
        // equally many, the coarser value is scaled up to compare the digits; the one that overflows is the greater.
        let magnitude = |digits: i128, exponent: i32| digits.unsigned_abs().ilog10() as i32 + exponent;
        let scaled = |digits: i128, by: i32| {
            let factor = 10_u128.checked_pow(by.unsigned_abs())?;
            digits.unsigned_abs().checked_mul(factor)
        };
        let least = a_exponent.min(b_exponent);
        let by_size = magnitude(a, a_exponent).cmp(&magnitude(b, b_exponent)).then_with(|| {
            match (scaled(a, a_exponent - least), scaled(b, b_exponent - least)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            }
        });
        if a > 0 { by_size } else { by_size.reverse() }
    }
}

/// Returns the format that a suffix stands for, its power of ten, and its factor.
fn suffix_of(suffix: &str) -> Option<(Format, i32, i128)> {
    if let Some((_, scale)) = DECIMAL.iter().find(|(it, _)| *it == suffix) {
        return Some((Format::Decimal, *scale, 1));
    }
    if let Some(index) = BINARY.iter().position(|it| *it == suffix) {
        let power = u32::try_from(index).ok()? + 1;
        return Some((Format::Binary, 0, 1024_i128.pow(power)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    Some((Format::Exponent, exponent.parse().ok()?, 1))
}

/// Divides and rounds away from zero. A divisor of `None` is larger than any number.
fn divide_up(digits: i128, divisor: Option<i128>) -> i128 {
    let Some(divisor) = divisor else { return digits.signum() };
    let (quotient, rest) = (digits / divisor, digits % divisor);
    if rest == 0 { quotient } else { quotient + digits.signum() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_forms_are_apimachinerys() {
        for (text, expected) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1000Ki", "1000Ki"),
            ("2048Ki", "2Mi"),
            ("1e3", "1e3"),
            ("12E6", "12e6"),
            ("100e0", "100"),
            ("0.0000000001", "1n"),
            ("-1500m", "-1500m"),
            ("1E", "1E"),
            ("5.", "5"),
            (".5", "500m"),
            ("10G", "10G"),
            ("123456789", "123456789"),
        ] {
            assert_eq!(Quantity::canonicalize(text).as_deref(), Ok(expected), "{text}");
            assert_eq!(Quantity::canonicalize(expected).as_deref(), Ok(expected), "{expected}");
        }
        for bad in ["", "m", ".", "1xx", "1.2.3", "1 Gi", "e3", "1e", "1gi", "--1"] {
            assert_eq!(Quantity::canonicalize(bad), Err(ParseQuantityError::Malformed), "{bad}");
        }
        let long = "9".repeat(60);
        assert_eq!(Quantity::canonicalize(&long), Ok(long.clone()));
        assert_eq!(long.parse::<Quantity>(), Err(ParseQuantityError::OutOfRange));
    }

    #[test]
    fn quantities_compare_by_value() {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        assert!(parse("1Gi") > parse("1G"));
        assert_eq!(parse("0.5"), parse("500m"));
        assert_eq!(parse("1Ki"), parse("1024"));
        // Too large for 128 bits in units of nano.
        assert!(parse("17e36") > parse("1E") && parse("-17e36") < parse("-1E"));
        assert!((parse("1500m").to_f64() - 1.5).abs() < 1e-9);
        assert!(parse("-1").is_negative() && parse("1k").is_whole() && !parse("1m").is_whole());
    }

    #[test]
    fn sums_have_the_suffixes_of_their_first_term() {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        let sum = |a: &str, b: &str| (parse(a) + parse(b)).to_string();
        assert_eq!(sum("1500m", "0.5"), "2");
        assert_eq!(sum("0", "1Gi"), "1Gi");
        assert_eq!(sum("1Gi", "512Mi"), "1536Mi");
        assert_eq!(sum("1", "1Ki"), "1025");
        assert_eq!((parse("1Gi") - parse("512Mi")).to_string(), "512Mi");
        assert_eq!((parse("1") - parse("2500m")).to_string(), "-1500m");
        assert_eq!(parse("17e36") + parse("1n"), parse("17e36"));
        assert_eq!((Quantity::from(0) + parse("1.5Ki").rounded_up()).to_string(), "1536");
        assert_eq!(parse("1.2").rounded_up(), Quantity::from(2));
    }

    #[test]
    fn scaled_values_are_rounded_up() {
        let scaled = |text: &str, scale| text.parse::<Quantity>().unwrap().scaled_value(scale);
        assert_eq!((scaled("1.5", -3), scaled("1.5", 0), scaled("1500", 3)), (1500, 2, 2));
        assert_eq!((scaled("100m", -3), scaled("1n", -3), scaled("1Ki", 0)), (100, 1, 1024));
        assert_eq!((scaled("17e36", 0), scaled("-17e36", -3)), (i64::MAX, i64::MIN));
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let parse = |text: String| text.parse::<Quantity>().unwrap();
            prop_assert_eq!(parse(format!("{a}m")).cmp(&parse(format!("{b}m"))), a.cmp(&b));
            prop_assert_eq!(parse(format!("{a}")).cmp(&parse(format!("{b}m"))), (a * 1000).cmp(&b));
        }

        #[test]
        fn the_canonical_form_has_the_same_value(text in "[+-]?[0-9]{1,9}(\\.[0-9]{0,9})?(n|u|m|k|M|G|Ki|Mi|Gi|e[0-9])?") {
            let quantity: Quantity = text.parse().unwrap();
            let canonical = quantity.to_string();
            let again: Quantity = canonical.parse().unwrap();
            prop_assert_eq!(again.to_string(), canonical);
            // A binary form is rounded up to an integer.
            prop_assert!(again == quantity || quantity.format == Format::Binary && again > quantity || again.is_negative());
        }
    }
}
