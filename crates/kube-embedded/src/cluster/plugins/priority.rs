//! The plugin Priority: the priority of a Pod is that of its class.

use serde_json::Value;

use crate::resource::PRIORITY_CLASSES;
use crate::store::{Range, Store};
use crate::strategy;

/// Sets the priority of a new Pod to that of the PriorityClass that it names, or of the global default.
///
/// # Errors
/// Fails if there is no such class.
pub(super) fn set(store: &Store, pod: &mut Value) -> Result<(), String> {
    let classes = PRIORITY_CLASSES.collection();
    let class = match pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty()) {
        Some(name) => {
            let class = store.get(classes, name);
            Some(class.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?.value())
        }
        None => {
            let all = store.list(classes, Range::default(), None).unwrap_or_default();
            all.objects.iter().map(|class| class.value()).find(|class| class["globalDefault"] == true)
        }
    };
    strategy::pod::set_priority(pod, class.as_ref());
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
