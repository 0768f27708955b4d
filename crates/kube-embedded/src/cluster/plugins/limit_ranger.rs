//! The plugin LimitRanger: containers get the requests and limits of their namespace's LimitRanges, and Pods and
//! PersistentVolumeClaims have to keep to them.

use kube_validation::Quantity;
use kube_validation::go::aggregate;
use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::resources::{self, ResourceList};
use crate::resource::{LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS};
use crate::status::Status;
use crate::store::Store;
use crate::strategy::{self, is_deleted};

/// Says which values of a Pod are from a LimitRange.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// The greatest number of units that is compared in thousandths: `resource.MaxMilliValue`.
const MAX_MILLI: i64 = i64::MAX / 1000;

/// Gives the containers of a new Pod the requests and limits that they lack.
pub(super) fn mutate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if request.is_for(PODS) && old.is_none() {
        set_defaults(&cluster.store, request.namespace, pod);
    }
    Ok(())
}

/// Refuses a new Pod, or a claim, that does not keep to the limits.
pub(super) fn validate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let (store, namespace) = (&cluster.store, request.namespace);
    let checked = match old {
        Some(old) if is_deleted(old) => Ok(()),
        None if request.is_for(PODS) => check_pod(store, namespace, new),
        _ if request.is_for(PERSISTENT_VOLUME_CLAIMS) => check_claim(store, namespace, new),
        _ => Ok(()),
    };
    checked.map_err(|why| request.forbidden(new, &why))
}

/// Gives the containers of a Pod the requests and limits that they lack.
fn set_defaults(store: &Store, namespace: &str, pod: &mut Value) {
    for limits in limit_ranges(store, namespace) {
        let default = |field: &str| -> ResourceList {
            limits
                .iter()
                .filter(|it| it["type"] == "Container")
                .flat_map(|it| resources::parse(&it[field]))
                .collect()
        };
        let defaults = [("requests", default("defaultRequest")), ("limits", default("default"))];
        let mut set = Vec::new();
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                for (field, defaults) in &defaults {
                    let names = fill(&mut container["resources"], field, defaults);
                    if !names.is_empty() {
                        let name = container["name"].as_str().unwrap_or_default();
                        let (names, field) = (names.join(", "), field.trim_end_matches('s'));
                        set.push(format!("{names} {field} for {what} {name}"));
                    }
                }
            }
        }
        if !set.is_empty() {
            let text = format!("LimitRanger plugin set: {}", set.join("; "));
            strategy::metadata(pod);
            pod["metadata"]["annotations"][ANNOTATION] = text.into();
        }
    }
}

/// Sets the amounts that are missing in a list of a container's `resources`. Returns their names.
fn fill<'a>(resources: &mut Value, field: &str, defaults: &'a ResourceList) -> Vec<&'a str> {
    let missing = defaults.iter().filter(|(name, _)| resources[field].get(name.as_str()).is_none());
    let missing: Vec<_> = missing.map(|(name, amount)| (name.as_str(), amount.to_string())).collect();
    for (name, amount) in &missing {
        resources[field][*name] = amount.as_str().into();
    }
    missing.into_iter().map(|(name, _)| name).collect()
}

/// Refuses a Pod that does not keep to the limits.
fn check_pod(store: &Store, namespace: &str, pod: &Value) -> Result<(), String> {
    for limits in limit_ranges(store, namespace) {
        let mut errors = Vec::new();
        for limit in &limits {
            match limit["type"].as_str() {
                Some("Container") => {
                    for container in
                        ["containers", "initContainers"].iter().flat_map(|it| resources::items(pod, it))
                    {
                        let own = |field: &str| resources::parse(&container["resources"][field]);
                        check(limit, "Container", &own("requests"), &own("limits"), &mut errors);
                    }
                }
                Some("Pod") => {
                    check(limit, "Pod", &of_pod(pod, "requests"), &of_pod(pod, "limits"), &mut errors);
                }
                _ => {}
            }
        }
        one_error(errors)?;
    }
    Ok(())
}

/// Refuses a PersistentVolumeClaim that does not keep to the limits.
fn check_claim(store: &Store, namespace: &str, claim: &Value) -> Result<(), String> {
    const KIND: &str = "PersistentVolumeClaim";
    let requests = resources::parse(&claim["spec"]["resources"]["requests"]);
    for limits in limit_ranges(store, namespace) {
        let mut errors = Vec::new();
        for limit in limits.iter().filter(|limit| limit["type"] == KIND) {
            for (name, least) in &resources::parse(&limit["min"]) {
                errors.extend(below(KIND, name, *least, &requests, &ResourceList::new()));
            }
            for (name, most) in &resources::parse(&limit["max"]) {
                errors.extend(match requests.get(name) {
                    None => Some(unset("maximum", KIND, name, *most, "request")),
                    Some(request) => above(KIND, name, *most, *request, "request"),
                });
            }
        }
        one_error(errors)?;
    }
    Ok(())
}

