//! The plugin RuntimeClass: what a Pod's container runtime costs, and where it is.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::resources;
use super::tolerations::merge;
use crate::resource::{PODS, RUNTIME_CLASSES};
use crate::status::Status;

/// Gives a new Pod the overhead, the node labels and the tolerations of its RuntimeClass.
pub(super) fn mutate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) || old.is_some() {
        return Ok(());
    }
    let class = class_of(cluster, request, pod)?;
    if class["overhead"].is_object() {
        let given = resources::parse(&pod["spec"]["overhead"]);
        if !given.is_empty() && given != resources::parse(&class["overhead"]["podFixed"]) {
            return Err(request.forbidden(pod, MISMATCH));
        }
        pod["spec"]["overhead"] = class["overhead"]["podFixed"].clone();
    }
    let scheduling = &class["scheduling"];
    if !scheduling.is_object() {
        return Ok(());
    }
    for (label, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let given = &pod["spec"]["nodeSelector"][label];
        if !given.is_null() && given != value {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{label}] = {}; pod.spec.nodeSelector[{label}] = {}",
                text(value),
                text(given)
            );
            return Err(request.forbidden(pod, &why));
        }
        pod["spec"]["nodeSelector"][label] = value.clone();
    }
    merge(&mut pod["spec"], &scheduling["tolerations"]);
    Ok(())
}

/// Refuses a new Pod whose overhead is not that of its RuntimeClass.
pub(super) fn validate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) || old.is_some() {
        return Ok(());
    }
    let class = class_of(cluster, request, pod)?;
    let overhead = &pod["spec"]["overhead"];
    match class["overhead"].is_object() {
        true if resources::parse(&class["overhead"]["podFixed"]) != resources::parse(overhead) => {
            Err(request.forbidden(pod, MISMATCH))
        }
        false if !overhead.is_null() => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            Err(request.forbidden(pod, why))
        }
        _ => Ok(()),
    }
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// The class that a Pod names. Null if it names none.
fn class_of(cluster: &Cluster, request: &AdmissionRequest<'_>, pod: &Value) -> Result<Value, Status> {
    let Some(name) = pod["spec"]["runtimeClassName"].as_str() else { return Ok(Value::Null) };
    let class = cluster.store.get(RUNTIME_CLASSES.collection(), name);
    let missing = || request.forbidden(pod, &format!("pod rejected: RuntimeClass {name:?} not found"));
    Ok(class.ok_or_else(missing)?.value())
}
