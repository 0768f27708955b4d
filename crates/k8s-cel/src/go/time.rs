//! Moments: the parts of Go's `time` that values need.

use jiff::civil::Date;

/// A moment, with the offset from UTC in which it is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp {
    /// Since 1970.
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
    /// In seconds, to the east.
    pub(crate) offset: i32,
}

impl Timestamp {
    /// Go's zero time.
    pub(crate) const ZERO: Self = Self { seconds: -62_135_596_800, nanos: 0, offset: 0 };
}

/// `time.Parse(time.RFC3339, text)`.
pub(crate) fn parse_rfc3339(text: &str) -> Result<Timestamp, String> {
    parse(text, b'T').ok_or_else(|| failed(text))
}

fn failed(text: &str) -> String {
    let text = kube_validation::go::quote(text);
    format!("parsing time {text} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text}")
}

fn parse(text: &str, separator: u8) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        let digits = bytes.get(range)?;
        digits
            .iter()
            .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |index: usize, byte: u8| bytes.get(index) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && is(10, separator) && is(13, b':') && is(16, b':')) {
        return None;
    }
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return None;
        }
        for index in 0..9 {
            nanos = nanos * 10
                + fraction
                    .as_bytes()
                    .get(index)
                    .filter(|_| index < length)
                    .map_or(0, |digit| u32::from(digit - b'0'));
        }
        rest = &fraction[length..];
    }
    let offset = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let two = |a: &u8, b: &u8| {
                (a.is_ascii_digit() && b.is_ascii_digit())
                    .then(|| i32::from(a - b'0') * 10 + i32::from(b - b'0'))
            };
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            if hours > 24 || minutes > 60 {
                return None;
            }
            let offset = (hours * 60 + minutes) * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - i64::from(offset);
    Some(Timestamp { seconds, nanos, offset })
}

/// The days since 1970; `None` if there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let date =
        Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let since = date.duration_since(Date::constant(1970, 1, 1));
    Some(since.as_secs() / 86_400)
}

/// Formats as `time.RFC3339Nano`.
pub(crate) fn format_rfc3339(time: Timestamp) -> String {
    let local = time.seconds + i64::from(time.offset);
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut text = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
    if time.nanos > 0 {
        text.push('.');
        text.push_str(format!("{:09}", time.nanos).trim_end_matches('0'));
    }
    match time.offset {
        0 => text.push('Z'),
        offset => {
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
            text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
    }
    text
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar without limits.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on a first of March.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `time.Parse("2006-01-02", text)`.
pub(crate) fn parse_date(text: &str) -> Result<Timestamp, String> {
    let bytes = text.as_bytes();
    let is_date = bytes.len() == 10 && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    parse(&format!("{text}T00:00:00Z"), b'T').filter(|_| is_date).ok_or_else(|| {
        let text = kube_validation::go::quote(text);
        format!("parsing time {text} as \"2006-01-02\": cannot parse {text} as \"2006\"")
    })
}

/// `strfmt.ParseDateTime`.
pub(crate) fn parse_strfmt_date_time(text: &str) -> Result<Timestamp, String> {
    if text.is_empty() {
        return Ok(Timestamp { seconds: 0, nanos: 0, offset: 0 });
    }
    parse(text, b'T')
        .or_else(|| parse(text, b' '))
        .or_else(|| parse(&format!("{text}Z"), b'T'))
        .ok_or_else(|| failed(text))
}

/// The offset of a zone from UTC at a moment, in seconds: `+02:00`, or a name.
pub(crate) fn zone_offset(zone: &str, _at: i64) -> Result<i64, String> {
    match zone.split_once(':') {
        None if zone.is_empty() || zone == "UTC" => Ok(0),
        None => Err(format!("unknown time zone {zone}")),
        Some((hours, minutes)) => {
            let hours: i64 =
                hours.parse().map_err(|_| format!("strconv.Atoi: parsing {hours:?}: invalid syntax"))?;
            let minutes: i64 =
                minutes.parse().map_err(|_| format!("strconv.Atoi: parsing {minutes:?}: invalid syntax"))?;
            Ok(if zone.starts_with('-') { hours * 3600 - minutes * 60 } else { hours * 3600 + minutes * 60 })
        }
    }
}
