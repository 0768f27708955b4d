//! Addresses and networks in fields that once took sloppy forms: `IsValidIPForLegacyField` and `IsValidCIDRForLegacyField`,
//! which are strict by default since 1.36.

use std::net::IpAddr;

use kube_validation::go::ip::Cidr;

/// Returns the address in a text, whose numbers may have leading zeros.
pub(crate) fn sloppy(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| without_leading_zeros(text).parse().ok())
}

/// Returns the problems of an address.
pub(crate) fn address(text: &str) -> Vec<String> {
    let problem = match text.parse() {
        Ok(address) if is_mapped(address) => "must not be an IPv4-mapped IPv6 address",
        Ok(_) => return Vec::new(),
        Err(_) if sloppy(text).is_some() => "must not have leading 0s",
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    vec![problem.to_owned()]
}

/// Returns the problems of an address that must have the form in which it is printed.
pub fn canonical_address(text: &str) -> Vec<String> {
    let problems = address(text);
    match text.parse::<IpAddr>() {
        Ok(address) if problems.is_empty() => not_printed_as(text, &address.to_string()),
        _ => problems,
    }
}

/// Returns the problems of a network that must have the form in which it is printed.
pub(crate) fn canonical_network(text: &str) -> Vec<String> {
    let problems = network(text);
    match sloppy_network(text) {
        Some(Cidr { address, length }) if problems.is_empty() => {
            not_printed_as(text, &format!("{address}/{length}"))
        }
        _ => problems,
    }
}

fn not_printed_as(text: &str, printed: &str) -> Vec<String> {
    let problem = || format!("must be in canonical form (\"{printed}\")");
    if text == printed { Vec::new() } else { vec![problem()] }
}

/// Returns the network in a text, whose numbers may have leading zeros.
pub(crate) fn sloppy_network(text: &str) -> Option<Cidr> {
    let (address, length) = text.split_once('/')?;
    let is_number = !length.is_empty() && length.bytes().all(|it| it.is_ascii_digit());
    let length = length.parse().ok().filter(|_| is_number)?;
    let address = sloppy(address)?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    (length <= max).then_some(Cidr { address, length })
}

/// Returns the problems of a network.
pub(crate) fn network(text: &str) -> Vec<String> {
    let Some(network) = sloppy_network(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    let length = text.split_once('/').map_or("", |(_, length)| length);
    let has_zeros = length.len() > 1 && length.starts_with('0');
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    let problem = match address.parse::<IpAddr>() {
        Err(_) => "must not have leading 0s in IP or prefix length",
        Ok(_) if has_zeros => "must not have leading 0s in IP or prefix length",
        Ok(address) if is_mapped(address) => "must not have an IPv4-mapped IPv6 address",
        Ok(_) if network.masked() != network => "must not have bits set beyond the prefix length",
        Ok(_) => return Vec::new(),
    };
    vec![problem.to_owned()]
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn without_leading_zeros(text: &str) -> String {
    let (before, v4) = match text.rfind(':') {
        Some(colon) => text.split_at(colon + 1),
        None => ("", text),
    };
    if !v4.contains('.') {
        return text.to_owned();
    }
    let trimmed = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        part => part.to_owned(),
    };
    format!("{before}{}", v4.split('.').map(trimmed).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_strict() {
        for good in ["10.0.0.1", "::1", "FE80:0:0:0:0:0:0:0abc"] {
            assert_eq!(address(good), [""; 0], "{good}");
        }
        for (bad, why) in [
            ("010.0.0.1", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("1.2.3", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ("fe80::1%eth0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ] {
            assert_eq!(address(bad), [why], "{bad}");
        }
    }

    #[test]
    fn networks_are_strict() {
        for good in ["10.0.0.0/8", "2001:db8::/64", "0.0.0.0/0"] {
            assert_eq!(network(good), [""; 0], "{good}");
        }
        for (bad, why) in [
            ("10.0.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.0.0.0/33", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.0.0.0/+8", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
            ("010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
            ("::ffff:1.2.3.4/128", "must not have an IPv4-mapped IPv6 address"),
        ] {
            assert_eq!(network(bad), [why], "{bad}");
        }
    }
}
