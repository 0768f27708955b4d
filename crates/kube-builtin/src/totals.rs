//! What a Pod asks for as a whole, and its containers together: `resourcehelper.AggregateContainerRequests`.

use std::collections::BTreeMap;

use kube_validation::Quantity;
use serde_json::Value;

/// What the names of huge pages begin with.
pub(crate) const HUGE_PAGES: &str = "hugepages-";

type Amounts<'a> = BTreeMap<&'a str, Quantity>;

pub(crate) fn is_huge(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// Whether a Pod can ask for a resource as a whole: `IsSupportedPodLevelResource`.
pub fn is_resource_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge(name)
}

/// Returns the sum of `requests` or `limits` of the containers that run at the same time, or what an init container takes, if
/// that is more.
pub(crate) fn of_containers<'a>(spec: &'a Value, kind: &str) -> Amounts<'a> {
    let (mut total, mut sidecars, mut init) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in containers(spec, "containers") {
        add(&mut total, &amounts(container, kind));
    }
    for container in containers(spec, "initContainers") {
        let mut own = amounts(container, kind);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut init, &own);
    }
    raise(&mut total, &init);
    total
}

fn containers<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    spec[list].as_array().into_iter().flatten()
}

fn amounts<'a>(container: &'a Value, kind: &str) -> Amounts<'a> {
    let all = container["resources"][kind].as_object().into_iter().flatten();
    all.filter_map(|(name, amount)| Some((name.as_str(), amount.as_str()?.parse().ok()?))).collect()
}

fn add<'a>(total: &mut Amounts<'a>, others: &Amounts<'a>) {
    for (name, amount) in others {
        total.entry(name).and_modify(|sum| *sum = *sum + *amount).or_insert(*amount);
    }
}

fn raise<'a>(least: &mut Amounts<'a>, others: &Amounts<'a>) {
    for (name, amount) in others {
        least.entry(name).and_modify(|most| *most = (*most).max(*amount)).or_insert(*amount);
    }
}
