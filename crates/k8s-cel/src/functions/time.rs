//! Parts of timestamps and durations: cel-go's `common/stdlib` and `common/types/timestamp.go`.

use super::{Implementation, Table, mismatch};
use crate::{
    go,
    value::{Error, Evaluated, Value},
};

macro_rules! parts {
    ($($id:literal, $zoned:literal, $part:expr;)*) => {
        &[
            $(
                ($id, (|args| part(args, $part)) as Implementation),
                ($zoned, (|args| part(args, $part)) as Implementation),
            )*
            ("duration_to_hours", |args| whole(args, 3_600_000_000_000)),
            ("duration_to_minutes", |args| whole(args, 60_000_000_000)),
            ("duration_to_seconds", |args| whole(args, 1_000_000_000)),
            ("duration_to_milliseconds", |args| whole(args, 1_000_000)),
        ]
    };
}

pub(super) const TABLE: Table = parts! {
    "timestamp_to_year", "timestamp_to_year_with_tz", |time| time.year;
    "timestamp_to_month", "timestamp_to_month_with_tz", |time| time.month - 1;
    "timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz", |time| time.day_of_year;
    "timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz", |time| time.day - 1;
    "timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz", |time| time.day;
    "timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz", |time| time.day_of_week;
    "timestamp_to_hours", "timestamp_to_hours_with_tz", |time| time.second_of_day / 3_600;
    "timestamp_to_minutes", "timestamp_to_minutes_tz", |time| time.second_of_day / 60 % 60;
    "timestamp_to_seconds", "timestamp_to_seconds_tz", |time| time.second_of_day % 60;
    "timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz", |time| time.nanos / 1_000_000;
};

/// A moment on the clocks of a zone.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    day_of_week: i64,
    second_of_day: i64,
    nanos: i64,
}

fn part<'a>(args: &[Value<'a>], part: impl Fn(&Civil) -> i64) -> Evaluated<'a> {
    let (time, offset) = match args {
        [Value::Timestamp(time)] => (time, 0),
        [Value::Timestamp(time), Value::String(zone)] => {
            (time, go::zone_offset(zone, time.seconds).map_err(Error::new)?)
        }
        _ => return mismatch(),
    };
    let local = time.seconds.saturating_add(offset);
    let days = local.div_euclid(86_400);
    let (year, month, day) = go::civil(days);
    let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let index = usize::try_from(month - 1).unwrap_or(0);
    let day_of_year = before.get(index).copied().unwrap_or(0) + day - 1 + if month > 2 { leap } else { 0 };
    Ok(Value::Int(part(&Civil {
        year,
        month,
        day,
        day_of_year,
        // 1970 began on a Thursday.
        day_of_week: (days + 4).rem_euclid(7),
        second_of_day: local.rem_euclid(86_400),
        nanos: i64::from(time.nanos),
    })))
}

fn whole<'a>(args: &[Value<'a>], unit: i64) -> Evaluated<'a> {
    match args {
        [Value::Duration(nanos)] => Ok(Value::Int(nanos / unit)),
        _ => mismatch(),
    }
}
