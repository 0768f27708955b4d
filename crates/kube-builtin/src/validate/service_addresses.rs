//! IPAddresses and ServiceCIDRs: `pkg/apis/networking/validation`.

use serde_json::{Value, json};

use super::errors::{Errors, items, text};
use crate::addresses::{canonical_network, sloppy_network};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

/// Checks the object that an IPAddress is for. The name, which is the address, is part of the metadata.
pub(super) fn address(object: &Value, errors: &mut Errors) {
    let spec = ROOT.child("spec");
    let (parent, path) = (&object["spec"]["parentRef"], spec.child("parentRef"));
    let group = text(parent, "group");
    if !group.is_empty() {
        errors.named(group, names::dns1123_subdomain, path.child("group"));
    }
    for field in ["resource", "name", "namespace"] {
        let name = text(parent, field);
        if !name.is_empty() {
            errors.named(name, names::path_segment, path.child(field));
        }
    }
    // kube-apiserver checks these rules, which are declared in tags, after those that are implemented in code.
    if parent.is_null() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    for field in ["resource", "name"] {
        errors.required(parent, field, &path, "");
    }
}

pub(super) fn update_address(new: &Value, old: &Value, errors: &mut Errors) {
    let spec = ROOT.child("spec");
    address(new, errors);
    errors.declared_immutable(&new["spec"]["parentRef"], &old["spec"]["parentRef"], spec.child("parentRef"));
}

/// Checks the networks of Services, of which there is one for each family of addresses.
pub(super) fn networks(object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], FieldPath::Root("spec.cidrs"));
    let all = items(&spec["cidrs"]);
    if all.is_empty() {
        errors.push(FieldError::required(path, "at least one CIDR required"));
        return;
    }
    if all.len() > 2 {
        let shown = json!({"CIDRs": all});
        errors.push(FieldError::invalid(path, &shown, "may only hold up to 2 values"));
        return;
    }
    for (index, network) in all.iter().enumerate() {
        errors.named(network.as_str().unwrap_or_default(), canonical_network, path.index(index));
    }
    let family = |network: &Value| Some(sloppy_network(network.as_str()?)?.address.is_ipv4());
    if let [one, other] = all
        && family(one).is_some()
        && family(one) == family(other)
    {
        let detail =
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(path, &spec["cidrs"], detail));
    }
}

/// Refuses all changes, except a second network.
pub(super) fn update_networks(new: &Value, old: &Value, errors: &mut Errors) {
    const IMMUTABLE: &str = "field is immutable";
    let path = FieldPath::Root("spec.cidrs");
    let (now, before) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
    let is_grown = before.len() == 1 && now.len() == 2;
    if now.len() != before.len() && !is_grown {
        errors.push(FieldError::invalid(path, &json!(now), IMMUTABLE));
        return;
    }
    for (index, (network, before)) in now.iter().zip(before).enumerate() {
        if network != before {
            errors.push(FieldError::invalid(path.index(index), network, IMMUTABLE));
        }
    }
    if is_grown {
        networks(new, errors);
    }
}
