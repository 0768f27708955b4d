//! What Pods and containers ask for: `validateResourceRequirements`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::{Errors, items, members, text};
use super::quantities::{amount, container_resource, is_native, quantity, resource};
use crate::totals::{self, HUGE_PAGES, is_huge, is_resource_of_pods};
use kube_validation::{FieldError, FieldPath, Quantity, names};

type Check = fn(&str, &FieldPath<'_>, &mut Errors);

/// Checks the resources of a container. `claims`: those that its Pod has.
pub(super) fn container(resources: &Value, claims: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    requirements(resources, container_resource, path, errors);
    claim_names(&resources["claims"], claims, &path.child("claims"), errors);
}

/// Checks the resources of a whole Pod.
pub(super) fn pod(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (resources, path) = (&spec["resources"], path.child("resources"));
    if resources.is_null() {
        return;
    }
    if spec["os"]["name"] == "windows" {
        errors.push(FieldError::forbidden(path, "may not be set for a windows pod"));
        return;
    }
    let claims = path.child("claims");
    if !resources["claims"].is_null() {
        errors.push(FieldError::forbidden(claims, "claims may not be set for Resources at pod-level"));
    }
    requirements(resources, pod_resource, &path, errors);
    claim_names(&resources["claims"], &spec["resourceClaims"], &claims, errors);
    totals(spec, &path, errors);
}

/// Checks that the containers of a Pod do not ask for more than it does.
fn totals(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let resources = &spec["resources"];
    for (kind, field) in [("requests", path.child("requests")), ("limits", path.child("limits"))] {
        for (name, total) in totals::of_containers(spec, kind) {
            let own = &resources[kind][name];
            let counts = kind == "requests" || is_huge(name);
            if counts && quantity(own).is_some_and(|own| total > own) {
                let detail =
                    format!("must be greater than or equal to aggregate container {kind} of {total}");
                errors.push(FieldError::invalid(field.key(name), own, &detail));
            }
        }
    }
    errors.each(spec, "containers", path, |container, path, errors| {
        for (name, limit) in members(&container["resources"]["limits"]) {
            let most = &resources["limits"][name];
            if quantity(limit).zip(quantity(most)).is_some_and(|(limit, most)| limit > most) {
                let path = path.key(name);
                let detail = format!("must be less than or equal to pod limits of {}", shown(most));
                errors.push(FieldError::invalid(path.child("limits"), limit, &detail));
            }
        }
    });
}

fn is_basic(name: &str) -> bool {
    ["cpu", "memory"].contains(&name)
}

fn shown(amount: &Value) -> &str {
    amount.as_str().unwrap_or_default()
}

/// Checks the name of a resource that a whole Pod can ask for.
fn pod_resource(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let before = errors.all.len();
    resource(name, path, errors);
    if errors.all.len() == before && !is_resource_of_pods(name) {
        let known = ["cpu", HUGE_PAGES, "memory"];
        errors.push(FieldError::not_supported(path, &name.into(), &known));
    }
}

fn requirements(resources: &Value, check: Check, path: &FieldPath<'_>, errors: &mut Errors) {
    // Names without a prefix come first.
    let sorted = |field: &str| {
        let mut all: Vec<_> = members(&resources[field]).collect();
        all.sort_by_key(|(name, _)| (name.contains('/'), *name));
        all
    };
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    for (name, value) in sorted("limits") {
        let path = limits.key(name);
        check(name, &path, errors);
        amount(name, value, &path, errors);
        huge_page(name, value, &path, errors);
    }
    for (name, value) in sorted("requests") {
        let path = requests.key(name);
        check(name, &path, errors);
        amount(name, value, &path, errors);
        let limit = &resources["limits"][name];
        let can_be_less = is_native(name) && !is_huge(name);
        let relation = match (quantity(value), quantity(limit)) {
            (Some(asked), Some(most)) if asked != most && !can_be_less => "equal to",
            (Some(asked), Some(most)) if asked > most => "less than or equal to",
            _ => "",
        };
        if !relation.is_empty() {
            let detail = format!("must be {relation} {name} limit of {}", shown(limit));
            errors.push(FieldError::invalid(requests, value, &detail));
        } else if limit.is_null() && !can_be_less {
            let detail = "Limit must be set for non overcommitable resources";
            errors.push(FieldError::required(limits, detail));
        }
        huge_page(name, value, &path, errors);
    }
    let has = |test: fn(&str) -> bool| {
        ["limits", "requests"].iter().any(|field| members(&resources[*field]).any(|(name, _)| test(name)))
    };
    if has(is_huge) && !has(is_basic) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

/// Refuses an amount of memory that no number of pages has.
fn huge_page(name: &str, value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let Some(size) = name.strip_prefix(HUGE_PAGES) else { return };
    let size = size.parse::<Quantity>().ok().filter(|size| size.is_whole()).map(|size| size.scaled_value(0));
    let bytes = quantity(value).map_or(0, |amount| amount.scaled_value(0));
    if size.is_none_or(|size| size <= 0 || bytes % size != 0) {
        let detail = format!("{} is not positive integer multiple of {name}", shown(value));
        errors.push(FieldError::invalid(path, value, &detail));
    }
}

/// Checks the claims that a container uses, or single requests of theirs.
fn claim_names(claims: &Value, known: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    let known: BTreeSet<_> =
        items(known).iter().map(|claim| text(claim, "name")).filter(|name| !name.is_empty()).collect();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (index, claim) in items(claims).iter().enumerate() {
        let (path, name, request) = (list.index(index), text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        if used.contains(name) {
            errors.push(FieldError::duplicate(path, &name.into()));
        } else {
            let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
            if !request.is_empty() {
                errors.named(request, names::dns1123_label, path.child("request"));
            }
            let parts = format!("{name}/");
            let has_parts = || used.range(parts.clone()..).next().is_some_and(|it| it.starts_with(&parts));
            if used.contains(&key) {
                errors.push(FieldError::duplicate(path, &key.as_str().into()));
            } else if request.is_empty() && has_parts() {
                errors.push(FieldError::duplicate(path, &name.into()));
            }
            used.insert(key);
        }
        if !known.contains(name) && !errors.is_full() {
            let mut error = FieldError::not_found(path, &name.into());
            error.message.push_str(": must be one of the names in pod.spec.resourceClaims");
            let others: Vec<_> = known.iter().copied().collect();
            error.message += &match known.is_empty() {
                true => " which is empty".to_owned(),
                false => format!(": {}", others.join(", ")),
            };
            errors.push(error);
        }
    }
}
