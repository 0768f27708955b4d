//! The plugin Priority: the priority of a Pod is that of its class, and at most one class is the default.

use serde_json::{Value, json};

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use crate::resource::{PODS, PRIORITY_CLASSES};
use crate::status::Status;
use crate::store::Store;

/// Sets the priority of a new Pod, and keeps that of others.
pub(super) fn mutate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    match old {
        _ if !request.is_for(PODS) => Ok(()),
        None => set(&cluster.store, pod).map_err(|why| request.forbidden(pod, &why)),
        Some(old) => {
            keep(pod, old);
            Ok(())
        }
    }
}

/// Refuses a second PriorityClass that wants to be the default.
pub(super) fn validate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    class: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PRIORITY_CLASSES) || class["globalDefault"] != true {
        return Ok(());
    }
    let other = default_class(&cluster.store);
    let other = other.filter(|other| old.is_none() || other["metadata"]["name"] != class["metadata"]["name"]);
    other.map_or(Ok(()), |other| {
        let name = other["metadata"]["name"].as_str().unwrap_or_default();
        let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
        Err(request.forbidden(class, &why))
    })
}

/// Sets the priority of a new Pod to that of the PriorityClass that it names, or of the global default.
///
/// # Errors
/// Fails if there is no such class, or if the Pod says another priority.
fn set(store: &Store, pod: &mut Value) -> Result<(), String> {
    let class = match pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty()) {
        Some(name) => {
            let class = store.get(PRIORITY_CLASSES.collection(), name);
            class.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?.value()
        }
        None => default_class(store)
            .unwrap_or_else(|| json!({"value": 0, "preemptionPolicy": "PreemptLowerPriority"})),
    };
    let spec = &mut pod["spec"];
    let computed = "priority admission controller computed";
    let priority = class["value"].as_i64().unwrap_or_default();
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != priority) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; {computed} {priority} from the given \
             PriorityClass name"
        ));
    }
    spec["priority"] = priority.into();
    if let Some(name) = class["metadata"]["name"].as_str() {
        spec["priorityClassName"] = name.into();
    }
    if let Some(policy) = class["preemptionPolicy"].as_str() {
        if let Some(given) = spec["preemptionPolicy"].as_str().filter(|given| *given != policy) {
            return Err(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; {computed} {policy} from the \
                 given PriorityClass name"
            ));
        }
        spec["preemptionPolicy"] = policy.into();
    }
    Ok(())
}

/// Keeps the priority of a Pod in an update that does not say it. One that says another value is refused later.
fn keep(pod: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if pod["spec"][field].is_null() && !old["spec"][field].is_null() {
            pod["spec"][field] = old["spec"][field].clone();
        }
    }
}

/// The class of Pods that name none: the one with the lowest value, if there are several.
fn default_class(store: &Store) -> Option<Value> {
    let all = store.all(PRIORITY_CLASSES.collection(), "");
    let all = all.iter().map(|class| class.value());
    all.filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}
