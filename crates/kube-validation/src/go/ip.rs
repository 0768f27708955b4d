//! Addresses and networks: Go's `net/netip`, as Kubernetes' libraries use it.
//!
//! `std::net` takes the same addresses but for zones, and prints the same canonical forms; the errors are Go's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::quote::quote;

/// `ip(string)`: an address without a zone that is not an IPv4 address within IPv6.
///
/// # Errors
/// Fails with Kubernetes' text.
pub fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let quoted = quote(text);
    let (address, zone) = parse_address(text)
        .map_err(|error| format!("IP Address {quoted} parse error during conversion from string: {error}"))?;
    if zone.is_some() {
        return Err(format!("IP address {quoted} with zone value is not allowed"));
    }
    not_mapped(address, text)
}

fn not_mapped(address: IpAddr, text: &str) -> Result<IpAddr, String> {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text)))
        }
        address => Ok(address),
    }
}

/// `netip.Addr.IsLinkLocalMulticast`.
pub fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

/// `netip.Addr.IsLinkLocalUnicast`.
pub fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// `netip.Addr.IsGlobalUnicast`, which private networks are, too.
pub fn is_global_unicast(address: IpAddr) -> bool {
    address != IpAddr::V4(Ipv4Addr::BROADCAST)
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local_unicast(address)
}

/// `netip.Prefix`: a network, which keeps the bits of its address beyond the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// An address of the network.
    pub address: IpAddr,
    /// The number of bits that all addresses of the network share.
    pub length: u8,
}

impl Cidr {
    /// `cidr(string)`.
    ///
    /// # Errors
    /// Fails with Kubernetes' text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cidr = Self::parse_prefix(text).map_err(|problem| {
            let quoted = quote(text);
            format!("network address parse error during conversion from string: netip.ParsePrefix({quoted}): {problem}")
        })?;
        not_mapped(cidr.address, text).map(|_| cidr)
    }

    fn parse_prefix(text: &str) -> Result<Self, String> {
        let (address, bits) = text.rsplit_once('/').ok_or("no '/'")?;
        let (address, zone) = parse_address(address)?;
        if zone.is_some() {
            return Err("IPv6 zones cannot be present in a prefix".to_owned());
        }
        let bad = || format!("bad bits after slash: {}", quote(bits));
        let is_number = match bits.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        let bits = bits.parse::<i64>().ok().filter(|_| is_number).ok_or_else(bad)?;
        match u8::try_from(bits) {
            Ok(length) if length <= width(address) => Ok(Self { address, length }),
            _ => Err("prefix length out of range".to_owned()),
        }
    }

    /// The network without the bits of the address beyond its length.
    pub fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Self { address, ..self }
    }

    /// `containsIP`.
    pub fn contains(self, address: IpAddr) -> bool {
        width(address) == width(self.address) && Self { address, ..self }.masked() == self.masked()
    }

    /// `containsCIDR`.
    pub fn contains_cidr(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `netip.ParseAddr`: an address and its zone.
///
/// # Errors
/// Fails with Go's text.
pub(super) fn parse_address(text: &str) -> Result<(IpAddr, Option<&str>), String> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) if zone.is_none() => Ok((IpAddr::V4(v4), None)),
        Ok(IpAddr::V6(v6)) if zone != Some("") => Ok((IpAddr::V6(v6), zone)),
        _ => {
            let (problem, at) = problem_of(text, address, zone);
            let at = if at.is_empty() { String::new() } else { format!(" (at {})", quote(at)) };
            Err(format!("ParseAddr({}): {problem}{at}", quote(text)))
        }
    }
}

/// Why a text is not an address, and the rest of the text from where that shows.
fn problem_of<'a>(text: &'a str, address: &'a str, zone: Option<&str>) -> (&'static str, &'a str) {
    match text.find(['.', ':', '%']).and_then(|index| text.as_bytes().get(index)) {
        None => ("unable to parse IP", ""),
        Some(b'.') => problem_of_v4(text).unwrap_or(("unable to parse IP", "")),
        Some(b':') if zone == Some("") => ("zone must be a non-empty string", ""),
        Some(b':') => problem_of_v6(address),
        // Such as `%eth0`, which may still be meant as an address of either kind.
        Some(_) => ("missing IPv6 address", ""),
    }
}

/// `None` if these are four numbers.
fn problem_of_v4(text: &str) -> Option<(&'static str, &str)> {
    let (mut value, mut digits, mut fields) = (0_u32, 0, 0);
    for (index, byte) in text.bytes().enumerate() {
        let rest = text.get(index..).unwrap_or_default();
        match byte {
            b'0'..=b'9' if digits == 1 && value == 0 => {
                return Some(("IPv4 field has octet with leading zero", ""));
            }
            b'0'..=b'9' => {
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Some(("IPv4 field has value >255", ""));
                }
            }
            b'.' if digits == 0 || rest.len() == 1 => {
                return Some(("IPv4 field must have at least one digit", rest));
            }
            b'.' if fields == 3 => return Some(("IPv4 address too long", "")),
            b'.' => (value, digits, fields) = (0, 0, fields + 1),
            _ => return Some(("unexpected character", rest)),
        }
    }
    (fields < 3).then_some(("IPv4 address too short", ""))
}

