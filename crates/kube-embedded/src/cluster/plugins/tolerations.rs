//! Tolerations of Pods: the plugins PodTolerationRestriction and ExtendedResourceToleration, and how tolerations are combined.

use std::collections::BTreeSet;

use kube_validation::names;
use serde_json::{Map, Value, json};

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::resources::items;
use crate::resource::{NAMESPACES, PODS};
use crate::status::Status;
use crate::strategy;

/// The annotations of a namespace with the tolerations that its Pods get, and those that they may have.
const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/// Gives Pods the tolerations of their namespace, and one of nodes that are short of memory unless they are the first to be
/// evicted there.
pub(super) fn restrict(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) {
        return Ok(());
    }
    let defaults = if old.is_none() { annotated(cluster, request.namespace, DEFAULTS)? } else { None };
    let mut extra = defaults.unwrap_or_default();
    if strategy::pod::qos_class(pod) != "BestEffort" {
        let short = "node.kubernetes.io/memory-pressure";
        extra.push(json!({"key": short, "operator": "Exists", "effect": "NoSchedule"}));
    }
    if !extra.is_empty() {
        merge(&mut pod["spec"], &extra.into());
    }
    validate(cluster, request, pod, old)
}

/// Refuses Pods with tolerations that their namespace does not allow.
pub(super) fn validate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) {
        return Ok(());
    }
    let given = items(pod, "tolerations");
    if given.is_empty() {
        return Ok(());
    }
    let allowed = annotated(cluster, request.namespace, ALLOWED)?.unwrap_or_default();
    let is_allowed = |toleration: &Value| allowed.iter().any(|it| covers(it, toleration));
    if !allowed.is_empty() && !given.iter().all(is_allowed) {
        return Err(Status::internal(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist",
        ));
    }
    Ok(())
}

/// The tolerations in an annotation of a namespace.
fn annotated(cluster: &Cluster, namespace: &str, annotation: &str) -> Result<Option<Vec<Value>>, Status> {
    let Some(namespace) = cluster.store.get(NAMESPACES.collection(), namespace) else { return Ok(None) };
    match namespace.value()["metadata"]["annotations"][annotation].as_str() {
        None => Ok(None),
        Some("") => Ok(Some(Vec::new())),
        Some(text) => {
            let tolerations: Vec<Map<String, Value>> =
                serde_json::from_str(text).map_err(|error| Status::internal(error.to_string()))?;
            Ok(Some(tolerations.into_iter().map(Value::Object).collect()))
        }
    }
}

/// Lets Pods that request a device run on nodes that are kept for it.
pub(super) fn tolerate_extended_resources(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) {
        return Ok(());
    }
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| items(pod, list));
    let requests =
        containers.filter_map(|container| container["resources"]["requests"].as_object()).flatten();
    let names: BTreeSet<String> =
        requests.map(|(name, _)| name.clone()).filter(|name| is_extended(name)).collect();
    for name in names {
        let toleration = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
        let is_same = |it: &Value| {
            ["key", "operator", "effect", "value"]
                .iter()
                .all(|field| text(it, field) == text(&toleration, field))
        };
        let tolerations = &mut pod["spec"]["tolerations"];
        match tolerations.as_array_mut() {
            Some(all) => match all.iter_mut().find(|it| is_same(it)) {
                Some(same) => *same = toleration,
                None => all.push(toleration),
            },
            None => *tolerations = json!([toleration]),
        }
    }
    Ok(())
}

/// Whether the name is that of a resource that Kubernetes does not know.
fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.contains("kubernetes.io/")
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Adds tolerations to those of a Pod's `spec`. Of two, the one that covers the other stays: the first one, if they are equal.
pub(super) fn merge(spec: &mut Value, more: &Value) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let all = [list(&spec["tolerations"]), list(more)].concat();
    let mut merged: Vec<Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let is_covered_later =
            all[index + 1..].iter().any(|later| later != toleration && covers(later, toleration));
        if !is_covered_later && !merged.iter().any(|other| covers(other, toleration)) {
            merged.push(toleration.clone());
        }
    }
    if !merged.is_empty() {
        spec["tolerations"] = merged.into();
    }
}

/// Whether a toleration tolerates all that another one does: `isSuperset` of kubernetes' `pkg/util/tolerations`.
fn covers(wide: &Value, narrow: &Value) -> bool {
    if wide == narrow {
        return true;
    }
    let exists = text(wide, "operator") == "Exists";
    let is_any_key = text(wide, "key").is_empty() && exists;
    if text(narrow, "key") != text(wide, "key") && !is_any_key {
        return false;
    }
    let effect = text(wide, "effect");
    if !effect.is_empty() && effect != text(narrow, "effect") {
        return false;
    }
    let seconds = |toleration: &Value| toleration["tolerationSeconds"].as_i64();
    if effect == "NoExecute"
        && seconds(wide).is_some_and(|most| seconds(narrow).is_none_or(|seconds| seconds > most))
    {
        return false;
    }
    match text(wide, "operator") {
        "" | "Equal" => text(narrow, "operator") == "Equal" && text(narrow, "value") == text(wide, "value"),
        _ => exists,
    }
}

fn text<'a>(toleration: &'a Value, field: &str) -> &'a str {
    toleration[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_tolerations_the_wider_one_stays() {
        let merged = |first: Value, more: Value| {
            let mut spec = json!({"tolerations": first});
            merge(&mut spec, &more);
            spec["tolerations"].take()
        };
        let all = json!({"operator": "Exists"});
        let a = json!({"key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule"});
        let any_a = json!({"key": "a", "operator": "Exists"});
        assert_eq!(merged(json!([a]), json!([any_a])), json!([any_a]));
        assert_eq!(merged(json!([any_a]), json!([a, a])), json!([any_a]));
        assert_eq!(merged(json!([a, any_a]), json!([all])), json!([all]));
        let (short, long) = (
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}),
        );
        assert_eq!(merged(json!([short]), json!([long])), json!([long]));
        assert_eq!(merged(json!([a]), json!([short])), json!([a, short]));
        assert_eq!(merged(Value::Null, Value::Null), Value::Null);
    }
}
