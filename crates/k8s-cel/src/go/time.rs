//! Moments: the parts of Go's `time` that values need.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use regex::Regex;

use super::duration::seconds;
use super::number::atoi;
use kube_validation::go::quote_bytes;

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

    /// The seconds of year 1 to year 9999, which CEL's timestamps have.
    pub(crate) const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

    /// Date and time of day in the timestamp's own offset.
    pub(crate) fn civil(self) -> Civil {
        self.civil_at(i64::from(self.offset))
    }

    /// Date and time of day in a zone: an IANA name or an offset such as `-02:30`, as cel-go reads it.
    ///
    /// # Errors
    /// Fails with cel-go's and Go's text.
    pub(crate) fn civil_in(self, zone: &str) -> Result<Civil, String> {
        let offset = match zone.split_once(':') {
            Some((hours, minutes)) => fixed_offset(zone, hours, minutes)?,
            None => location(zone)?.map_or(0, |zone| offset_at(&zone, self.seconds)),
        };
        Ok(self.civil_at(offset))
    }

    fn civil_at(self, offset: i64) -> Civil {
        let local = self.seconds.saturating_add(offset);
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = date_of(days);
        Civil {
            year,
            month,
            day,
            year_day: days - days_since_1970(year, 1, 1) + 1,
            // 1970 began on a Thursday.
            weekday: (days + 4).rem_euclid(7),
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

const DAY: i64 = 86_400;

/// Date and time of day in some zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1, as the days of month and year.
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) year_day: i64,
    /// From 0, which is Sunday.
    pub(crate) weekday: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

/// Reads cel-go's offsets, in seconds. They have no limits and overflow as Go's integers do: that is so in its standard library,
/// whose functions stand in front of the methods of its timestamps.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn fixed_offset(zone: &str, hours: &str, minutes: &str) -> Result<i64, String> {
    let hours = atoi(hours)?;
    let minutes = atoi(minutes)?;
    let minutes = if zone.starts_with('-') { minutes.wrapping_neg() } else { minutes };
    let nanos = hours.wrapping_mul(60).wrapping_add(minutes).wrapping_mul(60_000_000_000);
    Ok(seconds(nanos) as i64)
}

/// `time.LoadLocation` over the IANA database; `None` is UTC, which here also is the local zone.
///
/// Go opens a file with this name, and so heeds case, skips empty and `.` segments and tells files from folders.
fn location(name: &str) -> Result<Option<TimeZone>, String> {
    if matches!(name, "" | "UTC" | "Local") {
        return Ok(None);
    }
    if name.contains("..") || name.starts_with(['/', '\\']) {
        return Err("time: invalid location name".to_owned());
    }
    let segments: Vec<&str> = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    let path = segments.join("/");
    let database = TimeZoneDatabase::bundled();
    let get = |path: &str| database.get(path).ok().filter(|zone| zone.iana_name() == Some(path));
    let wants_folder = name.ends_with('/') || name.ends_with("/.");
    let is_folder = || {
        let folder = format!("{path}/");
        path.is_empty() || database.available().any(|name| name.as_str().starts_with(&folder))
    };
    // No name has more than three segments.
    let is_below_file = (1..segments.len().min(4)).any(|end| get(&segments[..end].join("/")).is_some());
    match get(&path) {
        Some(zone) if !wants_folder => Ok(Some(zone)),
        Some(_) => Err("not a directory".to_owned()),
        None if is_below_file => Err("not a directory".to_owned()),
        None if is_folder() => Err("is a directory".to_owned()),
        None => Err(format!("unknown time zone {name}")),
    }
}

