//! The rules by which the cached objects change.
//!
//! The store is a persistent map. A [`Snapshot`] is a clone of it: O(1) to take, and never changed by later writes,
//! which copy the few nodes that they touch and a snapshot shares. A change is made only where something is different:
//! an object that a list repeats keeps its allocation.
//!
//! The first list of a [scope](crate::scope) is gathered in a store of its own, which nobody reads, and
//! [joins](Store::join) the others when it is complete. So there is never a part of a list to be seen.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use imbl::OrdMap;

use crate::{
    Cached, DeletionReason, ObjectKey, Quarantined, ResourceVersion, Snapshot,
    delta::{Batch, Delta, Difference, Pending},
    entry::Entry,
    index::Maintain,
    key::with_text,
    objects::Objects,
    scope::Scopes,
};

/// An object as it was decoded.
pub(crate) struct Item<K: Cached> {
    pub(crate) key: ObjectKey,
    pub(crate) version: ResourceVersion,
    pub(crate) object: K::Stored,
}

impl<K: Cached> Entry<K> {
    /// Whether it is this very state of this object.
    fn is(&self, item: &Item<K>) -> bool {
        self.version == item.version && K::uid(&self.object) == K::uid(&item.object)
    }
}

/// What can be known of an object that did not decode.
pub(crate) struct Undecoded {
    pub(crate) key: ObjectKey,
    pub(crate) uid: Option<String>,
    pub(crate) version: ResourceVersion,
    pub(crate) error: String,
}

/// How far an item of a list may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The list is as new as the server's storage: it counts even where its versions are lower.
    Consistent,
    /// The list may be older than what is cached; up to the version given, the cache is complete.
    AtLeast(Option<ResourceVersion>),
}

/// A list from the server's cache showed a state that is older than the cached one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lagging;

/// Numbers the lists of one scope. Each object has the number of the list that showed it last.
pub(crate) type ListNumber = u32;

pub(crate) struct Store<K: Cached> {
    objects: Objects<Entry<K>>,
    indexes: Vec<(u64, Box<dyn Maintain<K>>)>,
    /// With the number of the list that showed it last.
    quarantined: BTreeMap<ObjectKey, (ListNumber, Quarantined)>,
    quarantine_changed: bool,
    pending: Pending<K>,
    /// What is in here, and up to which version. Snapshots share it.
    scopes: Arc<Scopes>,
    /// Whether the store may be read. Until then nothing is a change, and there is no snapshot.
    visible: bool,
}

impl<K: Cached> Store<K> {
    pub(crate) fn new() -> Self {
        Self {
            objects: Objects::new(),
            indexes: Vec::new(),
            quarantined: BTreeMap::new(),
            quarantine_changed: false,
            pending: Pending::new(),
            scopes: Arc::default(),
            visible: false,
        }
    }

    /// The present state, if there is one that may be seen.
    pub(crate) fn snapshot(&mut self) -> Option<Snapshot<K>> {
        if !self.visible {
            return None;
        }
        Some(Snapshot {
            objects: self.objects.tree().clone(),
            indexes: self.indexes.iter().map(|(number, index)| (*number, index.state())).collect(),
            scopes: Arc::clone(&self.scopes),
        })
    }

    /// Whatever is there, be it a part.
    pub(crate) fn objects(&mut self) -> &OrdMap<ObjectKey, Entry<K>> {
        self.objects.tree()
    }

    pub(crate) fn add_index(&mut self, number: u64, index: Box<dyn Maintain<K>>) {
        self.indexes.push((number, index));
    }

    pub(crate) fn remove_index(&mut self, number: u64) -> Option<Box<dyn Maintain<K>>> {
        let at = self.indexes.iter().position(|(held, _)| *held == number)?;
        Some(self.indexes.swap_remove(at).1)
    }

    /// From now on the store may be read, if it was not and there is something to show. Whether that is news.
    pub(crate) fn make_visible(&mut self) -> bool {
        !self.visible && {
            self.visible = self.scopes.can_be_shown();
            self.visible
        }
    }

