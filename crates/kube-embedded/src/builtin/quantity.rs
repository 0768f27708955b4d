//! apimachinery's `resource.Quantity`: fixed-point numbers with a suffix, and their one canonical form.

use std::cmp::Ordering;

/// A quantity: `digits * 10^exponent`, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    digits: i128,
    exponent: i32,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// No more is kept of a number than nano.
const FINEST: i32 = -9;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A text in its canonical form, or Go's words for what is wrong with it.
pub(crate) fn canonical(text: &str) -> Result<String, String> {
    match Quantity::parse(text)? {
        Some(quantity) => Ok(quantity.to_text()),
        // Beyond what anybody asks for; it stays as it is.
        None => Ok(text.to_owned()),
    }
}

impl Quantity {
    /// None: a number of more digits than are kept here.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let malformed = || MALFORMED.to_owned();
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(malformed());
        }
        let (format, scale, factor) = suffix_of(suffix).ok_or_else(malformed)?;
        // Digits of a fraction that say nothing would only make it long.
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse::<i128>();
        let Some(digits) = digits.ok().and_then(|digits| digits.checked_mul(factor)) else { return Ok(None) };
        let Ok(places) = i32::try_from(fraction.len()) else { return Ok(None) };
        let Some(exponent) = scale.checked_sub(places).filter(|it| (-60..=36).contains(it)) else {
            return Ok(None);
        };
        let mut quantity = Self { digits, exponent, format };
        if exponent < FINEST {
            // Rounded away from zero.
            quantity.digits =
                divide_up(quantity.digits, 10_i128.checked_pow((FINEST - exponent).unsigned_abs()));
            quantity.exponent = FINEST;
        }
        if negative {
            quantity.digits = -quantity.digits;
        }
        Ok(Some(quantity))
    }

    /// In nano, for comparisons; none if that is too large a number.
    fn nanos(self) -> Option<i128> {
        self.digits.checked_mul(10_i128.checked_pow((self.exponent - FINEST).unsigned_abs())?)
    }

    pub(crate) fn is_negative(self) -> bool {
        self.digits < 0
    }

    pub(crate) fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// Whether it is a whole number.
    pub(crate) fn is_whole(self) -> bool {
        self.nanos().is_none_or(|nanos| nanos % 1_000_000_000 == 0)
    }

    pub(crate) fn compare(self, other: Self) -> Ordering {
        match (self.nanos(), other.nanos()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }

    fn to_text(self) -> String {
        if self.digits == 0 {
            return "0".to_owned();
        }
        let limit = 1024 * 1_000_000_000;
        let is_small = self.nanos().is_some_and(|nanos| nanos.abs() < limit);
        if self.format == Format::Binary
            && !is_small
            && let Some(text) = self.binary_text()
        {
            return text;
        }
        let (mut digits, mut exponent) = (self.digits, self.exponent);
        while digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            digits *= 10;
            exponent -= 1;
        }
        let suffix = DECIMAL.iter().find(|(_, scale)| *scale == exponent).map(|(suffix, _)| *suffix);
        match (self.format, suffix) {
            (Format::Exponent, _) | (_, None) if exponent != 0 => format!("{digits}e{exponent}"),
            (_, suffix) => format!("{digits}{}", suffix.unwrap_or_default()),
        }
    }

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
}

/// The format that a suffix tells, a power of ten and a factor.
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

/// Divides, and rounds away from zero.
fn divide_up(digits: i128, divisor: Option<i128>) -> i128 {
    let Some(divisor) = divisor else { return digits.signum() };
    let (quotient, rest) = (digits / divisor, digits % divisor);
    if rest == 0 { quotient } else { quotient + digits.signum() }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
            assert_eq!(canonical(expected).as_deref(), Ok(expected), "{expected}");
        }
        for bad in ["", "m", ".", "1xx", "1.2.3", "1 Gi", "e3", "1e", "1gi", "--1"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn compares() {
        let parse = |text| Quantity::parse(text).unwrap().unwrap();
        assert_eq!(parse("1Gi").compare(parse("1G")), Ordering::Greater);
        assert_eq!(parse("0.5").compare(parse("500m")), Ordering::Equal);
        assert!(parse("-1").is_negative() && parse("1k").is_whole() && !parse("1m").is_whole());
    }
}
