//! Ages of objects and timestamps.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

/// Formats a duration in seconds as kubectl prints ages, in one or two units: `5d3h`, `12m`.
///
/// The rule is `HumanDuration` of `k8s.io/apimachinery/pkg/util/duration`.
pub fn human_duration(seconds: i64) -> String {
    // Go's durations end after 292 years.
    let seconds = seconds.clamp(-9_223_372_036, 9_223_372_036);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => pair(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// Formats the age of a timestamp; `<unknown>` without one. `None` if it is malformed.
pub(super) fn since(time: Option<&str>, now: Timestamp) -> Option<String> {
    match time {
        None | Some("") => Some("<unknown>".to_owned()),
        Some(time) => Some(human_duration(now.as_second() - second(time)?)),
    }
}

/// Returns the second of a time, or the last one of a time that jiff cannot hold, such as the end of the year 9999.
pub(super) fn second(time: &str) -> Option<i64> {
    if let Ok(time) = time.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let year = time.split('-').next().filter(|year| year.len() >= 4)?.parse::<u32>().ok()?;
    let is_time = year > 9999 || Pieces::parse(time).is_ok_and(|pieces| pieces.offset().is_some());
    (year >= 9999 && is_time).then(|| Timestamp::MAX.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_jiff_cannot_hold_have_an_age() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        for (time, age) in [
            ("9999-12-31T23:59:59Z", Some("<invalid>")),
            ("9999-12-31T23:59:59.999999-08:00", Some("<invalid>")),
            ("10000-01-01T07:59:59Z", Some("<invalid>")),
            ("0000-01-01T00:00:00Z", Some("292y")),
            ("9999-13-31T23:59:59Z", None),
            ("9999-12-31", None),
            ("soon", None),
        ] {
            assert_eq!(since(Some(time), now).as_deref(), age, "{time}");
        }
    }
}
