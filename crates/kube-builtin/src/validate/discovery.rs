//! Endpoints and EndpointSlices: `pkg/apis/core/validation` and `pkg/apis/discovery/validation`.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use super::errors::{Errors, PORT, items, port_number, text};
use crate::addresses::{address, sloppy};
use kube_validation::{
    FieldError, FieldPath,
    go::ip::{is_link_local_multicast, is_link_local_unicast},
    names,
};

const ROOT: FieldPath<'static> = FieldPath::Root("");
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks Endpoints. `old` is null for new ones.
pub(super) fn endpoints(object: &Value, old: &Value, errors: &mut Errors) {
    if object["subsets"] != old["subsets"] {
        errors.each(object, "subsets", &ROOT, subset);
    }
}

fn subset(subset: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let lists = ["addresses", "notReadyAddresses"];
    if lists.iter().all(|list| items(&subset[*list]).is_empty()) {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for list in lists {
        errors.each(subset, list, path, endpoint_address);
    }
    let several = items(&subset["ports"]).len() > 1;
    errors.each(subset, "ports", path, |port, path, errors| {
        if text(port, "name").is_empty() {
            if several {
                errors.push(FieldError::required(path.child("name"), ""));
            }
        } else {
            errors.named(text(port, "name"), names::dns1123_label, path.child("name"));
        }
        if !port_number(&port["port"]) {
            errors.push(FieldError::invalid(path.child("port"), &port["port"], PORT));
        }
        protocol(port, path, errors);
    });
}

fn protocol(port: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required_one_of(port, "protocol", path, &PROTOCOLS);
    if let Some(protocol) = port["appProtocol"].as_str() {
        errors.named(protocol, names::qualified_name, path.child("appProtocol"));
    }
}

fn endpoint_address(item: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (ip, field) = (text(item, "ip"), path.child("ip"));
    errors.named(ip, address, field);
    if !text(item, "hostname").is_empty() {
        errors.named(text(item, "hostname"), names::dns1123_label, path.child("hostname"));
    }
    if let Some(node) = item["nodeName"].as_str() {
        errors.named(node, names::dns1123_subdomain, path.child("nodeName"));
    }
    reachable(ip, field, errors);
}

/// Refuses the addresses that are no endpoint of anything.
fn reachable(text: &str, path: FieldPath<'_>, errors: &mut Errors) {
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(path, &text.into(), detail));
    let Some(ip) = sloppy(text).map(|ip| ip.to_canonical()) else {
        wrong("must be a valid IP address");
        return;
    };
    if ip.is_unspecified() {
        wrong(&format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        wrong("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if is_link_local_unicast(ip) {
        wrong("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if is_link_local_multicast(ip) {
        wrong("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Checks an EndpointSlice. `old` is null for a new one.
pub(super) fn slice(object: &Value, old: &Value, errors: &mut Errors) {
    if !old.is_null() {
        address_type(object, errors);
    }
    slice_ports(object, errors);
    let is_changed = object["endpoints"] != old["endpoints"];
    let all = items(&object["endpoints"]);
    if is_changed && all.len() > 1000 {
        errors.push(FieldError::too_many("endpoints", all.len(), 1000));
    } else if is_changed {
        let kind = text(object, "addressType");
        errors.each(object, "endpoints", &ROOT, |it, path, errors| endpoint(it, kind, path, errors));
    }
    // kube-apiserver checks these rules, which are declared in tags, after those that are implemented in code.
    errors.required(object, "addressType", &ROOT, "");
    if old.is_null() {
        address_type(object, errors);
    } else {
        errors.declared_immutable(&object["addressType"], &old["addressType"], ROOT.child("addressType"));
    }
    if is_changed {
        errors.each(object, "endpoints", &ROOT, |endpoint, path, errors| {
            let (count, field) = (items(&endpoint["addresses"]).len(), path.child("addresses"));
            if count == 0 {
                errors.push(FieldError::required(field, ""));
            } else if count > 100 {
                errors.push(FieldError::too_many(field, count, 100));
            }
        });
    }
}

fn address_type(object: &Value, errors: &mut Errors) {
    if !text(object, "addressType").is_empty() {
        errors.one_of(&object["addressType"], &["FQDN", "IPv4", "IPv6"], ROOT.child("addressType"));
    }
}

fn slice_ports(object: &Value, errors: &mut Errors) {
    let count = items(&object["ports"]).len();
    if count > 20000 {
        errors.push(FieldError::too_many("ports", count, 20000));
        return;
    }
    let mut seen = HashSet::new();
    errors.each(object, "ports", &ROOT, |port, path, errors| {
        let (name, field) = (text(port, "name"), path.child("name"));
        if !name.is_empty() {
            errors.named(name, names::dns1123_label, field);
        }
        if !seen.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(field, &name.into()));
        }
        protocol(port, path, errors);
    });
}

fn endpoint(endpoint: &Value, kind: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let list = path.child("addresses");
    for (index, item) in items(&endpoint["addresses"]).iter().enumerate() {
        let address = item.as_str().unwrap_or_default();
        match kind {
            "IPv4" => v4(address, &list, index, errors),
            "IPv6" => v6(address, &list, index, errors),
            "FQDN" => fully_qualified(address, &list.index(index), errors),
            _ => {}
        }
    }
    if let Some(node) = endpoint["nodeName"].as_str() {
        errors.named(node, names::dns1123_subdomain, path.child("nodeName"));
    }
    if let Some(hostname) = endpoint["hostname"].as_str() {
        errors.named(hostname, names::dns1123_label, path.child("hostname"));
    }
    let hints = path.child("hints");
    // Too many zones end the check.
    if hinted(&endpoint["hints"], "forZones", names::label_value, &hints, errors) {
        hinted(&endpoint["hints"], "forNodes", names::dns1123_subdomain, &hints, errors);
    }
}

/// Checks the names in a list of hints. Returns whether there are few enough.
fn hinted(
    hints: &Value,
    list: &str,
    check: fn(&str) -> Vec<String>,
    path: &FieldPath<'_>,
    errors: &mut Errors,
) -> bool {
    let count = items(&hints[list]).len();
    if count > 8 {
        errors.push(FieldError::too_many(path.child(list), count, 8));
        return false;
    }
    let mut seen = HashSet::new();
    errors.each(hints, list, path, |hint, path, errors| {
        let (name, field) = (text(hint, "name"), path.child("name"));
        if !seen.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(field, &name.into()));
        }
        errors.named(name, check, field);
    });
    true
}

fn v4(text: &str, list: &FieldPath<'_>, index: usize, errors: &mut Errors) {
    let wrong = address(text);
    if !wrong.is_empty() {
        errors.named(text, address, list.index(index));
        return;
    }
    if !sloppy(text).is_some_and(|ip| ip.is_ipv4()) {
        errors.push(FieldError::invalid(list, &text.into(), "must be an IPv4 address"));
    }
    reachable(text, list.index(index), errors);
}

fn v6(text: &str, list: &FieldPath<'_>, index: usize, errors: &mut Errors) {
    let canonical = text.parse::<IpAddr>().map(|ip| ip.to_string()).unwrap_or_default();
    let wrong = address(text);
    if !wrong.is_empty() {
        errors.named(text, address, list.index(index));
        return;
    }
    if canonical != text {
        let detail = format!("must be in canonical form ({})", kube_validation::go::quote(&canonical));
        errors.push(FieldError::invalid(list.index(index), &text.into(), &detail));
        return;
    }
    if !sloppy(text).is_some_and(|ip| ip.is_ipv6()) {
        errors.push(FieldError::invalid(list, &text.into(), "must be an IPv6 address"));
    }
    reachable(text, list.index(index), errors);
}

fn fully_qualified(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let wrong = names::dns1123_subdomain(name).join(",");
    let detail = match name.split('.').find(|label| !names::dns1123_label(label).is_empty()) {
        _ if !wrong.is_empty() => wrong,
        _ if !name.contains('.') => {
            "should be a domain with at least two segments separated by dots".to_owned()
        }
        Some(label) => {
            let detail = names::dns1123_label(label).join(",");
            errors.push(FieldError::invalid(path, &label.into(), &detail));
            return;
        }
        None => return,
    };
    errors.push(FieldError::invalid(path, &name.into(), &detail));
}
