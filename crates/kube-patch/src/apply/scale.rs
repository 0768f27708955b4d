//! The owners of an object's replicas after a write of its scale: `ScaleHandler` of `k8s.io/apimachinery`'s `managedfields`.

use serde_json::Value;

use super::managed::{self, Managed, Manager, Operation, Owned};
use super::set::{PathElement, Set};
use super::{Writer, finish, name_of};

/// The version of every scale.
const SCALE: &str = "autoscaling/v1";

/// Updates `new`'s managedFields after a write of its scale, which is about the field at `replicas`.
///
/// As in kube-apiserver, every such write gives the updaters that own the replicas an entry of their own for them, without a
/// time, and nobody owns replicas of 0. If nobody owned them before, nothing is recorded.
pub fn track_scale(replicas: &[&str], live: &Value, new: &mut Value, writer: &Writer<'_>) {
    managed::take(new);
    let mut live = live.clone();
    let before = Managed::decode(managed::take(&mut live).as_ref()).unwrap_or_default();
    let path: Vec<_> = replicas.iter().map(|&name| PathElement::Field(name.into())).collect();
    let in_scale =
        |manager: &Manager| Manager::new(&manager.name, manager.operation, SCALE, &manager.subresource);
    let mut owners: Vec<Manager> = before
        .0
        .iter()
        .filter(|(_, owned)| owned.set.has(&path))
        .map(|(manager, _)| in_scale(manager))
        .collect();
    let (was, is) = (at(&live, replicas), at(new, replicas));
    if !owners.is_empty() && was != is {
        owners.clear();
        if is.is_some() {
            owners.push(Manager::new(name_of(writer), Operation::Update, SCALE, writer.subresource));
        }
    }
    let mut only_replicas = Set::default();
    only_replicas.insert(&path);
    let mut after = Managed::default();
    for (manager, owned) in &before.0 {
        let kept = match owners.iter().position(|owner| owner == manager) {
            // Only an applier has the same identity in both versions.
            Some(owner) => {
                owners.swap_remove(owner);
                owned.clone()
            }
            None => Owned { set: owned.set.clone().difference(&only_replicas), ..owned.clone() },
        };
        if !kept.set.is_empty() {
            after.0.insert(manager.clone(), kept);
        }
    }
    for owner in owners {
        let api_version = writer.api_version.to_owned();
        after.0.insert(owner, Owned { set: only_replicas.clone(), api_version, time: None });
    }
    finish(new, &live, &after, &before);
}

/// The replicas of an object, as a scale shows them: 0 is omitted.
fn at(object: &Value, replicas: &[&str]) -> Option<i64> {
    let found = replicas.iter().try_fold(object, |value, &name| value.get(name))?;
    found.as_i64().filter(|&replicas| replicas != 0)
}
