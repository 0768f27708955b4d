//! Amounts of resources by name, and what the containers of a Pod amount to.

use std::collections::BTreeMap;

use kube_validation::Quantity;
use serde_json::Value;

/// Amounts by the name of the resource: a `ResourceList`.
pub(super) type ResourceList = BTreeMap<String, Quantity>;

/// Reads a `ResourceList`.
pub(super) fn parse(list: &Value) -> ResourceList {
    let amounts = list.as_object().into_iter().flatten();
    amounts
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::parse_or_huge(amount.as_str()?)?)))
        .collect()
}

/// The items of a list in a Pod's `spec`.
pub(super) fn items<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    pod["spec"][list].as_array().map_or(&[], Vec::as_slice)
}

/// What the containers of a Pod amount to: the sum of those that run together, but at least what the Pod needs while it
/// starts. `field`: `requests` or `limits`.
pub(super) fn of_containers(pod: &Value, field: &str) -> ResourceList {
    let own = |container: &Value| parse(&container["resources"][field]);
    let mut running = ResourceList::new();
    for container in items(pod, "containers") {
        add(&mut running, own(container));
    }
    // Sidecars start in between, and keep running.
    let (mut sidecars, mut starting) = (ResourceList::new(), ResourceList::new());
    for container in items(pod, "initContainers") {
        let mut now = own(container);
        if container["restartPolicy"] == "Always" {
            add(&mut running, now.clone());
            add(&mut sidecars, now);
            now = sidecars.clone();
        } else {
            add(&mut now, sidecars.clone());
        }
        raise(&mut starting, now);
    }
    raise(&mut running, starting);
    running
}

/// Adds amounts to others.
pub(super) fn add(to: &mut ResourceList, more: ResourceList) {
    for (name, amount) in more {
        to.entry(name).and_modify(|sum| *sum = *sum + amount).or_insert(amount);
    }
}

/// Raises amounts to others that are greater.
fn raise(to: &mut ResourceList, others: ResourceList) {
    for (name, amount) in others {
        to.entry(name).and_modify(|most| *most = (*most).max(amount)).or_insert(amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_need_their_share_only_at_the_start() {
        let needs = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let total = |init: &[Value], containers: &[Value]| {
            let pod = json!({"spec": {"initContainers": init, "containers": containers}});
            of_containers(&pod, "requests")["cpu"].to_string()
        };
        assert_eq!(total(&[], &[needs("100m"), needs("200m")]), "300m");
        assert_eq!(total(&[needs("250m"), needs("50m")], &[needs("100m")]), "250m");
        assert_eq!(total(&[sidecar("30m"), needs("250m")], &[needs("100m")]), "280m");
        assert_eq!(total(&[needs("50m"), sidecar("30m")], &[needs("100m")]), "130m");
    }
}
