//! Addresses and networks that are not written in their canonical form: `GetWarningsForIP` and `GetWarningsForCIDR`.

use std::net::IpAddr;

use kube_validation::go::{ip::Cidr, quote};
use serde_json::Value;

use super::fields::{items, text};
use crate::addresses::{sloppy, sloppy_network};

/// Warns of an address. Other values are ignored.
pub(super) fn ip(value: &Value, path: &str, warnings: &mut Vec<String>) {
    let shown = value.as_str().unwrap_or_default();
    let Some(address) = sloppy(shown) else { return };
    let strict = shown.parse::<IpAddr>().ok().filter(|address| !is_mapped(*address));
    let why = match strict {
        None => format!("non-standard IP address {} is invalid: use {:?}", quote(shown), unmapped(address)),
        Some(IpAddr::V6(v6)) if v6.to_string() != shown => {
            format!("IPv6 address {} should be in RFC 5952 canonical format (\"{v6}\")", quote(shown))
        }
        Some(_) => return,
    };
    warnings.push(format!("{path}: {why}"));
}

/// Warns of a network. Other values are ignored.
pub(super) fn network(value: &Value, path: &str, warnings: &mut Vec<String>) {
    let shown = value.as_str().unwrap_or_default();
    let Some(network) = sloppy_network(shown) else { return };
    let print = |network: Cidr| format!("{}/{}", unmapped(network.address), network.length);
    let mut found = Vec::new();
    if network.masked().address != network.address {
        let all = if network.address.is_ipv4() { 32 } else { 128 };
        found.push(format!(
            "CIDR value {} is ambiguous in this context (should be {:?} or {:?}?)",
            quote(shown),
            print(network.masked()),
            print(Cidr { length: all, ..network })
        ));
    }
    let strict = Cidr::parse(shown).ok().filter(|strict| !is_mapped(strict.address));
    if strict.is_none() {
        let standard = print(network.masked());
        found.push(format!("non-standard CIDR value {} is invalid: use {standard:?}", quote(shown)));
    }
    if found.is_empty() && network.address.is_ipv6() && print(network) != shown {
        found.push(format!(
            "IPv6 CIDR value {} should be in RFC 5952 canonical format ({:?})",
            quote(shown),
            print(network)
        ));
    }
    warnings.extend(found.into_iter().map(|why| format!("{path}: {why}")));
}

/// An address as Go prints it: an IPv4 address within IPv6 is one of IPv4.
fn unmapped(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Warns of the addresses of Endpoints, unless their controller wrote them.
pub(super) fn of_endpoints(endpoints: &Value, warnings: &mut Vec<String>) {
    let manager = text(&endpoints["metadata"]["labels"], "endpoints.kubernetes.io/managed-by");
    if manager == "endpoint-controller" {
        return;
    }
    for (subset, it) in items(&endpoints["subsets"]).iter().enumerate() {
        for list in ["addresses", "notReadyAddresses"] {
            for (index, address) in items(&it[list]).iter().enumerate() {
                ip(&address["ip"], &format!("subsets[{subset}].{list}[{index}].ip"), warnings);
            }
        }
    }
}

/// Warns of the addresses of an EndpointSlice, unless its controller wrote it.
pub(super) fn of_slice(slice: &Value, warnings: &mut Vec<String>) {
    let manager = text(&slice["metadata"]["labels"], "endpointslice.kubernetes.io/managed-by");
    let controllers = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
    if controllers.contains(&manager) {
        return;
    }
    for (number, endpoint) in items(&slice["endpoints"]).iter().enumerate() {
        for (index, address) in items(&endpoint["addresses"]).iter().enumerate() {
            ip(address, &format!("endpoints[{number}].addresses[{index}]"), warnings);
        }
    }
}

/// Warns of the networks of a NetworkPolicy.
pub(super) fn of_policy(spec: &Value, warnings: &mut Vec<String>) {
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (rule, it) in items(&spec[direction]).iter().enumerate() {
            for (peer, it) in items(&it[peers]).iter().enumerate() {
                let (block, path) =
                    (&it["ipBlock"], format!("spec.{direction}[{rule}].{peers}[{peer}].ipBlock"));
                network(&block["cidr"], &format!("{path}.cidr"), warnings);
                for (index, except) in items(&block["except"]).iter().enumerate() {
                    network(except, &format!("{path}.except[{index}]"), warnings);
                }
            }
        }
    }
}
