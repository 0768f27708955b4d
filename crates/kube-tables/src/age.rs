//! Ages of objects and timestamps.

use jiff::Timestamp;

/// Formats a duration in seconds as kubectl prints ages, in one or two units: `5d3h`, `12m`.
///
/// The rule is `HumanDuration` of `k8s.io/apimachinery/pkg/util/duration`.
pub fn human_duration(seconds: i64) -> String {
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
        Some(time) => Some(human_duration(now.as_second() - time.parse::<Timestamp>().ok()?.as_second())),
    }
}
