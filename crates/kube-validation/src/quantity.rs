//! Fixed-point numbers with a suffix, and their canonical form.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// An amount of a resource: `100m`, `1.5Gi`, `12e6`.
///
/// Equality and order are those of the value: `1Ki` equals `1024`. [`Display`](fmt::Display) prints the canonical form of
/// `k8s.io/apimachinery/pkg/api/resource`: no fraction, the largest suffix that fits, and the kind of suffix it was
/// written with, unless a binary one would need a fraction: `1.5Ki` is `1536`, `9.765Ki` is `9999360m`. As there, parsing
/// rounds digits below nano up, away from zero, and limits amounts with a binary suffix to 2^63 - 1.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// The value is `digits * 10^exponent`.
    digits: i128,
    exponent: i32,
    format: Format,
    /// Whether apimachinery keeps the amount in 64 bits, and not in a number of any size.
    small: bool,
}

/// The reason why a text is not a [`Quantity`]. The messages are kube-apiserver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuantityError {
    /// The text has the wrong form.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Malformed,
    /// There is no number.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is none of those that are known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The text has the right form, but more digits than fit into 128 bits, or an exponent above 10,000. kube-apiserver accepts
    /// such a number.
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
/// The greatest exponent that is read: a number with more zeros is out of range.
const COARSEST: i32 = 10_000;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Returns a quantity as the API server stores it. This is its canonical form, except that apimachinery keeps some short
    /// texts as they are, such as `+5`, `01` and `1.500`. A number with more digits than a [`Quantity`] can hold is returned
    /// unchanged.
    ///
    /// # Errors
    /// Fails if the text is not a quantity, but not with [`ParseQuantityError::OutOfRange`].
    pub fn canonicalize(text: &str) -> Result<String, ParseQuantityError> {
        match Self::read(text) {
            Ok((_, true)) | Err(ParseQuantityError::OutOfRange) => Ok(text.to_owned()),
            Ok((quantity, false)) => Ok(quantity.to_string()),
            Err(error) => Err(error),
        }
    }

    /// Returns an integer that is printed with an exponent: 1000 as `1e3`.
    pub fn with_exponent(value: i64) -> Self {
        Self { format: Format::Exponent, ..Self::from(value) }
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

    /// Returns a floating-point number that is near. Its last digits are those of Go's `AsApproximateFloat64`.
    pub fn to_f64(self) -> f64 {
        if self.exponent == 0 {
            return self.digits as f64;
        }
        self.digits as f64 * format!("1e{}", self.exponent).parse().unwrap_or(f64::INFINITY)
    }

    /// Returns the integer that it is, as Go's `AsInt64` does: `None` for a fraction, a number of more than 64 bits, and one
    /// that apimachinery does not keep in 64 bits, such as `1000m` and `1.5Ki`.
    pub fn to_i64(self) -> Option<i64> {
        let power = 10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        i64::try_from(self.digits.checked_mul(power)?).ok().filter(|_| self.small)
    }

    /// Returns the value rounded up to a multiple of `10^scale`, away from zero: with -3, to thousandths.
    #[must_use]
    pub fn rounded_up(self, scale: i32) -> Self {
        if self.exponent >= scale {
            return self;
        }
        let divisor = 10_i128.checked_pow(self.exponent.abs_diff(scale));
        Self { digits: divide_up(self.digits, divisor), exponent: scale, ..self }
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

    /// Returns the sum, with the suffixes of the first term unless that is zero. `None` if it has more digits than a quantity
    /// can hold.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if other.digits == 0 {
            return Some(Self { format: self.format_with(other), ..self });
        }
        if self.digits == 0 && self.small && other.small {
            return Some(other);
        }
        let exponent = self.exponent.min(other.exponent);
        let scaled = |it: Self| {
            let factor = 10_i128.checked_pow(it.exponent.abs_diff(exponent))?;
            it.digits.checked_mul(factor)
        };
        let (one, two) = (scaled(self)?, scaled(other)?);
        let digits = one.checked_add(two)?;
        let fits = |digits: i128| i64::try_from(digits).is_ok();
        let small = self.small && other.small && fits(one) && fits(two) && fits(digits);
        Some(Self { digits, exponent, format: self.format_with(other), small })
    }

    /// Returns the difference, as a sum with the negative.
    ///
    /// As in Go, the least number of 64 bits stays as it is when it is negated, as long as 64 bits suffice.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let is_least = other.small && other.digits == i128::from(i64::MIN);
        if is_least && let Some(sum) = self.checked_add(other).filter(|sum| sum.small) {
            return Some(sum);
        }
        let digits = other.digits.checked_neg()?;
        self.checked_add(Self { digits, small: other.small && !is_least, ..other })
    }

    fn format_with(self, other: Self) -> Format {
        if self.is_zero() { other.format } else { self.format }
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

    /// Returns the form with a binary suffix, which only an integer has, and only from 1024 on.
    fn binary_text(self) -> Option<String> {
        let (digits, exponent) = self.normalized();
        let power = 10_i128.checked_pow(u32::try_from(exponent).ok()?)?;
        let mut whole = digits.checked_mul(power).filter(|whole| whole.unsigned_abs() >= 1024)?;
        let mut power = 0;
        while whole % 1024 == 0 {
            whole /= 1024;
            power += 1;
        }
        let suffix: Option<&&str> = usize::checked_sub(power, 1).and_then(|power| BINARY.get(power));
        Some(format!("{whole}{}", suffix.copied().unwrap_or_default()))
    }

    /// Parses a text, and returns whether apimachinery keeps it as it is: `ParseQuantity`.
    fn read(text: &str) -> Result<(Self, bool), ParseQuantityError> {
        use ParseQuantityError::{Malformed, Number, OutOfRange, Suffix};
        if text.is_empty() {
            return Err(Malformed);
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let without_zeros = unsigned.trim_start_matches('0');
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = without_zeros.split_at(digits(without_zeros));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        let has_form = {
            let rest = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
            let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            rest.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !has_form {
            return Err(Malformed);
        }
        let (format, scale, factor) = suffix_of(suffix).ok_or(Suffix)?;
        let sign = if text.starts_with('-') { -1 } else { 1 };
        // The exponent after so many places.
        let after = |places: usize| {
            let exponent = scale.checked_sub(i32::try_from(places).ok()?);
            exponent.filter(|it| *it <= COARSEST)
        };

        // Few digits: an integer of 64 bits.
        let shifted = format!("{}{fraction}", if whole.is_empty() { "0" } else { whole });
        let (least, is_short) = match format {
            Format::Binary => (0, shifted.len() + factor.ilog2() as usize * 3 / 10 < 15),
            Format::Decimal | Format::Exponent => (FINEST, shifted.len() <= 18),
        };
        let is_zero = || shifted.bytes().all(|digit| digit == b'0');
        let exponent = after(fraction.len()).or_else(|| is_zero().then_some(0));
        let exponent = exponent.filter(|it| is_short && *it >= least);
        if let Some(exponent) = exponent
            && let Ok(value) = shifted.parse::<i64>().map(i128::from)
            && let Ok(scaled) = i64::try_from(value * factor)
        {
            let is_kept = match format {
                Format::Binary => value & 7 != 0,
                _ => exponent % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
            };
            return Ok((Self { digits: sign * i128::from(scaled), exponent, format, small: true }, is_kept));
        }

        if unsigned.len() == rest.len() && fraction.is_empty() {
            return Err(Number);
        }
        // Digits that count only because there are any: amounts are rounded up.
        let fraction = fraction.trim_end_matches('0');
        let counted = i64::from(scale) - i64::from(FINEST) + i64::from(factor.ilog10()) + 1;
        let counted = usize::try_from(counted).unwrap_or(0).min(fraction.len());
        let (fraction, rest) = fraction.split_at(counted);
        let rest = if rest.is_empty() { "" } else { "1" };
        let exponent = after(fraction.len() + rest.len()).ok_or(OutOfRange)?;
        let digits = format!("0{whole}{fraction}{rest}").parse::<i128>().ok();
        // More than the limit below, by the first digits alone.
        let is_over = || {
            let first = whole.get(..19).unwrap_or(whole).parse::<i128>();
            first.is_ok_and(|first| first * factor > i128::from(i64::MAX))
        };
        let (digits, exponent) = match digits.and_then(|digits| digits.checked_mul(factor)) {
            Some(digits) => (digits, exponent),
            None if format == Format::Binary && is_over() => (i128::from(u64::MAX), 0),
            None => return Err(OutOfRange),
        };
        let mut quantity = Self { digits, exponent, format, small: false }.in_nanos();
        if format == Format::Binary {
            let integer = |digits: i64| Self { digits: digits.into(), exponent: 0, ..quantity };
            if quantity > integer(i64::MAX) {
                quantity = integer(i64::MAX);
            } else if !quantity.is_zero() && quantity < integer(1) {
                quantity.format = Format::Decimal;
            }
        }
        Ok((Self { digits: sign * quantity.digits, ..quantity }, false))
    }

    /// Returns the same value in units of nano, rounded up, if that many fit.
    fn in_nanos(self) -> Self {
        if self.exponent < FINEST {
            return self.rounded_up(FINEST);
        }
        let factor = 10_i128.checked_pow(self.exponent.abs_diff(FINEST));
        let digits = factor.and_then(|factor| self.digits.checked_mul(factor));
        digits.map_or(self, |digits| Self { digits, exponent: FINEST, ..self })
    }

    /// Parses an amount that is compared with a limit: one that is out of range, which kube-apiserver accepts, is more than any
    /// limit. `None` if it is none.
    pub fn parse_or_huge(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(quantity) => Some(quantity),
            Err(ParseQuantityError::OutOfRange) if text.starts_with('-') => Some(Self::from(i64::MIN)),
            Err(ParseQuantityError::OutOfRange) => Some(Self::from(i64::MAX)),
            Err(_) => None,
        }
    }
}

impl From<i64> for Quantity {
    fn from(value: i64) -> Self {
        Self { digits: value.into(), exponent: 0, format: Format::Decimal, small: true }
    }
}

/// A sum has the suffixes of its first term, unless that is zero. One with more digits than a quantity can hold is rounded to
/// its greater term.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or_else(|| Self { format: self.format_with(other), ..self.max(other) })
    }
}

