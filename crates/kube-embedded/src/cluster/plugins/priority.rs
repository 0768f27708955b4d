//! The plugin Priority: the priority of a Pod is that of its class, and at most one class is the default.

use serde_json::{Value, json};

use crate::resource::PRIORITY_CLASSES;
use crate::store::Store;

/// Sets the priority of a new Pod to that of the PriorityClass that it names, or of the global default.
///
/// # Errors
/// Fails if there is no such class, or if the Pod says another priority.
pub(super) fn set(store: &Store, pod: &mut Value) -> Result<(), String> {
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
pub(super) fn keep(pod: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if pod["spec"][field].is_null() && !old["spec"][field].is_null() {
            pod["spec"][field] = old["spec"][field].clone();
        }
    }
}

/// Refuses a second PriorityClass that wants to be the default.
pub(super) fn check_class(store: &Store, class: &Value, is_new: bool) -> Result<(), String> {
    let other = default_class(store).filter(|_| class["globalDefault"] == true);
    let other = other.filter(|other| is_new || other["metadata"]["name"] != class["metadata"]["name"]);
    other.map_or(Ok(()), |other| {
        let name = other["metadata"]["name"].as_str().unwrap_or_default();
        Err(format!("PriorityClass {name} is already marked as default. Only one default can exist"))
    })
}

/// The class of Pods that name none: the one with the lowest value, if there are several.
fn default_class(store: &Store) -> Option<Value> {
    let all = store.all(PRIORITY_CLASSES.collection(), "");
    let all = all.iter().map(|class| class.value());
    all.filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}
