//! Numbers and booleans: Go's `strconv`.

use std::borrow::Cow;

use kube_validation::go::quote;

/// A verb of `strconv.FormatFloat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatFormat {
    /// `'f'`: never an exponent.
    Fixed,
    /// `'e'`: always an exponent, of at least two digits.
    Exponent,
}

/// `strconv.FormatFloat(value, 'f' | 'e', precision, 64)`; without a precision, the shortest text that reads back as the
/// same number.
pub(crate) fn format_float(value: f64, format: FloatFormat, precision: Option<usize>) -> String {
    /// A float has no more decimals than this; the rest are zeros, and `format!` takes no more than 65,535.
    const MOST_DECIMALS: usize = 1_100;
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let Some(precision) = precision else {
        return Decimal::shortest(value).format(format);
    };
    let decimals = precision.min(MOST_DECIMALS);
    let zeros = "0".repeat(precision - decimals);
    match format {
        FloatFormat::Fixed => format!("{value:.decimals$}{zeros}"),
        FloatFormat::Exponent => {
            let text = format!("{value:.decimals$e}");
            let (digits, power) = split_exponent(&text);
            format!("{digits}{zeros}e{}", exponent(power))
        }
    }
}

/// `%g` and `%v`: the shortest text that reads back as the same number, with an exponent below 1e-4 and from 1e6.
pub(crate) fn format_general(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let decimal = Decimal::shortest(value);
    let is_short = (-4..6).contains(&decimal.power);
    decimal.format(if is_short { FloatFormat::Fixed } else { FloatFormat::Exponent })
}

/// A decimal number: a digit, a point and digits, times a power of ten.
struct Decimal {
    is_negative: bool,
    /// At least one.
    digits: String,
    power: i32,
}

impl Decimal {
    /// The shortest number that is nearest to a float. Of two that are equally near it is the even one, as in Go; Rust takes
    /// the larger.
    fn shortest(value: f64) -> Self {
        /// With fewer digits there are no two.
        const AMBIGUOUS: usize = 15;
        let mut text = format!("{value:e}");
        let decimals = split_exponent(&text).0.bytes().filter(u8::is_ascii_digit).count() - 1;
        if decimals >= AMBIGUOUS {
            let even = format!("{value:.decimals$e}");
            if even.parse() == Ok(value) {
                text = even;
            }
        }
        let (mantissa, power) = split_exponent(&text);
        let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
        Self { is_negative: mantissa.starts_with('-'), digits, power }
    }

    fn format(&self, format: FloatFormat) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
        let whole = match format {
            FloatFormat::Exponent => 1,
            FloatFormat::Fixed => usize::try_from(self.power + 1).unwrap_or(0),
        };
        let (whole, fraction) = self.digits.split_at_checked(whole).unwrap_or((&self.digits, ""));
        let point = if fraction.is_empty() { "" } else { "." };
        match format {
            FloatFormat::Exponent => format!("{sign}{whole}{point}{fraction}e{}", exponent(self.power)),
            FloatFormat::Fixed if whole.is_empty() => {
                format!("{sign}0.{}{fraction}", zeros(-self.power - 1))
            }
            FloatFormat::Fixed => {
                let missing = self.power + 1 - i32::try_from(whole.len()).unwrap_or(0);
                format!("{sign}{whole}{}{point}{fraction}", zeros(missing))
            }
        }
    }
}

fn not_finite(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        return Some("NaN");
    }
    value.is_infinite().then_some(if value > 0.0 { "+Inf" } else { "-Inf" })
}

/// Splits a number with an exponent as Rust writes it: `1.5e-7`.
fn split_exponent(text: &str) -> (&str, i32) {
    let (digits, power) = text.split_once('e').unwrap_or((text, "0"));
    (digits, power.parse().unwrap_or(0))
}

/// An exponent as Go writes it, with a sign and at least two digits.
fn exponent(power: i32) -> String {
    let sign = if power < 0 { '-' } else { '+' };
    format!("{sign}{:02}", power.abs())
}

/// `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `strconv.ParseInt(text, 10, 64)`.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// `strconv.ParseUint(text, 10, 64)`: without a sign.
pub(crate) fn parse_uint(text: &str) -> Option<u64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// `strconv.Atoi`.
///
/// # Errors
/// Fails with Go's text.
pub(super) fn atoi(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        // Go looks no further where 64 bits overflow.
        let is_syntax = match digits.find(|c: char| !c.is_ascii_digit()) {
            Some(end) => end == 0 || digits[..end].parse::<u64>().is_ok(),
            None => digits.is_empty(),
        };
        let reason = if is_syntax { "invalid syntax" } else { "value out of range" };
        format!("strconv.Atoi: parsing {}: {reason}", quote(text))
    })
}

/// `strconv.ParseFloat(text, 64)`. `None` also for numbers out of range.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let unsigned = without_underscores(unsigned)?;
    let magnitude = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', rest @ ..] => parse_hex_float(rest)?,
        [b'0'..=b'9' | b'.', ..] => unsigned.parse().ok()?,
        [b'n' | b'N', ..] => return text.eq_ignore_ascii_case("nan").then_some(f64::NAN),
        _ if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") => {
            return Some(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ => return None,
    };
    magnitude.is_finite().then_some(if is_negative { -magnitude } else { magnitude })
}