fn offset_at(zone: &TimeZone, seconds: i64) -> i64 {
    let (least, most) = (jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    let moment = jiff::Timestamp::from_second(seconds.clamp(least, most)).unwrap_or_default();
    i64::from(zone.to_offset(moment).seconds())
}

/// An element of a layout of `time.Parse`.
#[derive(Clone, Copy)]
enum Element {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// A fraction with so many digits.
    Fraction(usize),
    /// `Z` or an offset with a colon.
    Zone,
    Literal(u8),
}

impl Element {
    /// How a layout writes the element.
    fn text(self) -> String {
        let text = match self {
            Self::Year => "2006",
            Self::Month => "01",
            Self::Day => "02",
            Self::Hour => "15",
            Self::Minute => "04",
            Self::Second => "05",
            Self::Zone => "Z07:00",
            Self::Fraction(digits) => return format!(".{}", "0".repeat(digits)),
            Self::Literal(byte) => return char::from(byte).to_string(),
        };
        text.to_owned()
    }
}

/// The layout of dates, with which all others begin.
const DATE: [Element; 5] =
    [Element::Year, Element::Literal(b'-'), Element::Month, Element::Literal(b'-'), Element::Day];

/// What follows the date, without fractions and zone.
const TIME_OF_DAY: [Element; 6] = [
    Element::Literal(b'T'),
    Element::Hour,
    Element::Literal(b':'),
    Element::Minute,
    Element::Literal(b':'),
    Element::Second,
];

/// `time.Parse(time.RFC3339, text)`.
///
/// # Errors
/// Fails with Go's text.
pub(crate) fn parse_rfc3339(text: &str) -> Result<Timestamp, String> {
    parse(&[&DATE, &TIME_OF_DAY, &[Element::Zone]], text)
}

/// `time.Parse("2006-01-02", text)`.
///
/// # Errors
/// Fails with Go's text.
pub(crate) fn parse_date(text: &str) -> Result<Timestamp, String> {
    parse(&[&DATE], text)
}

/// `strfmt.ParseDateTime`: also without a zone, which then is UTC; no text is 1970.
///
/// # Errors
/// Fails with Go's text.
pub(crate) fn parse_strfmt_date_time(text: &str) -> Result<Timestamp, String> {
    if text.is_empty() {
        return Ok(Timestamp { seconds: 0, nanos: 0, offset: 0 });
    }
    let endings: [&[Element]; 4] = [
        &[Element::Fraction(6), Element::Zone],
        &[Element::Fraction(3), Element::Zone],
        // RFC3339Nano takes what RFC3339 takes.
        &[Element::Zone],
        &[],
    ];
    let mut last = Err(String::new());
    for ending in endings {
        last = parse(&[&DATE, &TIME_OF_DAY, ending], text);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// `strfmt.IsDateTime`, which takes other texts than `ParseDateTime`: a zone is needed, and after another `t` anything may
/// follow.
pub(crate) fn is_strfmt_date_time(text: &str) -> bool {
    static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})$").ok()
    });
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let is_date = parts.next().is_some_and(|date| parse_date(date).is_ok());
    is_date && parts.next().zip(TIME.as_ref()).is_some_and(|(time, pattern)| pattern.is_match(time))
}

/// Why an element was not read.
enum Problem {
    /// The text does not look like it.
    Bad,
    /// The named part is out of its range.
    Range(&'static str),
}

/// `time.Parse`, for layouts of these elements.
fn parse(layout: &[&[Element]], text: &str) -> Result<Timestamp, String> {
    let mut reader = Reader { rest: text.as_bytes(), ..Reader::default() };
    let elements = || layout.iter().copied().flatten().copied();
    let quoted = || quote_bytes(text.as_bytes());
    let mut following = elements().skip(1);
    for element in elements() {
        let hold = reader.rest;
        match reader.read(element, following.next()) {
            Ok(()) => {}
            Err(Problem::Range(part)) => {
                return Err(format!("parsing time {}: {part} out of range", quoted()));
            }
            Err(Problem::Bad) => {
                let layout: String = elements().map(Element::text).collect();
                let (hold, element) = (quote_bytes(hold), element.text());
                return Err(format!(
                    "parsing time {} as \"{layout}\": cannot parse {hold} as \"{element}\"",
                    quoted()
                ));
            }
        }
    }
    if !reader.rest.is_empty() {
        return Err(format!("parsing time {}: extra text: {}", quoted(), quote_bytes(reader.rest)));
    }
    reader.timestamp().ok_or_else(|| format!("parsing time {}: day out of range", quoted()))
}

/// The parts of a time that have been read, and the text that has not.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a [u8],
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
    offset: i32,
}

