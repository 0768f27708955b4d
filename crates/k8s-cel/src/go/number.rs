//! Numbers and booleans: Go's `strconv`.

use super::quote::quote;

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
    let decimals = precision.map(|precision| precision.min(MOST_DECIMALS));
    let (mut text, exponent) = match (format, decimals) {
        (FloatFormat::Fixed, None) => (format!("{value}"), String::new()),
        (FloatFormat::Fixed, Some(decimals)) => (format!("{value:.decimals$}"), String::new()),
        (FloatFormat::Exponent, None) => split_exponent(&format!("{value:e}")),
        (FloatFormat::Exponent, Some(decimals)) => split_exponent(&format!("{value:.decimals$e}")),
    };
    let zeros = precision.unwrap_or(0).saturating_sub(MOST_DECIMALS);
    text.extend(std::iter::repeat_n('0', zeros));
    text + &exponent
}

/// `%g` and `%v`: the shortest text that reads back as the same number, with an exponent below 1e-4 and from 1e6.
pub(crate) fn format_general(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return format!("{value}");
    }
    format_float(value, FloatFormat::Exponent, None)
}

fn not_finite(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        return Some("NaN");
    }
    value.is_infinite().then_some(if value > 0.0 { "+Inf" } else { "-Inf" })
}

/// Splits a number with an exponent as Rust writes it, `1.5e-7`, and gives the exponent the form of Go: `e-07`.
fn split_exponent(text: &str) -> (String, String) {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent = match exponent.strip_prefix('-') {
        Some(exponent) => format!("e-{exponent:0>2}"),
        None => format!("e+{exponent:0>2}"),
    };
    (digits.to_owned(), exponent)
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
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let reason = if is_number { "value out of range" } else { "invalid syntax" };
        format!("strconv.Atoi: parsing {}: {reason}", quote(text))
    })
}

/// `strconv.ParseFloat(text, 64)`. `None` also for numbers out of range.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', rest @ ..] => parse_hex_float(rest)?,
        [b'0'..=b'9' | b'.', ..] => unsigned.parse().ok()?,
        [b'n' | b'N', ..] => return text.eq_ignore_ascii_case("nan").then_some(f64::NAN),
        _ if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") => {
            return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ => return None,
    };
    magnitude.is_finite().then_some(if negative { -magnitude } else { magnitude })
}

/// Parses a hexadecimal float after its `0x`: digits with an optional point, and an exponent of two. Underscores may stand
/// between digits and after the prefix.
fn parse_hex_float(text: &[u8]) -> Option<f64> {
    let (mut mantissa, mut exponent, mut lost) = (0_u64, 0_i64, false);
    let (mut has_point, mut has_digits) = (false, false);
    let mut bytes = text.iter();
    let mut last = b'0';
    loop {
        let byte = *bytes.next()?;
        match byte {
            b'_' if !last.is_ascii_hexdigit() => return None,
            b'_' => {}
            _ if last == b'_' && !byte.is_ascii_hexdigit() => return None,
            b'.' if has_point => return None,
            b'.' => has_point = true,
            b'p' | b'P' => break,
            _ => {
                let digit = char::from(byte).to_digit(16)?;
                has_digits = true;
                // Four bits are kept free for rounding.
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if has_point { 4 } else { 0 };
                } else {
                    lost |= digit != 0;
                    exponent += if has_point { 0 } else { 4 };
                }
            }
        }
        last = byte;
    }
    let power = parse_power(bytes.as_slice())?;
    has_digits.then(|| scale(mantissa | u64::from(lost), exponent + power))
}

/// Parses the exponent of a hexadecimal float, up to a bound beyond which every float is zero or infinite.
fn parse_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.first()?.is_ascii_digit() || digits.last() == Some(&b'_') {
        return None;
    }
    if digits.windows(2).any(|pair| pair == b"__") {
        return None;
    }
    let mut power = 0_i64;
    for &byte in digits {
        match byte {
            b'_' => {}
            b'0'..=b'9' if power < 10_000 => power = power * 10 + i64::from(byte - b'0'),
            b'0'..=b'9' => {}
            _ => return None,
        }
    }
    Some(if negative { -power } else { power })
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
            ("1_000", None),
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
