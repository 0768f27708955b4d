//! Parts of timestamps and durations: cel-go's `common/stdlib` and `common/types/timestamp.go`.

use super::arguments::{Implementation, Table, mismatch};
use crate::{
    go::{Civil, Timestamp},
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
    "timestamp_to_year", "timestamp_to_year_with_tz", |time, _| time.year;
    "timestamp_to_month", "timestamp_to_month_with_tz", |time, _| time.month - 1;
    "timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz", |time, _| time.year_day - 1;
    "timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz", |time, _| time.day - 1;
    "timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz", |time, _| time.day;
    "timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz", |time, _| time.weekday;
    "timestamp_to_hours", "timestamp_to_hours_with_tz", |time, _| time.hour;
    "timestamp_to_minutes", "timestamp_to_minutes_with_tz", |time, _| time.minute;
    "timestamp_to_seconds", "timestamp_to_seconds_tz", |time, _| time.second;
    "timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz", |_, nanos| nanos / 1_000_000;
};

fn part<'a>(args: &[Value<'a>], part: impl Fn(&Civil, i64) -> i64) -> Evaluated<'a> {
    let (time, civil) = match args {
        [Value::Timestamp(time)] => (time, Timestamp { offset: 0, ..*time }.civil()),
        [Value::Timestamp(time), Value::String(zone)] => (time, time.civil_in(zone).map_err(Error::new)?),
        _ => return mismatch(),
    };
    Ok(Value::Int(part(&civil, i64::from(time.nanos))))
}

fn whole<'a>(args: &[Value<'a>], unit: i64) -> Evaluated<'a> {
    match args {
        [Value::Duration(nanos)] => Ok(Value::Int(nanos / unit)),
        _ => mismatch(),
    }
}