/// Removes underscores, which may only stand between digits and after the prefix of hexadecimal numbers.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let is_digit = |byte: u8| if is_hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let mut last = b'_';
    for (index, byte) in text.bytes().enumerate() {
        let may_follow = is_digit(last) || (is_hex && index == 2);
        if (byte == b'_' && !may_follow) || (last == b'_' && index > 0 && !is_digit(byte)) {
            return None;
        }
        last = byte;
    }
    (last != b'_').then(|| Cow::Owned(text.replace('_', "")))
}

/// Parses a hexadecimal float after its `0x`: digits with an optional point, and an exponent of two.
fn parse_hex_float(text: &[u8]) -> Option<f64> {
    let (mut mantissa, mut power, mut lost) = (0_u64, 0_i64, false);
    let (mut has_point, mut has_digits) = (false, false);
    let mut bytes = text.iter();
    loop {
        match *bytes.next()? {
            b'.' if has_point => return None,
            b'.' => has_point = true,
            b'p' | b'P' => break,
            byte => {
                let digit = char::from(byte).to_digit(16)?;
                has_digits = true;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    power -= if has_point { 4 } else { 0 };
                } else {
                    lost |= digit != 0;
                    power += if has_point { 0 } else { 4 };
                }
            }
        }
    }
    let (is_negative, digits) = match bytes.as_slice() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !has_digits || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // As in Go, a larger exponent is cut off, and with it no float is finite.
    let exponent = digits.iter().fold(
        0,
        |sum: i64, digit| {
            if sum < 10_000 { sum * 10 + i64::from(digit - b'0') } else { sum }
        },
    );
    let power = if is_negative { power - exponent } else { power + exponent };
    Some(scale(mantissa | u64::from(lost), power))
}

/// A mantissa times a power of two, rounded once, to even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = i64::from(u64::BITS - mantissa.leading_zeros());
    // The last bit of the result counts 2^last: 53 bits, or fewer where the smallest float ends.
    let last = (exponent + bits - 53).max(-1_074);
    let shift = last - exponent;
    let rounded = match u32::try_from(shift) {
        Err(_) => mantissa << shift.unsigned_abs().min(63),
        Ok(0) => mantissa,
        Ok(shift @ 1..=64) => {
            let (kept, rest) = (mantissa.checked_shr(shift).unwrap_or(0), mantissa << (64 - shift));
            let half = 1 << 63;
            kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
        }
        Ok(_) => 0,
    };
    // Both factors are exact, and so is their product unless it is infinite.
    let power =
        |exponent: i64| i32::try_from(exponent).map_or(f64::INFINITY, |exponent| 2_f64.powi(exponent));
    #[allow(clippy::cast_precision_loss)]
    let rounded = rounded as f64;
    if last < -1_000 { rounded * power(-1_000) * power(last + 1_000) } else { rounded * power(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_the_shortest_text() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (123_456_789.0, "1.23456789e+08"),
            (999_999.5, "999999.5"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (1_183_705_429_846_544.2, "1.1837054298465442e+15"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(format_general(value), text);
        }
    }

    #[test]
    fn floats_have_as_many_decimals_as_asked() {
        use FloatFormat::{Exponent, Fixed};
        for (value, format, precision, text) in [
            (1e21, Fixed, None, "1000000000000000000000"),
            (1.5e-7, Fixed, None, "0.00000015"),
            (1.5e-7, Exponent, None, "1.5e-07"),
            (2.5, Fixed, Some(0), "2"),
            (3.5, Fixed, Some(0), "4"),
            (0.125, Fixed, Some(2), "0.12"),
            (1.0, Fixed, Some(6), "1.000000"),
            (1234.5678, Exponent, Some(6), "1.234568e+03"),
            (0.0, Exponent, Some(2), "0.00e+00"),
            (f64::INFINITY, Fixed, Some(2), "+Inf"),
        ] {
            assert_eq!(format_float(value, format, precision), text);
        }
        assert_eq!(format_float(0.5, Fixed, Some(70_000)).len(), 70_002);
    }

    #[test]
    fn floats_are_read_as_by_go() {
        let table = [
            ("1", Some(1.0)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e400", None),
            ("1e-400", Some(0.0)),
            ("1_000", Some(1000.0)),
            ("1__0", None),
            ("1_.5", None),
            ("_1", None),
            ("0x1p-2", Some(0.25)),
            ("0x_1.8p1", Some(3.0)),
            ("0X1_0P+0_1", Some(32.0)),
            ("0x1", None),
            ("0x1.8", None),
            ("0xp1", None),
            ("0x1p1024", None),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.8p-1075", Some(5e-324)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("infi", None),
            ("+nan", None),
            ("", None),
            ("+", None),
            (".", None),
            ("1e", None),
            (" 1", None),
        ];
        for (text, value) in table {
            assert_eq!(parse_float(text), value, "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn integers_are_read_as_by_go() {
        assert_eq!((parse_int("+5"), parse_int("-0"), parse_int("")), (Some(5), Some(0), None));
        assert_eq!((parse_int("9223372036854775808"), parse_int("1_0")), (None, None));
        assert_eq!((parse_uint("18446744073709551615"), parse_uint("+1")), (Some(u64::MAX), None));
        assert_eq!((parse_uint("-0"), parse_bool("T"), parse_bool("tRUE")), (None, Some(true), None));
        let error = |text| atoi(text).unwrap_err();
        assert_eq!(error("+a"), r#"strconv.Atoi: parsing "+a": invalid syntax"#);
        assert_eq!(
            error("99999999999999999999"),
            r#"strconv.Atoi: parsing "99999999999999999999": value out of range"#
        );
    }
}