/// Follows the groups as Go does; only for texts that are not an address.
fn problem_of_v6(address: &str) -> (&'static str, &str) {
    let mut rest = address;
    let mut has_ellipsis = false;
    if let Some(after) = rest.strip_prefix("::") {
        (rest, has_ellipsis) = (after, true);
    }
    let mut groups = 0;
    while groups < 8 {
        let length = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (group, after) = rest.split_at(length);
        match group.len() {
            0 => return ("each colon-separated field must have at least one digit", rest),
            5.. => return ("each group must have 4 or less digits", rest),
            _ => {}
        }
        if after.starts_with('.') {
            if !has_ellipsis && groups != 6 {
                return ("embedded IPv4 address must replace the final 2 fields of the address", rest);
            }
            if groups > 6 {
                return ("too many hex fields to fit an embedded IPv4 at the end of the address", rest);
            }
            if let Some(problem) = problem_of_v4(rest) {
                return problem;
            }
            rest = "";
            break;
        }
        groups += 1;
        rest = after;
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(':') else {
            return ("unexpected character, want colon", rest);
        };
        if after.is_empty() {
            return ("colon must be followed by more characters", rest);
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if has_ellipsis {
                return ("multiple :: in address", rest);
            }
            (rest, has_ellipsis) = (after, true);
            if rest.is_empty() {
                break;
            }
        }
    }
    match (rest, has_ellipsis) {
        ("", true) => ("the :: must expand to at least one field of zeros", ""),
        ("", false) => ("address string too short", ""),
        (rest, _) => ("trailing garbage after address", rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_netip() {
        for (text, printed) in [
            ("1.2.3.4", "1.2.3.4"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("::1.2.3.4", "::102:304"),
            ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
            ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
        ] {
            assert_eq!(parse_ip(text).map(|ip| ip.to_string()), Ok(printed.to_owned()), "{text}");
        }
        let error = |text| parse_ip(text).unwrap_err();
        assert_eq!(error("fe80::1%eth0"), r#"IP address "fe80::1%eth0" with zone value is not allowed"#);
        assert_eq!(error("::ffff:1.2.3.4"), r#"IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed"#);
    }

    #[test]
    fn bad_addresses_have_the_errors_of_netip() {
        for (text, problem) in [
            ("", "unable to parse IP"),
            ("1", "unable to parse IP"),
            ("%eth0", "missing IPv6 address"),
            ("01.2.3.4", "IPv4 field has octet with leading zero"),
            ("1.2.3.256", "IPv4 field has value >255"),
            ("1..2.3", r#"IPv4 field must have at least one digit (at ".2.3")"#),
            ("1.2.3.4.5", "IPv4 address too long"),
            ("1.2.3", "IPv4 address too short"),
            ("1.2.3.4%e", r#"unexpected character (at "%e")"#),
            ("fe80::1%", "zone must be a non-empty string"),
            (":1", r#"each colon-separated field must have at least one digit (at ":1")"#),
            ("12345::", r#"each group must have 4 or less digits (at "12345::")"#),
            ("1::2::3", r#"multiple :: in address (at ":3")"#),
            ("1:2:3:4:5:6:7:8:9", r#"trailing garbage after address (at "9")"#),
            ("1:2:3:4:5:6:7", "address string too short"),
            ("1:2:3:4::5:6:7:8", "the :: must expand to at least one field of zeros"),
            ("1:2:", r#"colon must be followed by more characters (at ":")"#),
            ("::g", r#"each colon-separated field must have at least one digit (at "g")"#),
            (
                "1:2.3.4.5",
                r#"embedded IPv4 address must replace the final 2 fields of the address (at "2.3.4.5")"#,
            ),
        ] {
            let full = format!(
                "IP Address {0} parse error during conversion from string: ParseAddr({0}): {problem}",
                quote(text)
            );
            assert_eq!(parse_ip(text), Err(full));
        }
    }

    #[test]
    fn networks_are_those_of_netip() {
        let cidr = |text| Cidr::parse(text).unwrap();
        assert_eq!(cidr("10.1.2.3/8").to_string(), "10.1.2.3/8");
        assert_eq!(cidr("10.1.2.3/8").masked(), cidr("10.0.0.0/8"));
        assert_eq!(cidr("fe80::ffff/0").masked(), cidr("::/0"));
        assert!(cidr("10.0.0.0/8").contains(IpAddr::from([10, 9, 9, 9])));
        assert!(!cidr("::/0").contains(IpAddr::from([10, 9, 9, 9])));
        assert!(cidr("10.0.0.0/8").contains_cidr(cidr("10.1.2.3/24")));
        assert!(!cidr("10.0.0.0/24").contains_cidr(cidr("10.0.0.0/8")));
        for (text, problem) in [
            ("1.2.3.4", "no '/'"),
            ("1.2.3/8", r#"ParseAddr("1.2.3"): IPv4 address too short"#),
            ("fe80::1%a/64", "IPv6 zones cannot be present in a prefix"),
            ("1.2.3.4/08", r#"bad bits after slash: "08""#),
            ("1.2.3.4/", r#"bad bits after slash: """#),
            ("1.2.3.4/33", "prefix length out of range"),
        ] {
            let full = format!(
                "network address parse error during conversion from string: netip.ParsePrefix({}): {problem}",
                quote(text)
            );
            assert_eq!(Cidr::parse(text), Err(full));
        }
    }

    #[test]
    fn kinds_of_addresses_are_those_of_netip() {
        let kinds = |text| {
            let ip = parse_ip(text).unwrap();
            [is_link_local_multicast(ip), is_link_local_unicast(ip), is_global_unicast(ip)]
        };
        for (text, expected) in [
            ("10.0.0.1", [false, false, true]),
            ("255.255.255.255", [false, false, false]),
            ("0.0.0.0", [false, false, false]),
            ("127.9.9.9", [false, false, false]),
            ("169.254.1.1", [false, true, false]),
            ("224.0.0.9", [true, false, false]),
            ("224.0.1.9", [false, false, false]),
            ("febf::1", [false, true, false]),
            ("ff32::1", [true, false, false]),
            ("fd00::1", [false, false, true]),
        ] {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }
}
