//! Which addresses may be checked. Whoever may create a blog decides where the operator connects to, and reads in the status
//! what came of it: without limits, that would show them networks that they cannot reach themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where checks may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only to addresses of the public internet.
    Public,
    /// Also to private networks, such as the cluster's own, and to this machine. Never to link-local addresses: clouds hand
    /// out credentials there.
    Private,
}

impl Reach {
    /// Whether checks may go to an address.
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        match place(address) {
            Place::Public => true,
            Place::Private => self == Reach::Private,
            Place::Never => false,
        }
    }
}

enum Place {
    Public,
    Private,
    /// Link-local, multicast, or not an address of a host.
    Never,
}

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => place_v4(address),
            None => place_v6(address),
        },
    }
}

/// By the special-purpose registry of IANA, RFC 6890.
#[expect(clippy::unnested_or_patterns, reason = "a range in each line is easier to check")]
fn place_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        // This network, link-local, multicast and reserved, broadcast.
        [0, ..] | [169, 254, ..] | [224..=255, ..] => Place::Never,
        // Private, shared (RFC 6598), this machine, protocol assignments, benchmarks, documentation.
        [10, ..]
        | [172, 16..32, ..]
        | [192, 168, ..]
        | [100, 64..128, ..]
        | [127, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18..20, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Place::Private,
        _ => Place::Public,
    }
}

/// Only 2000::/3 is assigned to hosts of the internet.
fn place_v6(address: Ipv6Addr) -> Place {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Private,
        // Unique local.
        [0xfc00..0xfe00, ..] => Place::Private,
        // Protocol assignments, which include Teredo, and documentation.
        [0x2001, 0..0x200 | 0xdb8, ..] => Place::Private,
        [0x2000..0x4000, ..] => Place::Public,
        _ => Place::Never,
    }
}

/// Returns the IPv4 address that a connection to an IPv6 address may end at: mapped, NAT64, and 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &str, public: bool, private: bool) {
        for text in addresses.split_whitespace() {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Reach::Public.allows(address), public, "{text}");
            assert_eq!(Reach::Private.allows(address), private, "{text}");
        }
    }

    #[test]
    fn addresses_of_the_internet_may_be_checked() {
        check(
            "1.1.1.1 9.255.255.255 11.0.0.0 172.15.0.1 172.32.0.1 192.167.0.1 100.63.0.1 100.128.0.1 223.255.255.255",
            true,
            true,
        );
        check(
            "2606:4700::1 2001:4860::8888 2a00::1 64:ff9b::1.1.1.1 ::ffff:1.1.1.1 2002:101:101::1",
            true,
            true,
        );
    }

    #[test]
    fn private_addresses_only_if_asked() {
        check(
            "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 127.255.0.1 100.64.0.1 198.18.0.1 192.0.2.1",
            false,
            true,
        );
        check("::1 fd00:ec2::254 fc00::1 2001:db8::1 2001::1", false, true);
        check(
            "::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::10.0.0.1 2002:a00:1::1",
            false,
            true,
        );
    }

    #[test]
    fn link_local_addresses_never() {
        check(
            "169.254.169.254 169.254.0.1 0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255",
            false,
            false,
        );
        check(
            ":: fe80::1 febf::1 fec0::1 ff02::1 ::ffff:169.254.169.254 64:ff9b::169.254.169.254 2002:a9fe:a9fe:: ::10.0.0.1",
            false,
            false,
        );
    }
}
