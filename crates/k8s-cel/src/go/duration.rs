//! Durations in nanoseconds: Go's `time.Duration`.

use super::number::{FloatFormat, atoi, format_float};
use kube_validation::go::quote_bytes;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The magnitude of the smallest duration.
const LIMIT: u64 = 1 << 63;

/// `time.ParseDuration`: such as `1h30m`, `-1.5h`, `300ms`.
///
/// # Errors
/// Fails with Go's text.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let (negative, rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let total = if rest == b"0" {
        Ok(0)
    } else {
        magnitude(rest).and_then(|total| {
            if negative {
                Ok(0_i64.wrapping_sub_unsigned(total))
            } else {
                i64::try_from(total).map_err(|_| "invalid".to_owned())
            }
        })
    };
    total.map_err(|problem| format!("time: {problem} duration {}", quote_bytes(text.as_bytes())))
}

/// Sums numbers with units. The error is what the message says of the duration.
fn magnitude(mut rest: &[u8]) -> Result<u64, String> {
    let invalid = || "invalid".to_owned();
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after {
            [b'.', after @ ..] => split_digits(after),
            _ => (&[][..], after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end =
            after.iter().position(|byte| matches!(byte, b'.' | b'0'..=b'9')).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let whole = whole.iter().try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|sum| *sum <= LIMIT)
        });
        let whole = whole.ok_or_else(invalid)?;
        let scale: u64 = match unit {
            b"" => return Err("missing unit in".to_owned()),
            b"ns" => 1,
            // With the micro sign or the Greek letter mu.
            b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
            b"ms" => 1_000_000,
            b"s" => SECOND,
            b"m" => MINUTE,
            b"h" => HOUR,
            _ => return Err(format!("unknown unit {} in", quote_bytes(unit))),
        };
        let nanos = whole.checked_mul(scale).filter(|nanos| *nanos <= LIMIT).ok_or_else(invalid)?;
        let nanos = nanos + fraction_of(fraction, scale);
        // Go does not see that twice 1 << 63 is zero.
        total = total.wrapping_add(nanos);
        if nanos > LIMIT || total > LIMIT {
            return Err(invalid());
        }
        rest = after;
    }
    Ok(total)
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

/// A decimal fraction of a unit in nanoseconds, computed in floats as Go does. Digits that 63 bits cannot hold are ignored.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn fraction_of(digits: &[u8], scale: u64) -> u64 {
    let (mut value, mut divisor): (u64, f64) = (0, 1.0);
    for digit in digits {
        if value > (LIMIT - 1) / 10 {
            break;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > LIMIT {
            break;
        }
        value = next;
        divisor *= 10.0;
    }
    (value as f64 * (scale as f64 / divisor)) as u64
}

/// `time.Duration.String()`: such as `1h30m0s`, `1.5ms`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let (minutes, seconds) = (total / MINUTE, total % MINUTE);
    let text = match (total, minutes / 60, minutes % 60) {
        (0, ..) => "0s".to_owned(),
        (..1_000, ..) => format!("{total}ns"),
        (..1_000_000, ..) => format!("{}µs", decimal(total, 1_000)),
        (..SECOND, ..) => format!("{}ms", decimal(total, 1_000_000)),
        (_, 0, 0) => format!("{}s", decimal(seconds, SECOND)),
        (_, 0, minutes) => format!("{minutes}m{}s", decimal(seconds, SECOND)),
        (_, hours, minutes) => format!("{hours}h{minutes}m{}s", decimal(seconds, SECOND)),
    };
    format!("{sign}{text}")
}

/// A number divided by a power of ten, exactly.
fn decimal(value: u64, scale: u64) -> String {
    let width = scale.ilog10() as usize;
    match value % scale {
        0 => format!("{}", value / scale),
        rest => format!("{}.{}", value / scale, format!("{rest:0width$}").trim_end_matches('0')),
    }
}

