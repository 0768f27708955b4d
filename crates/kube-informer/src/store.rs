//! The rules by which the cached objects change.
//!
//! The store is a persistent map. A [`Snapshot`] is a clone of it: O(1) to take and never changed by later writes,
//! which copy only the few nodes that they touch and a snapshot shares. Nothing is written that does not differ: an
//! object that a list repeats keeps its allocation.
//!
//! The first list of a [scope](crate::scope) is staged in a store of its own, which nobody reads, and
//! [joins](Store::join) the main store when it is complete. A partial first list is therefore never visible.

use std::sync::Arc;

use imbl::OrdMap;

use crate::{
    Cached, DeletionReason, ObjectKey, ResourceVersion, Snapshot,
    delta::{Batch, Delta, Difference, Pending},
    entry::Entry,
    index::Maintain,
    key::of_namespace,
    objects::Objects,
    quarantine::{Quarantined, QuarantinedObjects},
    scope::{Progress, Scopes},
    uid::Uid,
};

/// A decoded object.
pub(crate) struct Item<K: Cached> {
    pub(crate) key: ObjectKey,
    pub(crate) version: ResourceVersion,
    pub(crate) object: K::Stored,
}

impl<K: Cached> Entry<K> {
    /// Whether this is the same state of the same object.
    fn is(&self, item: &Item<K>) -> bool {
        self.version == item.version && K::uid(&self.object) == K::uid(&item.object)
    }
}

/// The metadata of an object that failed to decode.
pub(crate) struct Undecoded {
    pub(crate) key: ObjectKey,
    /// `None` if it cannot be read.
    pub(crate) uid: Option<String>,
    /// `None` if it cannot be read.
    pub(crate) version: Option<ResourceVersion>,
    pub(crate) error: String,
}

/// How far an item of a list can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The list is as fresh as the server's storage. It is authoritative even where its versions are lower.
    Consistent,
    /// The list may be older than the cache, which is complete up to this version.
    AtLeast(Option<ResourceVersion>),
}

/// Returns the objects that a complete list did not contain.
pub(crate) fn unseen<K: Cached>(
    objects: &OrdMap<ObjectKey, Entry<K>>,
    namespace: Option<&str>,
    list: ListNumber,
) -> Vec<ObjectKey> {
    let unseen = of_namespace(objects, namespace).filter(|(_, cached)| !cached.is_marked(list));
    unseen.map(|(key, _)| key.clone()).collect()
}

/// A list from the server's watch cache contained an older state than the cached one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lagging;

/// Numbers the lists of one scope. Each object records the last list that contained it.
pub(crate) type ListNumber = u32;

pub(crate) struct Store<K: Cached> {
    objects: Objects<Entry<K>>,
    indexes: Vec<(u64, Box<dyn Maintain<K>>)>,
    /// Shared with the status.
    quarantined: QuarantinedObjects,
    quarantine_changed: bool,
    pending: Pending<K>,
    /// What the store contains, and up to which version. Shared with snapshots.
    scopes: Scopes,
    /// Whether the store may be read. Before that nothing counts as a change, and there is no snapshot.
    visible: bool,
}

impl<K: Cached> Store<K> {
    pub(crate) fn new() -> Self {
        Self {
            objects: Objects::new(),
            indexes: Vec::new(),
            quarantined: QuarantinedObjects::default(),
            quarantine_changed: false,
            pending: Pending::new(),
            scopes: Scopes::default(),
            visible: false,
        }
    }

    /// Returns a snapshot, or `None` if the store is not visible yet.
    pub(crate) fn snapshot(&mut self) -> Option<Snapshot<K>> {
        if !self.visible {
            return None;
        }
        Some(Snapshot {
            objects: self.objects.tree().clone(),
            indexes: self.indexes.iter().map(|(number, index)| (*number, index.state())).collect(),
            scopes: self.scopes.clone(),
        })
    }

    /// Returns the number of objects.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns all objects, even before the store is visible.
    pub(crate) fn objects(&mut self) -> &OrdMap<ObjectKey, Entry<K>> {
        self.objects.tree()
    }

    pub(crate) fn add_index(&mut self, number: u64, index: Box<dyn Maintain<K>>) {
        self.indexes.push((number, index));
    }

    /// Adds an index that is empty so far, unless the store has it.
    pub(crate) fn build_index(&mut self, number: u64, mut index: Box<dyn Maintain<K>>) {
        if self.indexes.iter().all(|(held, _)| *held != number) {
            let objects = self.objects.tree().iter();
            objects.for_each(|(key, entry)| index.change(key, None, Some(&entry.object)));
            self.indexes.push((number, index));
        }
    }

    pub(crate) fn remove_index(&mut self, number: u64) -> Option<Box<dyn Maintain<K>>> {
        let at = self.indexes.iter().position(|(held, _)| *held == number)?;
        Some(self.indexes.swap_remove(at).1)
    }

