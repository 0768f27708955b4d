//! The effect of a write on ownership, and of an apply on the object: structured-merge-diff's `merge.Updater`.

use std::sync::LazyLock;

use serde_json::Value;

use super::managed::{Managed, Manager, Operation, Owned};
use super::set::{PathElement, Set, equal};
use super::walk::{self, Comparison};
use crate::types::Type;

/// The fields that an apply would take from others, by manager.
pub(super) type Conflicts = Vec<(Manager, Vec<Vec<PathElement>>)>;

/// The reason why an apply was refused.
pub(super) enum Error {
    Conflicts(Conflicts),
    Merge(String),
}

/// A write to one object.
#[derive(Clone, Copy)]
pub(super) struct Update<'a> {
    pub(super) kind: Type<'a>,
    pub(super) live: &'a Value,
    pub(super) manager: &'a Manager,
    pub(super) api_version: &'a str,
    /// Fields that this endpoint ignores in requests.
    pub(super) reset: &'a Set,
}

impl Update<'_> {
    /// Merges a configuration into the live object. `None` if this changes nothing.
    pub(super) fn apply(
        &self,
        config: &Value,
        managed: &mut Managed,
        force: bool,
    ) -> Result<Option<Value>, Error> {
        self.reconcile(managed);
        let merged =
            walk::merge(self.kind, Some(self.live), Some(config)).map_err(Error::Merge)?.unwrap_or_default();
        let last = managed.0.get(self.manager).map(|owned| owned.set.clone());
        let time = managed.0.get(self.manager).and_then(|owned| owned.time.clone());
        let set = walk::field_set(self.kind, config).recursive_difference(self.reset);
        managed.0.insert(self.manager.clone(), Owned { set, api_version: self.api_version.to_owned(), time });
        let new = match last {
            Some(last) if !last.is_empty() => self.prune(&merged, managed, &last),
            _ => merged,
        };
        self.transfer(&new, managed, force).map_err(Error::Conflicts)?;
        Ok((!equal(self.live, &new)).then_some(new))
    }

    /// Makes the writer the owner of the changes in `new`.
    pub(super) fn update(&self, new: &Value, managed: &mut Managed) {
        self.reconcile(managed);
        // With `force`, there are no conflicts.
        let Ok(changes) = self.transfer(new, managed, true) else { return };
        let own = managed.0.remove(self.manager);
        let (set, time) = own.map(|owned| (owned.set, owned.time)).unwrap_or_default();
        let mut set = set.difference(&changes.removed);
        set.extend(changes.modified);
        set.extend(changes.added);
        let set = set.recursive_difference(self.reset);
        if !set.is_empty() {
            managed
                .0
                .insert(self.manager.clone(), Owned { set, api_version: self.api_version.to_owned(), time });
        }
    }

    fn reconcile(&self, managed: &mut Managed) {
        for owned in managed.0.values_mut() {
            owned.set = walk::reconcile(self.kind, std::mem::take(&mut owned.set));
        }
    }

    /// Removes changed and removed fields from all other managers.
    fn transfer(&self, new: &Value, managed: &mut Managed, force: bool) -> Result<Comparison, Conflicts> {
        let all = walk::compare(self.kind, self.live, new);
        if managed.0.keys().all(|manager| manager == self.manager) {
            managed.0.retain(|_, owned| !owned.set.is_empty());
            return Ok(all.without(self.reset));
        }
        let own_version = all.clone().without(self.reset);
        let mut conflicts = Vec::new();
        let mut taken = Vec::new();
        for (manager, owned) in managed.0.iter().filter(|(manager, _)| *manager != self.manager) {
            // Fields are reset only in the version of the request.
            let changes = if owned.api_version == self.api_version { &own_version } else { &all };
            let mut conflict = owned.set.intersection(&changes.modified);
            conflict.extend(owned.set.intersection(&changes.added));
            if !conflict.is_empty() {
                conflicts.push((manager.clone(), conflict.paths()));
            }
            conflict.extend(changes.removed.clone());
            taken.push((manager.clone(), conflict));
        }
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        for (manager, taken) in taken {
            if let Some(owned) = managed.0.get_mut(&manager) {
                owned.set = std::mem::take(&mut owned.set).difference(&taken);
            }
        }
        managed.0.retain(|_, owned| !owned.set.is_empty());
        Ok(own_version)
    }

    /// Removes the fields that the writer applied last time but not now, and that no one else owns.
    fn prune(&self, merged: &Value, managed: &Managed, last: &Set) -> Value {
        let named = |set: &Set| set.with_named_fields(Some(self.kind));
        let (last, merged_set) = (named(last), named(&walk::field_set(self.kind, merged)));
        let pruned = walk::remove(self.kind, merged, &last);

        // Restores what others own or the writer's new configuration has ...
        let mut owned = Set::default();
        managed.0.values().for_each(|entry| owned.extend(entry.set.clone()));
        let pruned_set = named(&walk::field_set(self.kind, &pruned));
        let gone = merged_set.clone().difference(&pruned_set.union(named(&owned)));
        let pruned = walk::remove(self.kind, merged, &gone);

        // ... and what the writer never owned, but was removed with its parent.
        let pruned_set = named(&walk::field_set(self.kind, &pruned));
        let gone = merged_set.difference(&pruned_set).intersection(&last);
        walk::remove(self.kind, merged, &gone)
    }
}

/// Removes the fields that have no owner: the object's identity, and the fields that the server itself writes.
pub(super) fn strip(managed: &mut Managed, manager: &Manager) {
    const PATHS: [&[&str]; 12] = [
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ];
    static SERVER: LazyLock<Set> = LazyLock::new(|| PATHS.into_iter().collect());
    if let Some(owned) = managed.0.get_mut(manager) {
        owned.set = std::mem::take(&mut owned.set).difference(&SERVER);
        if owned.set.is_empty() {
            managed.0.remove(manager);
        }
    }
}

/// Returns the manager of an update in progress: until it is done, its previous entry counts as another manager's.
pub(super) fn current_operation(api_version: &str) -> Manager {
    Manager::new("current-operation", Operation::Update, api_version, "")
}