impl Reader<'_> {
    fn read(&mut self, element: Element, following: Option<Element>) -> Result<(), Problem> {
        let in_range = |number: i64, range: std::ops::Range<i64>, part| {
            if range.contains(&number) { Ok(number) } else { Err(Problem::Range(part)) }
        };
        match element {
            Element::Literal(byte) => {
                self.rest = self.rest.strip_prefix(&[byte]).ok_or(Problem::Bad)?;
            }
            Element::Year => {
                let (year, rest) = self.rest.split_at_checked(4).ok_or(Problem::Bad)?;
                self.year = number(year).ok_or(Problem::Bad)?;
                self.rest = rest;
            }
            Element::Month => self.month = in_range(self.two_digits()?, 1..13, "month")?,
            Element::Day => self.day = self.two_digits()?,
            Element::Hour => {
                let hour = match self.rest {
                    [digit, next, ..] if digit.is_ascii_digit() && !next.is_ascii_digit() => self.take(1)?,
                    [digit] if digit.is_ascii_digit() => self.take(1)?,
                    _ => self.take(2)?,
                };
                self.hour = in_range(hour, 0..24, "hour")?;
            }
            Element::Minute => self.minute = in_range(self.two_digits()?, 0..60, "minute")?,
            Element::Second => {
                self.second = in_range(self.two_digits()?, 0..60, "second")?;
                // A fraction is taken where the layout has none.
                if let ([b'.' | b',', digit, ..], false) =
                    (self.rest, matches!(following, Some(Element::Fraction(_))))
                    && digit.is_ascii_digit()
                {
                    let fraction = &self.rest[1..];
                    let length =
                        fraction.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(fraction.len());
                    self.read_fraction(length)?;
                }
            }
            Element::Fraction(digits) => self.read_fraction(digits)?,
            Element::Zone => self.read_zone()?,
        }
        Ok(())
    }

    fn two_digits(&mut self) -> Result<i64, Problem> {
        self.take(2)
    }

    /// Reads a number of so many digits.
    fn take(&mut self, digits: usize) -> Result<i64, Problem> {
        let (digits, rest) = self.rest.split_at_checked(digits).ok_or(Problem::Bad)?;
        self.rest = rest;
        number(digits).ok_or(Problem::Bad)
    }

    /// Reads a point or a comma and so many digits, of which only nine count.
    fn read_fraction(&mut self, length: usize) -> Result<(), Problem> {
        let (fraction, rest) = self.rest.split_at_checked(length + 1).ok_or(Problem::Bad)?;
        let [b'.' | b',', digits @ ..] = fraction else { return Err(Problem::Bad) };
        let digits = digits.get(..9).unwrap_or(digits);
        // Where the layout says how many digits there are, Go takes a sign for one.
        let (negative, unsigned) = match digits {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, digits),
        };
        let value = number(unsigned).ok_or(Problem::Bad)?;
        if negative && value != 0 {
            return Err(Problem::Range("fractional second"));
        }
        let missing = u32::try_from(9 - digits.len()).unwrap_or(0);
        self.nanos = u32::try_from(value * 10_i64.pow(missing)).unwrap_or(0);
        self.rest = rest;
        Ok(())
    }

    fn read_zone(&mut self) -> Result<(), Problem> {
        if let Some(rest) = self.rest.strip_prefix(b"Z") {
            self.rest = rest;
            return Ok(());
        }
        let [sign, h1, h2, b':', m1, m2, rest @ ..] = self.rest else { return Err(Problem::Bad) };
        let hours = number(&[*h1, *h2]);
        let minutes = hours.and_then(|_| number(&[*m1, *m2]));
        // An offset may be 24 hours or 60 minutes, and its range is looked at before its sign.
        match (hours, minutes) {
            (_, Some(61..)) => return Err(Problem::Range("time zone offset minute")),
            (Some(25..), _) => return Err(Problem::Range("time zone offset hour")),
            _ => {}
        }
        let offset = (hours.ok_or(Problem::Bad)? * 60 + minutes.ok_or(Problem::Bad)?) * 60;
        let offset = match sign {
            b'+' => offset,
            b'-' => -offset,
            _ => return Err(Problem::Bad),
        };
        self.offset = i32::try_from(offset).unwrap_or(0);
        self.rest = rest;
        Ok(())
    }

    /// `None` if the month has no such day.
    fn timestamp(&self) -> Option<Timestamp> {
        let is_leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let last = match self.month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=last).contains(&self.day) {
            return None;
        }
        let days = days_since_1970(self.year, self.month, self.day);
        let seconds = days * DAY + self.hour * 3_600 + self.minute * 60 + self.second;
        let (nanos, offset) = (self.nanos, self.offset);
        Some(Timestamp { seconds: seconds - i64::from(offset), nanos, offset })
    }
}

