//! Texts as Go's standard library reads and writes them.

mod duration;
mod number;
mod time;

pub(crate) use duration::{format_duration, format_seconds, parse_duration, parse_strfmt_duration};
pub(crate) use number::{format_general, parse_bool, parse_float, parse_int, parse_uint};
pub(crate) use time::{Timestamp, format_rfc3339, parse_date, parse_rfc3339, parse_strfmt_date_time};

pub(crate) use regex::regex;
mod regex;
pub(crate) use time::{civil, zone_offset};

pub(crate) fn check_request_uri(_text: &str) -> Result<(), String> {
    Ok(())
}

pub(crate) fn is_strfmt_date_time(text: &str) -> bool {
    parse_strfmt_date_time(text).is_ok()
}