/// The limits of each LimitRange in a namespace.
fn limit_ranges(store: &Store, namespace: &str) -> Vec<Vec<Value>> {
    let prefix = format!("{namespace}/");
    let page = store.all(LIMIT_RANGES.collection(), &prefix);
    let limits = page.iter().map(|object| match object.value()["spec"]["limits"].take() {
        Value::Array(limits) => limits,
        _ => Vec::new(),
    });
    limits.collect()
}

/// What a whole Pod requests, or is limited to.
fn of_pod(pod: &Value, field: &str) -> ResourceList {
    let mut total = resources::of_containers(pod, field);
    let own = resources::parse(&pod["spec"]["resources"][field]);
    total.extend(own.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")));
    total
}

/// Compares the amounts of a Pod or a container with a limit.
fn check(
    limit: &Value,
    kind: &str,
    requests: &ResourceList,
    limits: &ResourceList,
    errors: &mut Vec<String>,
) {
    for (name, least) in &resources::parse(&limit["min"]) {
        errors.extend(below(kind, name, *least, requests, limits));
    }
    for (name, most) in &resources::parse(&limit["max"]) {
        errors.extend(match limits.get(name) {
            None => Some(unset("maximum", kind, name, *most, "limit")),
            Some(limit) => above(kind, name, *most, *limit, "limit").or_else(|| {
                requests.get(name).and_then(|request| above(kind, name, *most, *request, "request"))
            }),
        });
    }
    for (name, most) in &resources::parse(&limit["maxLimitRequestRatio"]) {
        errors.extend(above_ratio(kind, name, *most, requests, limits));
    }
}

fn below(
    kind: &str,
    name: &str,
    least: Quantity,
    requests: &ResourceList,
    limits: &ResourceList,
) -> Option<String> {
    let Some(request) = requests.get(name) else {
        return Some(unset("minimum", kind, name, least, "request"));
    };
    let too_low = |(what, amount): (&str, &Quantity)| {
        let is_less = compared(*amount, least, i64::lt);
        is_less.then(|| format!("minimum {name} usage per {kind} is {least}, but {what} is {amount}"))
    };
    too_low(("request", request)).or_else(|| limits.get(name).and_then(|limit| too_low(("limit", limit))))
}

fn above(kind: &str, name: &str, most: Quantity, amount: Quantity, what: &str) -> Option<String> {
    let is_more = compared(amount, most, i64::gt);
    is_more.then(|| format!("maximum {name} usage per {kind} is {most}, but {what} is {amount}"))
}

fn unset(bound: &str, kind: &str, name: &str, value: Quantity, what: &str) -> String {
    format!("{bound} {name} usage per {kind} is {value}.  No {what} is specified")
}

fn above_ratio(
    kind: &str,
    name: &str,
    most: Quantity,
    requests: &ResourceList,
    limits: &ResourceList,
) -> Option<String> {
    let start = format!("{name} max limit to request ratio per {kind} is {most}, but");
    let amount = |list: &ResourceList| list.get(name).copied().filter(|it| !it.is_zero());
    let Some(request) = amount(requests) else {
        return Some(format!("{start} no request is specified or request is 0"));
    };
    let Some(limit) = amount(limits) else {
        return Some(format!("{start} no limit is specified or limit is 0"));
    };
    let ratio = limit.scaled_value(-3) as f64 / request.scaled_value(-3) as f64;
    let is_more = ratio * 1000.0 > most.scaled_value(-3) as f64;
    is_more.then(|| format!("{start} provided ratio is {ratio:.6}"))
}

/// Compares two amounts in thousandths, or in units if they are very large.
fn compared(a: Quantity, b: Quantity, compare: impl Fn(&i64, &i64) -> bool) -> bool {
    let is_large = |it: Quantity| it.scaled_value(0) > MAX_MILLI;
    let scale = if is_large(a) || is_large(b) { 0 } else { -3 };
    compare(&a.scaled_value(scale), &b.scaled_value(scale))
}

fn one_error(mut errors: Vec<String>) -> Result<(), String> {
    // Go's aggregate has each message once.
    let mut seen = std::collections::HashSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    if errors.is_empty() { Ok(()) } else { Err(aggregate(&errors)) }
}