    /// Makes the store visible if it was not and its scopes allow it. Returns whether it became visible.
    pub(crate) fn make_visible(&mut self) -> bool {
        !self.visible && {
            self.visible = self.scopes.can_be_shown();
            self.visible
        }
    }

    pub(crate) fn add_scope(&mut self, namespace: Option<&Arc<str>>) {
        self.scopes.add(namespace);
    }

    /// Removes a scope with everything in it.
    pub(crate) fn remove_scope(&mut self, namespace: Option<&Arc<str>>) {
        self.scopes.remove(namespace);
        self.clear(namespace.map(|namespace| &**namespace), DeletionReason::NamespaceRemoved);
    }

    /// Records that a scope cannot be listed so far.
    pub(crate) fn scope_failed(&mut self, namespace: Option<&Arc<str>>) {
        self.scopes.failed(namespace);
    }

    /// Records that the store holds the whole scope.
    pub(crate) fn scope_reached(&mut self, namespace: Option<&Arc<str>>, progress: Progress) {
        self.scopes.reached(namespace, progress);
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Records that a list after the first one of a scope begins.
    pub(crate) fn relist_begins(&mut self, namespace: Option<&Arc<str>>) {
        self.scopes.relist_begins(namespace);
    }

    /// Records that a list is complete, after its version was.
    pub(crate) fn relist_ends(&mut self, namespace: Option<&Arc<str>>) {
        self.scopes.relist_ends(namespace);
    }

    /// Whether an object of a scope is quarantined.
    pub(crate) fn is_quarantining(&self, namespace: Option<&str>) -> bool {
        self.quarantined.has_any(namespace)
    }

    /// Adds a complete first list of a scope, all at once.
    pub(crate) fn join(&mut self, mut staged: Self) {
        self.quarantine_changed |= self.quarantined.join(std::mem::take(&mut staged.quarantined));
        for (number, index) in &mut self.indexes {
            match staged.remove_index(*number) {
                Some(staged) => index.join(staged),
                // It was added while the store was on its way here.
                None => staged.objects.tree().iter().for_each(|(key, entry)| {
                    index.change(key, None, Some(&entry.object));
                }),
            }
        }
        if self.objects.tree().is_empty() && !self.visible {
            self.objects = staged.objects;
            return;
        }
        for (key, entry) in staged.objects.take() {
            let object = entry.object.clone();
            self.objects.insert(key.clone(), entry);
            self.record(key, Difference::Added { object });
        }
    }

    /// Returns the changes since the last call, in order.
    pub(crate) fn take_pending(&mut self) -> Option<Batch<K>> {
        (!self.pending.is_empty()).then(|| self.pending.take())
    }

    /// Returns the quarantined objects if they changed since the last call.
    pub(crate) fn take_quarantined(&mut self) -> Option<QuarantinedObjects> {
        std::mem::take(&mut self.quarantine_changed).then(|| self.quarantined.clone())
    }

    /// Adds an object of the current list. Returns whether the list did not contain it before.
    pub(crate) fn list_item(
        &mut self,
        list: ListNumber,
        item: Item<K>,
        freshness: Freshness,
    ) -> Result<bool, Lagging> {
        self.check(&item.key, item.version, freshness)?;
        match self.objects.get(&item.key) {
            // Found without mutable access, which would copy what a snapshot shares.
            Some(cached) if cached.is(&item) => {
                let is_new = cached.mark(list);
                self.unquarantine(&item.key);
                Ok(is_new)
            }
            cached => {
                let is_new = cached.is_none_or(|cached| !cached.is_marked(list));
                self.upsert(list, item);
                Ok(is_new)
            }
        }
    }

    /// Adds an object of the current list that failed to decode. It exists, so it is not swept.
    pub(crate) fn list_undecoded(
        &mut self,
        list: ListNumber,
        item: Undecoded,
        freshness: Freshness,
    ) -> Result<(), Lagging> {
        if let Some(version) = item.version {
            self.check(&item.key, version, freshness)?;
        }
        if let Some(cached) = self.objects.get(&item.key) {
            cached.mark(list);
        }
        self.quarantine(list, item);
        Ok(())
    }

    /// Returns the quarantined objects.
    pub(crate) fn quarantined(&self) -> &QuarantinedObjects {
        &self.quarantined
    }

    /// Drops a quarantined object that a complete list did not contain.
    pub(crate) fn unquarantine(&mut self, key: &ObjectKey) {
        self.quarantine_changed |= self.quarantined.remove(key);
    }

    /// Adds or replaces an object.
    pub(crate) fn upsert(&mut self, list: ListNumber, item: Item<K>) {
        self.unquarantine(&item.key);
        let Some((key, cached)) = self.objects.get_mut(&item.key) else {
            let Item { key, version, object } = item;
            self.reindex(&key, None, Some(&object));
            self.objects.insert(key.clone(), Entry::new(version, object.clone(), list));
            return self.record(key, Difference::Added { object });
        };
        if cached.is(&item) {
            cached.mark(list);
            return;
        }
        let (key, new) = (key.clone(), item.object);
        let Entry { object: old, .. } =
            std::mem::replace(cached, Entry::new(item.version, new.clone(), list));
        self.reindex(&key, Some(&old), Some(&new));
        let difference = if K::uid(&old) == K::uid(&new) {
            Difference::Updated { old, new }
        } else {
            Difference::Replaced { last: old.clone(), old, reason: DeletionReason::Deleted, object: new }
        };
        self.record(key, difference);
    }

    /// Quarantines an object whose new state failed to decode. The last good state of the same object stays; the
    /// state of an earlier object of that name is removed. Without a uid it counts as the same object.
    pub(crate) fn quarantine(&mut self, list: ListNumber, item: Undecoded) {
        let replaced = item.uid.is_some()
            && self
                .objects
                .get(&item.key)
                .is_some_and(|cached| K::uid(&cached.object) != item.uid.as_deref().map(Uid::Text));
        if replaced {
            self.delete(&item.key, DeletionReason::Deleted);
        }
        let Undecoded { key, uid, version, error } = item;
        let quarantined = Quarantined { resource_version: version, error, uid };
        self.quarantine_changed |= self.quarantined.insert(list, key, quarantined);
    }

    /// Applies a `DELETED` event. A repeated event about an earlier state is ignored.
    pub(crate) fn delete_at(
        &mut self,
        key: &ObjectKey,
        version: ResourceVersion,
        last: Option<K::Stored>,
        reason: DeletionReason,
    ) {
        // A state whose version could not be read may be from after a restore of etcd, when versions are lower.
        let incomparable = self.quarantined.get(key).is_some_and(|held| held.resource_version.is_none());
        if !incomparable && self.newest(key).is_some_and(|newest| version < newest) {
            return;
        }
        self.unquarantine(key);
        let Some(Entry { object: old, .. }) = self.objects.remove(key) else { return };
        self.reindex(key, Some(&old), None);
        // The event carries the last state, unless it failed to decode or is about another object.
        let last = last.filter(|last| K::uid(last) == K::uid(&old)).unwrap_or_else(|| old.clone());
        self.record(key.clone(), Difference::Deleted { old, last, reason });
    }

    /// Removes every object of a scope for this reason. Returns how many there were.
    pub(crate) fn clear(&mut self, namespace: Option<&str>, reason: DeletionReason) -> usize {
        for key in self.quarantined.unseen(namespace, None) {
            self.unquarantine(&key);
        }
        let gone: Vec<ObjectKey> = self.objects_of(namespace).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.delete(key, reason);
        }
        gone.len()
    }

