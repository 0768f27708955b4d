//! String formats that apiextensions-apiserver checks: go-openapi's `strfmt`, by their normalized names.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use kube_validation::names;
use regex::Regex;

/// Returns whether a format is checked in a schema with a type, which is empty if it has none or two.
pub(super) fn is_supported(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => check(format, "").is_some(),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// Returns whether `value` has the format. `None` for unknown formats, which are not checked, and for formats of numbers.
pub(super) fn check(format: &str, value: &str) -> Option<bool> {
    Some(match format.replace('-', "").as_str() {
        "bsonobjectid" => value.len() == 24 && value.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => is_request_uri(value),
        "email" => is_email(value),
        "hostname" => is_hostname(value),
        "ipv4" => value.contains('.') && is_ip(value),
        "ipv6" => value.contains(':') && value.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(value),
        "mac" => is_mac(value),
        "uuid" => UUID.is_match(value),
        "uuid3" => UUID3.is_match(value),
        "uuid4" => UUID4.is_match(value),
        "uuid5" => UUID5.is_match(value),
        "isbn" => is_isbn10(value) || is_isbn13(value),
        "isbn10" => is_isbn10(value),
        "isbn13" => is_isbn13(value),
        "creditcard" => is_credit_card(value),
        "ssn" => value.len() == 11 && SSN.is_match(value),
        "hexcolor" => HEX_COLOR.is_match(value),
        "rgbcolor" => RGB_COLOR.is_match(value),
        "byte" => BASE64.is_match(value),
        "password" => true,
        "date" => value.parse::<jiff::civil::Date>().is_ok() && value.len() == 10,
        "duration" => is_duration(value),
        "datetime" => is_date_time(value),
        "k8sshortname" => names::dns1123_label(value).is_empty(),
        "k8slongname" => names::dns1123_subdomain(value).is_empty(),
        _ => return None,
    })
}

macro_rules! pattern {
    ($name:ident, $pattern:expr) => {
        // A constant pattern: `every_pattern_compiles` tests it.
        #[allow(clippy::expect_used)]
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a constant pattern"));
    };
}

pattern!(UUID, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID3, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID4, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(UUID5, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(SSN, r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$");
pattern!(HEX_COLOR, "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
pattern!(
    RGB_COLOR,
    r"^rgb\(\s*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])\s*,\s*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])\s*,\s*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])\s*\)$"
);
pattern!(BASE64, "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$");
pattern!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$"
);
pattern!(
    HOSTNAME,
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
);
pattern!(TIME, "^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$");
pattern!(GO_DURATION, r"^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$");
pattern!(SCALA_DURATION, r"([0-9]+)\s*([A-Za-zµ]+)");

/// Returns whether this is an absolute URI or an absolute path, as Go's `url.ParseRequestURI` does.
fn is_request_uri(value: &str) -> bool {
    !value.bytes().any(|b| b < b' ' || b == 0x7f)
        && (value.starts_with('/') && !value.contains(' ')
            || value.split_once(':').is_some_and(|(scheme, rest)| {
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                    && !rest.split('/').nth(2).unwrap_or_default().contains(' ')
                    && has_valid_port(rest)
            }))
}

fn has_valid_port(rest: &str) -> bool {
    let Some(authority) = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next()) else {
        return true;
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let after_host = host.rfind(']').map_or(host, |end| &host[end..]);
    after_host.split_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns whether this is `name@host` or `Name <name@host>`: the common part of RFC 5322 that Go's `mail.ParseAddress`
/// accepts.
fn is_email(value: &str) -> bool {
    let address = match value.trim().strip_suffix('>') {
        Some(named) => named.rsplit_once('<').map_or("", |(_, address)| address),
        None => value.trim(),
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atom = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii())
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || local.split('.').all(atom)) && domain.split('.').all(atom)
}

fn is_hostname(value: &str) -> bool {
    HOSTNAME.is_match(value) && value.len() <= 255 && value.split('.').all(|label| label.len() <= 63)
}

/// Parses an address like the sloppy parser that Kubernetes keeps for old objects: leading zeros in IPv4 are decimal.
fn is_ip(value: &str) -> bool {
    value.parse::<Ipv6Addr>().is_ok() || ipv4(value).is_some()
}

fn ipv4(value: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = value.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn is_cidr(value: &str) -> bool {
    let Some((address, bits)) = value.split_once('/') else { return false };
    let max = if ipv4(address).is_some() {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= max)
}

/// Returns whether this is 6, 8 or 20 bytes in hexadecimal: `01:23:...`, `01-23-...` or `0123.4567...`.
fn is_mac(value: &str) -> bool {
    let (separator, digits) = if value.contains('.') {
        ('.', 4)
    } else if value.contains('-') {
        ('-', 2)
    } else {
        (':', 2)
    };
    let groups: Vec<_> = value.split(separator).collect();
    let hex = |group: &&str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
    groups.iter().all(hex) && [6, 8, 20].contains(&(groups.len() * digits / 2))
}

fn is_isbn10(value: &str) -> bool {
    let digits = without_dashes(value);
    let [head @ .., last] = &digits[..] else { return false };
    if head.len() != 9 || !head.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let check = match last {
        b'X' => 10,
        b'0'..=b'9' => u32::from(last - b'0'),
        _ => return false,
    };
    let sum: u32 = head.iter().zip(1..).map(|(digit, weight)| weight * u32::from(digit - b'0')).sum();
    (sum + 10 * check).is_multiple_of(11)
}

fn is_isbn13(value: &str) -> bool {
    let digits = without_dashes(value);
    digits.len() == 13
        && digits.iter().all(u8::is_ascii_digit)
        && digits
            .iter()
            .zip([1, 3].iter().cycle())
            .map(|(digit, weight)| weight * u32::from(digit - b'0'))
            .sum::<u32>()
            .is_multiple_of(10)
}

fn without_dashes(value: &str) -> Vec<u8> {
    value.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'-').collect()
}

fn is_credit_card(value: &str) -> bool {
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let luhn = digits.bytes().rev().enumerate().map(|(index, digit)| {
        let digit = u32::from(digit - b'0') * if index % 2 == 1 { 2 } else { 1 };
        digit / 10 + digit % 10
    });
    CREDIT_CARD.is_match(&digits) && luhn.sum::<u32>().is_multiple_of(10)
}

/// Returns whether Go's `time.ParseDuration` or Scala's `Duration` accepts this: `1h30m`, `3 days`.
fn is_duration(value: &str) -> bool {
    GO_DURATION.is_match(value)
        || SCALA_DURATION.captures_iter(value).any(|found| {
            let unit = found[2].to_lowercase();
            let exact = ["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
            let prefix = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
            exact.contains(&unit.as_str()) || prefix.iter().any(|prefix| unit.starts_with(prefix))
        })
}

fn is_date_time(value: &str) -> bool {
    let lower = value.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    let Some(time) = TIME.captures(time) else { return false };
    check("date", date) == Some(true) && &time[1] <= "23" && &time[2] <= "59" && &time[3] <= "59"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_accept_and_refuse_values() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f", ""]),
            (
                "uri",
                &["http://foo.bar/#com", "/abs", "mailto:a@b.c", "http://[::1]:80/"],
                &["", "foo.com", "./rel", "http://a:b/"],
            ),
            ("email", &["a@b.c", "A <a@b.c>", "\"x y\"@b.c"], &["", "a", "@b.c", "a@", "a b@c.d"]),
            ("hostname", &["a", "a.example", "xn--froschgrn-x9a.net"], &["", "a_b.example", "-a.example"]),
            ("ipv4", &["1.2.3.4", "01.2.3.4"], &["1.2.3", "1.2.3.256", "::1", "a.b.c.d", ".1.2.3"]),
            ("ipv6", &["::1", "2001:db8::1"], &["1.2.3.4", "::g"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "x/1"]),
            (
                "mac",
                &["01:23:45:67:89:ab", "0123.4567.89ab", "01-23-45-67-89-ab-cd-ef"],
                &["01:23", "01:23:45:67:89:ag"],
            ),
            ("uuid", &["A987FBC9-4BED-3078-CF07-9141BA07C9F3"], &["A987FBC9"]),
            ("uuid3", &["A987FBC9-4BED-3078-CF07-9141BA07C9F3"], &["A987FBC9-4BED-4078-CF07-9141BA07C9F3"]),
            ("uuid4", &["57b73598-8764-4ad0-a76a-679bb6640eb1"], &["57b73598-8764-3ad0-a76a-679bb6640eb1"]),
            ("uuid5", &["987fbc97-4bed-5078-9f07-9141ba07c9f3"], &["987fbc97-4bed-4078-9f07-9141ba07c9f3"]),
            ("isbn10", &["3836221195", "3 401 01319 X"], &["3423214121", "9784873113685"]),
            ("isbn13", &["978-4-87311-368-5"], &["3836221195", "978-4-87311-368-6"]),
            ("isbn", &["3836221195", "9784873113685"], &["x"]),
            ("creditcard", &["4220 8554 2622 2389"], &["4220855426213389", ""]),
            ("ssn", &["111-22-3333"], &["111223333", "x"]),
            ("hexcolor", &["#fff", "CCccCC"], &["#ff", "fff0"]),
            ("rgbcolor", &["rgb(0,  31, 255)"], &["rgb(1,349,275)", "rgb(01,31,255)"]),
            ("byte", &["aGVsbG8="], &["", "aGVsbG8"]),
            ("password", &["", "x"], &[]),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-29", "x"]),
            ("duration", &["1h30m", "3 days", "22 ns", "0", "1.5s"], &["", "h", "1x"]),
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
                &["2014-12-15", "2014-12-15T24:30:20Z"],
            ),
            ("k8s-short-name", &["a-b"], &["a.b", "A"]),
            ("k8s-long-name", &["a-b.c"], &["A", "a..b"]),
        ];
        for (format, good, bad) in table {
            for value in *good {
                assert_eq!(check(format, value), Some(true), "{format} {value:?}");
            }
            for value in *bad {
                assert_eq!(check(format, value), Some(false), "{format} {value:?}");
            }
        }
        assert_eq!(check("int32", "1"), None);
    }

    #[test]
    fn every_pattern_compiles() {
        for pattern in [
            &UUID,
            &UUID3,
            &UUID4,
            &UUID5,
            &SSN,
            &HEX_COLOR,
            &RGB_COLOR,
            &BASE64,
            &CREDIT_CARD,
            &HOSTNAME,
            &TIME,
            &GO_DURATION,
            &SCALA_DURATION,
        ] {
            assert!(!pattern.as_str().is_empty());
        }
    }
}