/// `string(duration)`: the seconds as the shortest decimal number.
pub(crate) fn format_seconds(nanos: i64) -> String {
    format_float(seconds(nanos), FloatFormat::Fixed, None) + "s"
}

/// `time.Duration.Seconds()`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

/// `strfmt.ParseDuration`: Go's durations, and amounts with units such as `3 weeks`, between which anything may stand.
///
/// # Errors
/// Fails with Go's text.
pub(crate) fn parse_strfmt_duration(text: &str) -> Result<i64, String> {
    if let Ok(nanos) = parse_duration(text) {
        return Ok(nanos);
    }
    let mut total: Option<i64> = None;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let tail = &rest[start..];
        let (amount, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len()));
        let tail = tail.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
        let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        rest = tail;
        if unit.is_empty() {
            continue;
        }
        let amount = atoi(amount)?;
        if let Some(scale) = strfmt_unit(unit) {
            total = Some(total.unwrap_or(0).wrapping_add(amount.wrapping_mul(scale)));
        }
    }
    total.ok_or_else(|| format!("unable to parse {text} as duration"))
}

/// The nanoseconds of a unit of `strfmt`. The longest name of a unit may have any ending: `days`, `daylight`.
fn strfmt_unit(unit: &str) -> Option<i64> {
    const UNITS: [(&[&str], &str, i64); 8] = [
        (&["ns"], "nano", 1),
        (&["us", "µs"], "micro", 1_000),
        (&["ms"], "milli", 1_000_000),
        (&["s"], "sec", 1_000_000_000),
        (&["m"], "min", 60_000_000_000),
        (&["h", "hr"], "hour", 3_600_000_000_000),
        (&["d"], "day", 86_400_000_000_000),
        (&["w", "wk"], "week", 604_800_000_000_000),
    ];
    let unit = unit.to_ascii_lowercase();
    UNITS
        .iter()
        .find(|(names, longest, _)| names.contains(&unit.as_str()) || unit.starts_with(longest))
        .map(|(.., scale)| *scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_by_go() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("1h30m", 5_400_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+.5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1µs1μs1us", 3_000),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("-9223372036854775808ns", i64::MIN),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775808ns9223372036854775808ns", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            (".s", r#"time: invalid duration ".s""#),
            ("1", r#"time: missing unit in duration "1""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("1é", r#"time: unknown unit "\xc3\xa9" in duration "1\xc3\xa9""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
            ("3000000h", r#"time: invalid duration "3000000h""#),
        ] {
            assert_eq!(parse_duration(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_are_printed_as_by_go() {
        for (nanos, text, seconds) in [
            (0, "0s", "0s"),
            (1, "1ns", "0.000000001s"),
            (-1_500, "-1.5µs", "-0.0000015s"),
            (100_000_000, "100ms", "0.1s"),
            (61_000_000_000, "1m1s", "61s"),
            (3_600_000_000_000, "1h0m0s", "3600s"),
            (5_400_100_000_000, "1h30m0.1s", "5400.1s"),
            (i64::MAX, "2562047h47m16.854775807s", "9223372036.854776s"),
            (i64::MIN, "-2562047h47m16.854775808s", "-9223372036.854776s"),
        ] {
            assert_eq!((format_duration(nanos).as_str(), format_seconds(nanos).as_str()), (text, seconds));
        }
    }

    #[test]
    fn formats_take_other_units_too() {
        let day = 86_400_000_000_000;
        for (text, nanos) in [
            ("1d", day),
            ("3 weeks", 21 * day),
            ("2 Days and 1 daylight", 3 * day),
            ("1d 5 parsecs", day),
            ("x1day", day),
            ("106752d", -9_223_371_273_709_551_616),
        ] {
            assert_eq!(parse_strfmt_duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("5 parsecs", "unable to parse 5 parsecs as duration"),
            ("99999999999999999999d", r#"strconv.Atoi: parsing "99999999999999999999": value out of range"#),
        ] {
            assert_eq!(parse_strfmt_duration(text), Err(error.to_owned()), "{text}");
        }
    }
}
