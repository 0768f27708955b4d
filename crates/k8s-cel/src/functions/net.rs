//! Addresses and networks: apiserver's `ip.go` and `cidr.go`.

use std::net::IpAddr;

use super::arguments::{Table, mismatch, text};
use crate::{
    go::{self, Cidr},
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

pub(super) const TABLE: Table = &[
    ("string_to_ip", |args| address(text(args, 0)?).map(Value::opaque)),
    ("is_ip", |args| Ok(Value::Bool(address(text(args, 0)?).is_ok()))),
    ("ip_is_canonical", |args| {
        let text = text(args, 0)?;
        Ok(Value::Bool(address(text)?.to_string() == text))
    }),
    ("ip_to_string", |args| of_address(args, |address| Value::string(address.to_string()))),
    ("ip_family", |args| of_address(args, |address| Value::Int(if address.is_ipv4() { 4 } else { 6 }))),
    ("ip_is_unspecified", |args| of_address(args, |address| Value::Bool(address.is_unspecified()))),
    ("ip_is_loopback", |args| of_address(args, |address| Value::Bool(address.is_loopback()))),
    ("ip_is_link_local_multicast", |args| {
        of_address(args, |address| Value::Bool(go::is_link_local_multicast(address)))
    }),
    ("ip_is_link_local_unicast", |args| {
        of_address(args, |address| Value::Bool(go::is_link_local_unicast(address)))
    }),
    ("ip_is_global_unicast", |args| of_address(args, |address| Value::Bool(go::is_global_unicast(address)))),
    ("string_to_cidr", |args| network(text(args, 0)?).map(Value::opaque)),
    ("is_cidr", |args| Ok(Value::Bool(Cidr::parse(text(args, 0)?).is_ok()))),
    ("cidr_to_string", |args| of_network(args, |network| Value::string(network.to_string()))),
    ("cidr_ip", |args| of_network(args, |network| Value::opaque(network.address))),
    ("cidr_prefix_length", |args| of_network(args, |network| Value::Int(network.length.into()))),
    ("cidr_masked", |args| of_network(args, |network| Value::opaque(network.masked()))),
    ("cidr_contains_ip_ip", contains_address),
    ("cidr_contains_ip_string", contains_address),
    ("cidr_contains_cidr", contains_network),
    ("cidr_contains_cidr_string", contains_network),
];

fn address(text: &str) -> Result<IpAddr, Error> {
    go::parse_ip(text).map_err(Error::new)
}

fn network(text: &str) -> Result<Cidr, Error> {
    Cidr::parse(text).map_err(|error| {
        Error::new(format!("network address parse error during conversion from string: {error}"))
    })
}

fn of_address<'a>(args: &[Value<'a>], compute: impl Fn(IpAddr) -> Value<'a>) -> Evaluated<'a> {
    match args {
        [value] => value.downcast().map_or_else(mismatch, |address: &IpAddr| Ok(compute(*address))),
        _ => mismatch(),
    }
}

fn of_network<'a>(args: &[Value<'a>], compute: impl Fn(Cidr) -> Value<'a>) -> Evaluated<'a> {
    match args {
        [value] => value.downcast().map_or_else(mismatch, |network: &Cidr| Ok(compute(*network))),
        _ => mismatch(),
    }
}

fn contains_address<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let [whole, part] = args else { return mismatch() };
    let part = match part {
        // A text that is no address is like an argument of another type.
        Value::String(text) => address(text).ok(),
        part => part.downcast().copied(),
    };
    match (whole.downcast::<Cidr>(), part) {
        (Some(network), Some(address)) => Ok(Value::Bool(network.contains(address))),
        _ => mismatch(),
    }
}

fn contains_network<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let [whole, part] = args else { return mismatch() };
    let part = match part {
        Value::String(text) => Some(network(text)?),
        part => part.downcast().copied(),
    };
    match (whole.downcast::<Cidr>(), part) {
        (Some(network), Some(part)) => Ok(Value::Bool(network.contains_cidr(part))),
        _ => mismatch(),
    }
}

impl Opaque for IpAddr {
    fn type_of(&self) -> Type {
        Type::Opaque("net.IP".into(), [].into())
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        Ok(self == other.downcast::<Self>().ok_or_else(Error::no_such_overload)?)
    }

    fn size(&self) -> u64 {
        if self.is_ipv4() { 4 } else { 16 }
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Opaque for Cidr {
    fn type_of(&self) -> Type {
        Type::Opaque("net.CIDR".into(), [].into())
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        Ok(self == other.downcast::<Self>().ok_or_else(Error::no_such_overload)?)
    }

    fn size(&self) -> u64 {
        u64::from(self.length).div_ceil(8)
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}
