//! The effect of a write on ownership, and of an apply on the object: structured-merge-diff's `merge.Updater`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::LazyLock;

use serde_json::Value;

use super::managed::{Managed, Manager, Operation, Owned};
use super::set::{PathElement, Set, equal};
use super::walk::{self, Comparison};
use crate::types::{ObjectType, Type};

/// The conversion of objects between the versions of their kind.
pub trait Convert: fmt::Debug {
    /// Converts an object to a version, which is another than its own.
    ///
    /// # Errors
    /// Fails with the reason why it cannot be converted.
    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String>;
}

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
    /// The types of the object in other versions. A version that is not among them has the type of the request's.
    pub(super) versions: &'a [(&'a str, ObjectType<'a>)],
    /// Converts an object between these versions. `None`: that changes none of its fields.
    pub(super) convert: Option<&'a dyn Convert>,
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
        self.reconcile(managed)?;
        let merged =
            walk::merge(self.kind, Some(self.live), Some(config)).map_err(Error::Merge)?.unwrap_or_default();
        let last = managed.0.get(self.manager).cloned();
        let time = last.as_ref().and_then(|owned| owned.time.clone());
        let set = walk::field_set(self.kind, config).recursive_difference(self.reset);
        managed.0.insert(self.manager.clone(), Owned { set, api_version: self.api_version.to_owned(), time });
        let new = match last {
            Some(last) if !last.set.is_empty() => self.prune(&merged, managed, &last)?,
            _ => merged,
        };
        self.transfer(&new, managed, force)?;
        Ok((!equal(self.live, &new)).then_some(new))
    }

    /// Makes the writer the owner of the changes in `new`.
    pub(super) fn update(&self, new: &Value, managed: &mut Managed) -> Result<(), Error> {
        self.reconcile(managed)?;
        let changes = self.transfer(new, managed, true)?;
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
        Ok(())
    }

    /// The type of the object in a version.
    fn type_in(&self, api_version: &str) -> Type<'_> {
        let other = self.versions.iter().find(|(version, _)| *version == api_version);
        other.filter(|_| api_version != self.api_version).map_or(self.kind, |(_, types)| types.root)
    }

    /// Converts an object to a version. Returns it with its type there, or the reason why it does not fit that type.
    fn convert<'b>(
        &self,
        object: &'b Value,
        api_version: &str,
    ) -> Result<(Type<'_>, Cow<'b, Value>), String> {
        let kind = self.type_in(api_version);
        let mut converted = Cow::Borrowed(object);
        if self.versions.is_empty() {
            return Ok((kind, converted));
        }
        if let Some(convert) = self.convert
            && object["apiVersion"] != api_version
        {
            converted = Cow::Owned(convert.convert(object, api_version)?);
        }
        if api_version == self.api_version {
            return Ok((kind, converted));
        }
        match walk::describe_errors(&walk::validate(kind, &converted, false)) {
            None => Ok((kind, converted)),
            Some(why) => Err(why),
        }
    }

    fn reconcile(&self, managed: &mut Managed) -> Result<(), Error> {
        for owned in managed.0.values_mut() {
            let (kind, _) = self.convert(self.live, &owned.api_version).map_err(Error::Merge)?;
            owned.set = walk::reconcile(kind, std::mem::take(&mut owned.set));
        }
        Ok(())
    }

    /// Removes changed and removed fields from all other managers. Each of them is compared in its own version.
    fn transfer(&self, new: &Value, managed: &mut Managed, force: bool) -> Result<Comparison, Error> {
        let all = walk::compare(self.kind, self.live, new);
        if managed.0.keys().all(|manager| manager == self.manager) {
            managed.0.retain(|_, owned| !owned.set.is_empty());
            return Ok(all.without(self.reset));
        }
        let own_version = all.clone().without(self.reset);
        let mut others: BTreeMap<&str, Comparison> = BTreeMap::new();
        let mut conflicts = Vec::new();
        let mut taken = Vec::new();
        for (manager, owned) in managed.0.iter().filter(|(manager, _)| *manager != self.manager) {
            // Fields are reset only in the version of the request.
            let changes = if owned.api_version == self.api_version {
                &own_version
            } else if self.versions.is_empty() {
                &all
            } else {
                match others.entry(&owned.api_version) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(self.compare(new, &owned.api_version)?),
                }
            };
            let mut conflict = owned.set.intersection(&changes.modified);
            conflict.extend(owned.set.intersection(&changes.added));
            if !conflict.is_empty() {
                conflicts.push((manager.clone(), conflict.paths()));
            }
            conflict.extend(changes.removed.clone());
            taken.push((manager.clone(), conflict));
        }
        if !force && !conflicts.is_empty() {
            return Err(Error::Conflicts(conflicts));
        }
        for (manager, taken) in taken {
            if let Some(owned) = managed.0.get_mut(&manager) {
                owned.set = std::mem::take(&mut owned.set).difference(&taken);
            }
        }
        managed.0.retain(|_, owned| !owned.set.is_empty());
        Ok(own_version)
    }

    /// The changes from the live object to `new`, as another version has them.
    fn compare(&self, new: &Value, api_version: &str) -> Result<Comparison, Error> {
        let failed = |which: &str| {
            let which = which.to_owned();
            move |why| Error::Merge(format!("failed to convert {which} object: {why}"))
        };
        let (_, live) = self.convert(self.live, api_version).map_err(failed("old"))?;
        let (kind, new) = self.convert(new, api_version).map_err(failed("new"))?;
        Ok(walk::compare(kind, &live, &new))
    }

    /// Removes the fields that the writer applied last time but not now, and that no one else owns.
    fn prune(&self, merged: &Value, managed: &Managed, last: &Owned) -> Result<Value, Error> {
        let failed = |what: String| move |why| Error::Merge(format!("failed to prune fields: {what}: {why}"));
        let (last_kind, last_merged) = self
            .convert(merged, &last.api_version)
            .map_err(failed("failed to convert merged object to last applied version".to_owned()))?;
        let mut pruned = walk::remove(last_kind, &last_merged, &last.set.with_named_fields(Some(last_kind)));

        // Restores what others own or the writer's new configuration has, the version of the last configuration first ...
        let mut by_version: BTreeMap<(bool, &str), Set> = BTreeMap::new();
        for owned in managed.0.values() {
            let version = owned.api_version.as_str();
            by_version.entry((version != last.api_version, version)).or_default().extend(owned.set.clone());
        }
        for ((_, version), owned) in by_version {
            let what = |which: &str| {
                format!("failed add back owned items: failed to convert {which} object at version {version}")
            };
            let (kind, merged) = self.convert(merged, version).map_err(failed(what("merged")))?;
            let (_, kept) = self.convert(&pruned, version).map_err(failed(what("pruned")))?;
            let gone = named_set(kind, &merged)
                .difference(&named_set(kind, &kept).union(owned.with_named_fields(Some(kind))));
            pruned = walk::remove(kind, &merged, &gone);
        }

        // ... and what the writer never owned, but was removed with its parent.
        let what = "failed add back dangling items: failed to convert pruned object to last applied version";
        let (_, kept) = self.convert(&pruned, &last.api_version).map_err(failed(what.to_owned()))?;
        let gone = named_set(last_kind, &last_merged)
            .difference(&named_set(last_kind, &kept))
            .intersection(&last.set.with_named_fields(Some(last_kind)));
        let pruned = walk::remove(last_kind, &last_merged, &gone);
        let what = "failed to convert pruned object to the applied version";
        Ok(self.convert(&pruned, self.api_version).map_err(failed(what.to_owned()))?.1.into_owned())
    }
}

/// The paths of a value, with those of named fields.
fn named_set(kind: Type<'_>, value: &Value) -> Set {
    walk::field_set(kind, value).with_named_fields(Some(kind))
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