    /// Iterates over the objects of a scope.
    pub(crate) fn objects_of<'a>(
        &'a mut self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Entry<K>)> {
        of_namespace(self.objects.tree(), namespace)
    }

    /// Checks that a list that may be old does not show this object in an older state than the known one.
    fn check(&self, key: &ObjectKey, version: ResourceVersion, freshness: Freshness) -> Result<(), Lagging> {
        let Freshness::AtLeast(known) = freshness else { return Ok(()) };
        let older = match self.newest(key) {
            Some(newest) => version < newest,
            // The cache is complete up to `known`, so an older object that is not in it was deleted since.
            None => known.is_some_and(|known| version <= known),
        };
        if older { Err(Lagging) } else { Ok(()) }
    }

    /// Returns the version of the last known state of an object. A quarantined state is newer than a cached one even
    /// if its version is lower, as after a restore of etcd.
    fn newest(&self, key: &ObjectKey) -> Option<ResourceVersion> {
        let quarantined = self.quarantined.get(key).and_then(|held| held.resource_version);
        quarantined.or_else(|| self.objects.get(key).map(|cached| cached.version))
    }

    /// Removes an object of which no later state than the cached one is known.
    pub(crate) fn delete(&mut self, key: &ObjectKey, reason: DeletionReason) {
        if let Some(Entry { object: old, .. }) = self.objects.remove(key) {
            self.reindex(key, Some(&old), None);
            self.record(key.clone(), Difference::Deleted { last: old.clone(), old, reason });
        }
    }

    fn reindex(&mut self, key: &ObjectKey, old: Option<&K::Stored>, new: Option<&K::Stored>) {
        for (_, index) in &mut self.indexes {
            index.change(key, old, new);
        }
    }

    fn record(&mut self, key: ObjectKey, difference: Difference<K>) {
        if self.visible {
            self.pending.add(Delta { key, difference });
        }
    }
}