    pub(crate) fn add_scope(&mut self, namespace: Option<&Arc<str>>) {
        Arc::make_mut(&mut self.scopes).add(namespace);
    }

    /// A scope is not watched any more: everything in it is gone.
    pub(crate) fn remove_scope(&mut self, namespace: Option<&str>) {
        Arc::make_mut(&mut self.scopes).remove(namespace);
        self.clear(namespace, DeletionReason::NamespaceRemoved);
    }

    /// A scope cannot be listed so far.
    pub(crate) fn scope_failed(&mut self, namespace: Option<&str>) {
        Arc::make_mut(&mut self.scopes).failed(namespace);
    }

    /// What is there of a scope is complete up to this version.
    pub(crate) fn scope_complete(&mut self, namespace: Option<&str>, version: ResourceVersion) {
        if self.scopes.version_of(namespace) != Some(version) {
            Arc::make_mut(&mut self.scopes).complete(namespace, version);
        }
    }

    /// The first list of a scope is complete: what was gathered comes in, all at once.
    pub(crate) fn join(&mut self, mut staged: Self) {
        self.quarantine_changed |= !staged.quarantined.is_empty();
        self.quarantined.extend(staged.quarantined);
        if self.objects.tree().is_empty() && self.indexes.is_empty() && !self.visible {
            self.objects = staged.objects;
            return;
        }
        for (key, entry) in staged.objects.take() {
            let object = entry.object.clone();
            self.reindex(&key, None, Some(&object));
            self.objects.insert(key.clone(), entry);
            self.record(key, Difference::Added { object });
        }
    }

    /// What changed since the last call, in order.
    pub(crate) fn take_pending(&mut self) -> Option<Batch<K>> {
        (!self.pending.is_empty()).then(|| self.pending.take())
    }

    /// The quarantined objects, when they changed since the last call.
    pub(crate) fn take_quarantined(&mut self) -> Option<BTreeMap<ObjectKey, Quarantined>> {
        let held = || self.quarantined.iter().map(|(key, (_, held))| (key.clone(), held.clone())).collect();
        std::mem::take(&mut self.quarantine_changed).then(held)
    }

    /// An object of the list under way.
    pub(crate) fn list_item(
        &mut self,
        list: ListNumber,
        item: Item<K>,
        freshness: Freshness,
    ) -> Result<(), Lagging> {
        self.check(&item.key, item.version, freshness)?;
        match self.objects.get(&item.key) {
            // Found without a way to change it: that would copy what a snapshot holds.
            Some(cached) if cached.is(&item) => {
                cached.mark(list);
                self.unquarantine(&item.key);
            }
            _ => self.upsert(list, item),
        }
        Ok(())
    }

    /// An object of the list under way that did not decode: it is there, so it is not swept.
    pub(crate) fn list_undecoded(
        &mut self,
        list: ListNumber,
        item: Undecoded,
        freshness: Freshness,
    ) -> Result<(), Lagging> {
        self.check(&item.key, item.version, freshness)?;
        if let Some(cached) = self.objects.get(&item.key) {
            cached.mark(list);
        }
        self.quarantine(list, item);
        Ok(())
    }

    /// The list is complete: what it did not show.
    pub(crate) fn unseen(&mut self, namespace: Option<&str>, list: ListNumber) -> Vec<ObjectKey> {
        let unseen = self.objects_of(namespace).filter(|(_, cached)| !cached.is_marked(list));
        unseen.map(|(key, _)| key.clone()).collect()
    }

    /// What does not decode and was not shown by the list is gone, too.
    pub(crate) fn sweep_quarantined(&mut self, namespace: Option<&str>, list: ListNumber) {
        let before = self.quarantined.len();
        self.quarantined.retain(|key, (shown, _)| *shown == list || !is_in(key, namespace));
        self.quarantine_changed |= self.quarantined.len() != before;
    }

