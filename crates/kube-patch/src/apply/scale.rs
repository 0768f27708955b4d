//! The owners of an object's replicas after a write of its scale: `ScaleHandler` of `k8s.io/apimachinery`'s `managedfields`.

use serde_json::Value;

use super::managed::{Managed, Manager, Operation, Owned};
use super::set::{PathElement, Set};

/// The version of every scale.
const VERSION: &str = "autoscaling/v1";

/// A write of a scale.
pub(super) struct Write<'a> {
    /// The path of the replicas in the object.
    pub(super) replicas: &'a [&'a str],
    pub(super) live: &'a Value,
    pub(super) new: &'a Value,
    /// The writer, and the version of the object.
    pub(super) manager: &'a str,
    pub(super) subresource: &'a str,
    pub(super) api_version: &'a str,
}

impl Write<'_> {
    /// The entries of the object after the write.
    pub(super) fn owners(&self, before: &Managed) -> Managed {
        let path: Vec<_> = self.replicas.iter().map(|&name| PathElement::Field(name.into())).collect();
        let mut only_replicas = Set::default();
        only_replicas.insert(&path);
        let mut owners = self.owners_in_scale(before, &path);
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
            let api_version = self.api_version.to_owned();
            after.0.insert(owner, Owned { set: only_replicas.clone(), api_version, time: None });
        }
        after
    }

    /// The owners of the replicas, as entries of the scale.
    fn owners_in_scale(&self, before: &Managed, path: &[PathElement]) -> Vec<Manager> {
        let owners = before.0.iter().filter(|(_, owned)| owned.set.has(path));
        let in_scale = |it: &Manager| Manager::new(&it.name, it.operation, VERSION, &it.subresource);
        let owners: Vec<_> = owners.map(|(manager, _)| in_scale(manager)).collect();
        let new = self.shown(self.new);
        if owners.is_empty() || self.shown(self.live) == new {
            return owners;
        }
        let writer = Manager::new(self.manager, Operation::Update, VERSION, self.subresource);
        new.map(|_| writer).into_iter().collect()
    }

    /// The replicas of an object, as a scale shows them: 0 is omitted.
    fn shown(&self, object: &Value) -> Option<i64> {
        let found = self.replicas.iter().try_fold(object, |value, &name| value.get(name))?;
        found.as_i64().filter(|&replicas| replicas != 0)
    }
}