/// A number of only digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Formats as `time.RFC3339Nano`.
pub(crate) fn format_rfc3339(time: Timestamp) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = time.civil();
    let sign = if year < 0 { "-" } else { "" };
    let year = year.abs();
    let mut text = format!("{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if time.nanos > 0 {
        text.push('.');
        text.push_str(format!("{:09}", time.nanos).trim_end_matches('0'));
    }
    match time.offset {
        0 => text.push('Z'),
        offset => {
            let minutes = offset / 60;
            let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
    }
    text
}

/// The days between 1970 and a date, in the Gregorian calendar without limits.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have the leap day at their end; 400 of them have always the same days.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        parse_rfc3339(text).map_or_else(|error| error, format_rfc3339)
    }

    #[test]
    fn timestamps_are_read_and_printed_as_by_go() {
        for (text, printed) in [
            ("2009-02-13T23:31:30Z", "2009-02-13T23:31:30Z"),
            ("2009-02-13T23:31:30.500+02:00", "2009-02-13T23:31:30.5+02:00"),
            ("2009-02-13T23:31:30,123456789123-00:30", "2009-02-13T23:31:30.123456789-00:30"),
            ("2009-02-13T3:31:30+00:00", "2009-02-13T03:31:30Z"),
            ("2024-02-29T00:00:00+24:60", "2024-02-29T00:00:00+25:00"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(read(text), printed);
        }
    }

    #[test]
    fn bad_timestamps_have_the_errors_of_go() {
        for (text, error) in [
            ("", r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#),
            (
                "2009-02-13t23:31:30Z",
                r#"parsing time "2009-02-13t23:31:30Z" as "2006-01-02T15:04:05Z07:00": cannot parse "t23:31:30Z" as "T""#,
            ),
            ("2009-02-13T23:31:60Z", r#"parsing time "2009-02-13T23:31:60Z": second out of range"#),
            ("2009-02-29T23:31:00Z", r#"parsing time "2009-02-29T23:31:00Z": day out of range"#),
            ("2009-13-01T23:31:00Z", r#"parsing time "2009-13-01T23:31:00Z": month out of range"#),
            (
                "2009-02-13T23:31:30z",
                r#"parsing time "2009-02-13T23:31:30z" as "2006-01-02T15:04:05Z07:00": cannot parse "z" as "Z07:00""#,
            ),
            (
                "2009-02-13T23:31:30+25:00",
                r#"parsing time "2009-02-13T23:31:30+25:00": time zone offset hour out of range"#,
            ),
            (
                "2009-02-13T23:31:30Zé",
                r#"parsing time "2009-02-13T23:31:30Z\xc3\xa9": extra text: "\xc3\xa9""#,
            ),
        ] {
            assert_eq!(read(text), error);
        }
        assert_eq!(
            parse_date("2009-2-13").unwrap_err(),
            r#"parsing time "2009-2-13" as "2006-01-02": cannot parse "2-13" as "01""#
        );
    }

    #[test]
    fn formats_take_times_without_a_zone() {
        let read = |text| parse_strfmt_date_time(text).map_or_else(|error| error, format_rfc3339);
        assert_eq!(read(""), "1970-01-01T00:00:00Z");
        assert_eq!(read("2009-02-13T23:31:30"), "2009-02-13T23:31:30Z");
        assert_eq!(read("2009-02-13T23:31:30.25"), "2009-02-13T23:31:30.25Z");
        // Go takes a sign for a digit.
        assert_eq!(read("2009-02-13T23:31:30.+25Z"), "2009-02-13T23:31:30.025Z");
        assert_eq!(
            read("2009-02-13 23:31:30Z"),
            r#"parsing time "2009-02-13 23:31:30Z" as "2006-01-02T15:04:05": cannot parse " 23:31:30Z" as "T""#
        );
    }

    #[test]
    fn date_times_are_checked_as_by_strfmt() {
        for (text, is_valid) in [
            ("2009-02-13T23:31:30Z", true),
            ("2009-02-13t23:31:30,5-99:99", true),
            ("2009-02-13T23:31:30ZT", true),
            ("2009-02-13T23:31:30", false),
            ("2009-02-30T23:31:30Z", false),
            ("2009-02-13T24:00:00Z", false),
            ("2009-02-13", false),
        ] {
            assert_eq!(is_strfmt_date_time(text), is_valid, "{text}");
        }
    }

    #[test]
    fn parts_are_those_of_a_zone() {
        let time = parse_rfc3339("2024-07-01T22:45:30.5+01:00").unwrap();
        let parts = |civil: Civil| {
            [
                civil.year,
                civil.month,
                civil.day,
                civil.year_day,
                civil.weekday,
                civil.hour,
                civil.minute,
                civil.second,
            ]
        };
        assert_eq!(parts(time.civil()), [2024, 7, 1, 183, 1, 22, 45, 30]);
        for (zone, expected) in [
            ("", [2024, 7, 1, 183, 1, 21, 45, 30]),
            ("Local", [2024, 7, 1, 183, 1, 21, 45, 30]),
            ("Asia/Kathmandu", [2024, 7, 2, 184, 2, 3, 30, 30]),
            ("./America//New_York", [2024, 7, 1, 183, 1, 17, 45, 30]),
            ("02:30", [2024, 7, 2, 184, 2, 0, 15, 30]),
            ("-00:30", [2024, 7, 1, 183, 1, 21, 15, 30]),
            ("+100:00", [2024, 7, 6, 188, 6, 1, 45, 30]),
            ("+99:99", [2024, 7, 6, 188, 6, 2, 24, 30]),
            ("-00:-90", [2024, 7, 1, 183, 1, 23, 15, 30]),
        ] {
            assert_eq!(time.civil_in(zone).map(parts), Ok(expected), "{zone}");
        }
        for (zone, error) in [
            ("Mars/Phobos", "unknown time zone Mars/Phobos"),
            ("us/central", "unknown time zone us/central"),
            ("../UTC", "time: invalid location name"),
            ("America", "is a directory"),
            ("America/New_York/x", "not a directory"),
            ("a:00", r#"strconv.Atoi: parsing "a": invalid syntax"#),
        ] {
            assert_eq!(time.civil_in(zone), Err(error.to_owned()), "{zone}");
        }
    }
}