    /// An object was added or modified.
    pub(crate) fn upsert(&mut self, list: ListNumber, item: Item<K>) {
        self.unquarantine(&item.key);
        let Some((key, cached)) = self.objects.get_mut(&item.key) else {
            let Item { key, version, object } = item;
            self.reindex(&key, None, Some(&object));
            self.objects.insert(key.clone(), Entry::new(version, object.clone(), list));
            return self.record(key, Difference::Added { object });
        };
        if cached.is(&item) {
            return cached.mark(list);
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

    /// An object was added or modified, and its new state did not decode. The last good state of the same object
    /// stays; a state of an earlier object of that name does not.
    pub(crate) fn quarantine(&mut self, list: ListNumber, item: Undecoded) {
        let replaced =
            self.objects.get(&item.key).is_some_and(|cached| K::uid(&cached.object) != item.uid.as_deref());
        if replaced {
            self.delete(&item.key, DeletionReason::Deleted);
        }
        let quarantined = Quarantined { resource_version: item.version, error: item.error };
        self.quarantine_changed = true;
        self.quarantined.insert(item.key, (list, quarantined));
    }

    /// The server says that an object is gone. A repeated event about an earlier state changes nothing.
    pub(crate) fn delete_at(
        &mut self,
        key: &ObjectKey,
        version: ResourceVersion,
        last: Option<K::Stored>,
        reason: DeletionReason,
    ) {
        if self.newest(key).is_some_and(|newest| version < newest) {
            return;
        }
        self.unquarantine(key);
        let Some(Entry { object: old, .. }) = self.objects.remove(key) else { return };
        self.reindex(key, Some(&old), None);
        // The event carries the last state, unless it did not decode or is about another object.
        let last = last.filter(|last| K::uid(last) == K::uid(&old)).unwrap_or_else(|| old.clone());
        self.record(key.clone(), Difference::Deleted { old, last, reason });
    }

    /// Empties a scope: every object of it is gone for this reason. Gives how many there were.
    pub(crate) fn clear(&mut self, namespace: Option<&str>, reason: DeletionReason) -> usize {
        let before = self.quarantined.len();
        self.quarantined.retain(|key, _| !is_in(key, namespace));
        self.quarantine_changed |= self.quarantined.len() != before;
        let gone: Vec<ObjectKey> = self.objects_of(namespace).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.delete(key, reason);
        }
        gone.len()
    }

    /// The objects of a scope.
    pub(crate) fn objects_of<'a>(
        &'a mut self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Entry<K>)> {
        let objects = self.objects.tree();
        with_text(namespace, "", |start| objects.range::<_, str>((Bound::Included(start), Bound::Unbounded)))
            .take_while(move |(key, _)| is_in(key, namespace))
    }

    /// Whether a list that may be old shows this object as it was before what is known of it.
    fn check(&self, key: &ObjectKey, version: ResourceVersion, freshness: Freshness) -> Result<(), Lagging> {
        let Freshness::AtLeast(known) = freshness else { return Ok(()) };
        let older = match self.newest(key) {
            Some(newest) => version < newest,
            // The cache is complete up to `known`: what is older and not in it was deleted since.
            None => known.is_some_and(|known| version <= known),
        };
        if older { Err(Lagging) } else { Ok(()) }
    }

    /// The version of the last state of an object that is known of. What is quarantined came after what is cached, be its
    /// version lower, as after a restore of etcd.
    fn newest(&self, key: &ObjectKey) -> Option<ResourceVersion> {
        let quarantined = self.quarantined.get(key).map(|(_, held)| held.resource_version);
        quarantined.or_else(|| self.objects.get(key).map(|cached| cached.version))
    }

    /// An object is gone, and nothing tells of a later state than the cached one.
    pub(crate) fn delete(&mut self, key: &ObjectKey, reason: DeletionReason) {
        if let Some(Entry { object: old, .. }) = self.objects.remove(key) {
            self.reindex(key, Some(&old), None);
            self.record(key.clone(), Difference::Deleted { last: old.clone(), old, reason });
        }
    }

    fn unquarantine(&mut self, key: &ObjectKey) {
        self.quarantine_changed |= self.quarantined.remove(key).is_some();
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

/// Whether an object is in the namespace, if it is one.
fn is_in(key: &ObjectKey, namespace: Option<&str>) -> bool {
    namespace.is_none() || key.namespace() == namespace
}
