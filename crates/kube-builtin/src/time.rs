//! apimachinery's `Time` and `MicroTime` in JSON, with Go's messages for malformed texts.

use jiff::civil::Date;
use jiff::{Timestamp, Unit};

/// 400 years in seconds.
const CYCLE: i64 = 146_097 * 86_400;

const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
const MICROS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Converts a `Time` to its canonical form: in UTC and whole seconds.
pub(crate) fn seconds(text: &str) -> Result<String, String> {
    canonical(text, SECONDS, 0)
}

/// Converts a `MicroTime` to its canonical form: in UTC, with six fractional digits.
pub(crate) fn micros(text: &str) -> Result<String, String> {
    canonical(text, MICROS, 6)
}

/// Formats a time as Go does, also before the year 0 and after 9999, which jiff cannot represent.
pub(crate) fn format(seconds: i64, micros: i64, digits: usize) -> String {
    // The calendar repeats every 400 years.
    let within =
        Timestamp::from_second(seconds.rem_euclid(CYCLE)).unwrap_or_default().strftime("%Y%m%dT%H%M%S");
    let within = within.to_string();
    let year = within[..4].parse().unwrap_or(1970) + 400 * seconds.div_euclid(CYCLE);
    let sign = if year < 0 { "-" } else { "" };
    let fraction = if digits == 0 { String::new() } else { format!(".{micros:06}") };
    format!(
        "{sign}{:04}-{}-{}T{}:{}:{}{fraction}Z",
        year.unsigned_abs(),
        &within[4..6],
        &within[6..8],
        &within[9..11],
        &within[11..13],
        &within[13..15]
    )
}

fn canonical(text: &str, layout: &str, digits: usize) -> Result<String, String> {
    let wrong = |why: String| format!("parsing time {text:?}{why}");
    let zone = check(text, layout == MICROS)
        .map_err(|(rest, element)| wrong(format!(" as {layout:?}: cannot parse {rest:?} as {element:?}")))?;
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let [year, month, day, hour, minute, second] =
        [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].map(|range| number(text.get(range)));
    let (ahead, behind) = (number(zone.get(1..3)), number(zone.get(4..6)));
    let days = days(year, month, day);
    let what = match () {
        () if !(1..=12).contains(&month) => "month",
        () if hour > 23 => "hour",
        () if minute > 59 => "minute",
        () if second > 59 => "second",
        () if ahead > 24 => "time zone offset hour",
        () if behind > 60 => "time zone offset minute",
        () if days.is_none() => "day",
        () => "",
    };
    let Some(days) = days.filter(|_| what.is_empty()) else {
        return Err(wrong(format!(": {what} out of range")));
    };
    let offset = (ahead * 60 + behind) * if zone.starts_with('-') { -60 } else { 60 };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Ok(format(seconds, if digits == 0 { 0 } else { number(text.get(20..26)) }, digits))
}

/// Returns the days since 1970, or `None` if there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let within = i16::try_from(1970 + (year - 1970).rem_euclid(400)).ok()?;
    let date = Date::new(within, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let since = date.since((Unit::Day, Date::constant(1970, 1, 1))).ok()?;
    Some(i64::from(since.get_days()) + (year - 1970).div_euclid(400) * CYCLE / 86_400)
}

/// Checks a text against the layout, and returns its time zone. The error has the rest of the text, and the element expected there.
fn check(text: &str, micros: bool) -> Result<&str, (&str, &'static str)> {
    let mut rest = text;
    for element in ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"] {
        let head = rest.get(..element.len()).unwrap_or_default();
        let digits = element.len() > 1;
        let fits = if digits {
            head.len() == element.len() && head.bytes().all(|it| it.is_ascii_digit())
        } else {
            head == element
        };
        if !fits {
            return Err((rest, element));
        }
        rest = rest.get(element.len()..).unwrap_or_default();
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 || micros && count != 6 {
            return Err((rest, if micros { ".000000" } else { "Z07:00" }));
        }
        rest = fraction.get(count..).unwrap_or_default();
    } else if micros {
        return Err((rest, ".000000"));
    }
    if rest == "Z" {
        return Ok(rest);
    }
    let offset = rest.strip_prefix(['+', '-']).unwrap_or_default();
    let fits = offset.len() == 5
        && digits(offset) == 2
        && offset.get(2..).is_some_and(|it| it.starts_with(':') && digits(&it[1..]) == 2);
    if fits { Ok(rest) } else { Err((rest, "Z07:00")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        assert_eq!(seconds("2026-01-01T00:00:00.999Z").as_deref(), Ok("2026-01-01T00:00:00Z"));
        assert_eq!(seconds("2026-01-01T02:00:00.5+02:00").as_deref(), Ok("2026-01-01T00:00:00Z"));
        assert_eq!(micros("2026-01-01T00:00:00.000001Z").as_deref(), Ok("2026-01-01T00:00:00.000001Z"));
    }

    #[test]
    fn times_that_jiff_cannot_hold_are_kept() {
        for (text, want) in [
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59-08:00", "10000-01-01T07:59:59Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("0000-01-01T00:00:00+05:00", "-0001-12-31T19:00:00Z"),
            ("2024-01-01T00:00:00+24:59", "2023-12-30T23:01:00Z"),
            ("2024-01-01T00:00:00+05:60", "2023-12-31T18:00:00Z"),
            ("2000-02-29T12:00:00Z", "2000-02-29T12:00:00Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(seconds(text).as_deref(), Ok(want), "{text}");
        }
        assert_eq!(micros("9999-12-31T23:59:59.999999-08:00").as_deref(), Ok("10000-01-01T07:59:59.999999Z"));
    }

    #[test]
    fn errors_have_the_messages_of_go() {
        let at = |layout: &str, text: &str, rest: &str, element: &str| {
            Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"))
        };
        assert_eq!(seconds("abc"), at(SECONDS, "abc", "abc", "2006"));
        assert_eq!(seconds("2026-01-01"), at(SECONDS, "2026-01-01", "", "T"));
        assert_eq!(micros("2026-01-01T00:00:00Z"), at(MICROS, "2026-01-01T00:00:00Z", "Z", ".000000"));
        let late = "2026-13-01T00:00:00Z";
        assert_eq!(seconds(late), Err(format!("parsing time {late:?}: month out of range")));
        for (text, what) in [
            ("2025-02-30T00:00:00Z", "day"),
            ("2025-01-01T23:59:60Z", "second"),
            ("2024-01-01T00:00:00+25:00", "time zone offset hour"),
            ("2024-01-01T00:00:00-01:61", "time zone offset minute"),
        ] {
            assert_eq!(seconds(text), Err(format!("parsing time {text:?}: {what} out of range")));
        }
    }
}
