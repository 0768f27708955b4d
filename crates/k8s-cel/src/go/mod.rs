//! Texts as Go's standard library reads and writes them.

mod base64;
mod duration;
mod number;
mod time;

pub(crate) use self::base64::Base64;
pub(crate) use self::duration::{format_duration, format_seconds, parse_duration, parse_strfmt_duration};
pub(crate) use self::number::{format_general, parse_bool, parse_float, parse_int, parse_uint};
pub(crate) use self::time::{
    Civil, Timestamp, format_rfc3339, is_strfmt_date_time, parse_date, parse_rfc3339, parse_strfmt_date_time,
};
pub(crate) use kube_validation::go::{
    ip::{Cidr, is_global_unicast, is_link_local_multicast, is_link_local_unicast, parse_ip},
    quote,
    regex::Pattern,
    url::Url,
};