/// As a sum with the negative.
impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.checked_sub(other)
            .unwrap_or_else(|| self + Self { digits: other.digits.saturating_neg(), small: false, ..other })
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        Self::read(text).map(|(quantity, _)| quantity)
    }
}

/// As in Go, an exponent beyond those of the suffixes is left out in an amount that was not written with one: 1000E is `1`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.format == Format::Binary
            && let Some(text) = self.binary_text()
        {
            return f.write_str(&text);
        }
        if self.digits == 0 {
            return f.write_str("0");
        }
        let (digits, exponent) = self.normalized();
        let zeros = exponent.rem_euclid(3);
        let exponent = exponent - zeros;
        write!(f, "{digits}{}", "0".repeat(usize::try_from(zeros).unwrap_or(0)))?;
        match self.format {
            Format::Exponent if exponent != 0 => write!(f, "e{exponent}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, scale)| *scale == exponent);
                f.write_str(suffix.map_or("", |(suffix, _)| suffix))
            }
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
    let exponent = exponent.parse::<i64>().ok()?;
    // A number of so many zeros is out of range; one of so many places is a nano.
    let exponent = i32::try_from(exponent).unwrap_or(if exponent < 0 { i32::MIN / 2 } else { i32::MAX });
    Some((Format::Exponent, exponent, 1))
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

    /// Each as Go's `ParseQuantity(text).String()` prints it.
    #[test]
    fn stored_forms_are_apimachinerys() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("0Ki", "0"),
            ("0e5", "0"),
            ("-", "0"),
            (".", "0"),
            ("m", "0"),
            ("e1", "0"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1.50", "1500m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("512", "512"),
            ("-1.5", "-1500m"),
            ("1.5G", "1500M"),
            ("1500M", "1500M"),
            ("100E", "100E"),
            // Binary suffixes, which a fraction does not have.
            ("1Ki", "1Ki"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1.5Ei", "1536Pi"),
            ("1000Ki", "1000Ki"),
            ("2048Ki", "2Mi"),
            ("0.5Ki", "512"),
            ("0.0001Ki", "102400u"),
            ("9.765Ki", "9999360m"),
            ("-7.1Ki", "-7270400m"),
            ("9.765625Ki", "10000"),
            ("9Ei", "9223372036854775807"),
            ("-9Ei", "-9223372036854775807"),
            // Exponents.
            ("1e3", "1e3"),
            ("1e+2", "100"),
            ("1e20", "100e18"),
            ("2e-7", "200e-9"),
            ("1e-30", "1e-9"),
            // The finest is nano.
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1.0000000001", "1000000001n"),
            ("123456789012345678901", "123456789012345678901"),
            ("99999999999999999999k", "99999999999999999999k"),
            ("1000E", "1"),
            ("0e20000", "0"),
            ("99999999999999999999999999999Ei", "9223372036854775807"),
            ("1.00000000000000000000000000000000000000000000000000", "1"),
            ("0.33333333333333333333333333333333333333333333333333", "333333334n"),
            ("-0.00000000000000000000000000000000000000000000000001", "-1n"),
            ("0.00000000000000000000000000000000000000000000000001Ei", "1n"),
            // Kept as they are.
            ("+5", "+5"),
            ("01", "01"),
            ("8.", "8."),
            ("2.M", "2.M"),
            ("1.500", "1.500"),
            ("01Ki", "01Ki"),
            ("+9Gi", "+9Gi"),
            ("1e0", "1e0"),
            ("12E6", "12E6"),
        ] {
            assert_eq!(Quantity::canonicalize(text).as_deref(), Ok(expected), "{text}");
        }
        let long = "9".repeat(60);
        assert_eq!(Quantity::canonicalize(&long), Ok(long.clone()));
        assert_eq!(long.parse::<Quantity>(), Err(ParseQuantityError::OutOfRange));
        assert_eq!("1e10001".parse::<Quantity>(), Err(ParseQuantityError::OutOfRange));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_apimachinerys_words() {
        use ParseQuantityError::{Malformed, Number, Suffix};
        for (text, expected) in [
            ("", Malformed),
            ("1.2.3", Malformed),
            ("1 Gi", Malformed),
            ("1gi", Malformed),
            ("--1", Suffix),
            ("0x10", Malformed),
            ("1Ki3i", Malformed),
            ("1Kii", Suffix),
            ("1xx", Malformed),
            ("1e", Suffix),
            ("1ee3", Suffix),
            ("1K", Suffix),
            ("Ei", Number),
            (".e-10", Number),
        ] {
            assert_eq!(Quantity::canonicalize(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn an_amount_is_an_integer_only_if_go_keeps_it_as_one() {
        let integer = |text: &str| text.parse::<Quantity>().unwrap().to_i64();
        assert_eq!(integer("50k"), Some(50_000));
        assert_eq!(integer("1Ki"), Some(1_024));
        assert_eq!(integer("1000m"), None);
        assert_eq!(integer("1.5Ki"), None);
        assert_eq!(integer("-3"), Some(-3));
        assert_eq!(integer("99999999999999999999"), None);
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
        assert_eq!((Quantity::from(0) + parse("1.5Ki").rounded_up(0)).to_string(), "1536");
        assert_eq!(parse("1.2").rounded_up(0), Quantity::from(2));
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
        fn the_stored_and_the_canonical_form_have_the_same_value(text in "[+-]?[0-9]{1,9}(\\.[0-9]{0,9})?(n|u|m|k|M|G|Ki|Mi|Gi|e[0-9])?") {
            let quantity: Quantity = text.parse().unwrap();
            let stored = Quantity::canonicalize(&text).unwrap();
            prop_assert_eq!(stored.parse::<Quantity>().unwrap(), quantity);
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        }
    }
}
