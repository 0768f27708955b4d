//! The cached objects, and the rules by which they change.
//!
//! The writer owns a persistent map. A [`Snapshot`] is a clone of that map: O(1) to take, and never changed by later
//! writes, which copy the few nodes that they touch. A change is made only where something is different: an object
//! that a list repeats keeps its allocation.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
    sync::Arc,
};

// A persistent B+ tree: ordered, structure shared between versions, keys stored in line (a tree of single nodes, as
// `rpds` has, costs an allocation and two counters per object more).
use imbl::OrdMap;
use kube::Resource;

use crate::{
    ObjectKey, Quarantined, ResourceVersion,
    key::key_text,
    subscribe::{Delta, Reason},
};

/// What a store holds.
pub(crate) trait Cached: Send + Sync + 'static {
    /// The identity of the object: another object may have had the same name before.
    fn uid(&self) -> Option<&str>;
}

impl<K: Resource + Send + Sync + 'static> Cached for K {
    fn uid(&self) -> Option<&str> {
        self.meta().uid.as_deref()
    }
}

pub(crate) struct Entry<K> {
    pub(crate) version: ResourceVersion,
    pub(crate) object: Arc<K>,
}

impl<K> Clone for Entry<K> {
    fn clone(&self) -> Self {
        Self { version: self.version, object: Arc::clone(&self.object) }
    }
}

/// All cached objects at one moment, ordered by namespace and name.
///
/// Taking and cloning one costs O(1), whatever it holds. It never changes; as long as it is held it keeps the objects
/// in memory that it shows.
pub struct Snapshot<K> {
    objects: OrdMap<ObjectKey, Entry<K>>,
    resource_version: ResourceVersion,
}

impl<K> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), resource_version: self.resource_version }
    }
}

impl<K> Snapshot<K> {
    /// The object `name`, in `namespace` or, for a cluster-scoped type, without one. O(log n).
    ///
    /// `snapshot.get("default", "web")` and `snapshot.get(None, "node-1")` both read well.
    pub fn get<'a>(&self, namespace: impl Into<Option<&'a str>>, name: &str) -> Option<&Arc<K>> {
        Some(&self.objects.get(key_text(namespace.into(), name).as_str())?.object)
    }

    /// All objects in the order of (namespace, name).
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values().map(|entry| &entry.object)
    }

    /// All objects with their keys, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<K>)> {
        self.objects.iter().map(|(key, entry)| (key, &entry.object))
    }

    /// The objects of one namespace, in the order of their names. O(log n) to find the first.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        let start = key_text(Some(namespace), "");
        self.objects
            .range::<(Bound<&str>, Bound<&str>), str>((Bound::Included(start.as_str()), Bound::Unbounded))
            .take_while(move |(key, _)| key.namespace() == Some(namespace))
            .map(|(_, entry)| &entry.object)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The version up to which this snapshot has every change.
    #[must_use]
    pub fn resource_version(&self) -> ResourceVersion {
        self.resource_version
    }

    /// The first entry after `key`: how a subscription walks a snapshot that it owns.
    pub(crate) fn next_after(&self, key: Option<&ObjectKey>) -> Option<(&ObjectKey, &Arc<K>)> {
        let found = match key {
            Some(key) => {
                let after: (Bound<&ObjectKey>, Bound<&ObjectKey>) = (Bound::Excluded(key), Bound::Unbounded);
                self.objects.range::<_, ObjectKey>(after).next()
            }
            None => self.objects.iter().next(),
        };
        found.map(|(key, entry)| (key, &entry.object))
    }
}

/// An object as it was decoded.
pub(crate) struct Item<K> {
    pub(crate) key: ObjectKey,
    pub(crate) version: ResourceVersion,
    pub(crate) object: K,
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

pub(crate) struct Store<K> {
    objects: OrdMap<ObjectKey, Entry<K>>,
    quarantined: BTreeMap<ObjectKey, Quarantined>,
    quarantine_changed: bool,
    deltas: Vec<Delta<K>>,
    /// The keys that the list under way has shown so far.
    marks: HashSet<ObjectKey>,
    /// Whether a first list was complete: until then nothing is a change.
    listed: bool,
}

impl<K: Cached> Store<K> {
    pub(crate) fn new() -> Self {
        Self {
            objects: OrdMap::new(),
            quarantined: BTreeMap::new(),
            quarantine_changed: false,
            deltas: Vec::new(),
            marks: HashSet::new(),
            listed: false,
        }
    }

    pub(crate) fn snapshot(&self, resource_version: ResourceVersion) -> Snapshot<K> {
        Snapshot { objects: self.objects.clone(), resource_version }
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// What changed since the last call, in order.
    pub(crate) fn take_deltas(&mut self) -> Vec<Delta<K>> {
        std::mem::take(&mut self.deltas)
    }

    /// The quarantined objects, when they changed since the last call.
    pub(crate) fn take_quarantined(&mut self) -> Option<BTreeMap<ObjectKey, Quarantined>> {
        std::mem::take(&mut self.quarantine_changed).then(|| self.quarantined.clone())
    }

    /// A list starts, or starts anew: what was marked before does not count.
    pub(crate) fn begin_list(&mut self) {
        self.marks.clear();
    }

    /// An object of the list under way.
    pub(crate) fn list_item(&mut self, item: Item<K>, freshness: Freshness) -> Result<(), Lagging> {
        if let Freshness::AtLeast(known) = freshness {
            let older = match self.newest(&item.key) {
                Some(newest) => item.version < newest,
                // The cache is complete up to `known`: what is older and not in it was deleted since.
                None => known.is_some_and(|known| item.version <= known),
            };
            if older {
                return Err(Lagging);
            }
        }
        self.marks.insert(item.key.clone());
        self.put(item);
        Ok(())
    }

    /// An object of the list under way that did not decode: it is there, so it is not swept.
    pub(crate) fn list_undecoded(&mut self, item: Undecoded) {
        self.marks.insert(item.key.clone());
        self.quarantine(item);
    }

    /// The list is complete: what it did not show is gone.
    pub(crate) fn sweep(&mut self) {
        let marks = std::mem::take(&mut self.marks);
        let gone: Vec<ObjectKey> = self.objects.keys().filter(|key| !marks.contains(*key)).cloned().collect();
        for key in gone {
            self.delete(&key, Reason::MissedWhileAway);
        }
        let before = self.quarantined.len();
        self.quarantined.retain(|key, _| marks.contains(key));
        self.quarantine_changed |= self.quarantined.len() != before;
        self.listed = true;
    }

    /// An object was added or modified.
    pub(crate) fn put(&mut self, item: Item<K>) {
        self.release(&item.key);
        let Item { key, version, object } = item;
        let cached = self.objects.get(&key).cloned();
        match cached {
            Some(cached) if cached.object.uid() != object.uid() => {
                self.delete(&key, Reason::Deleted);
                self.insert(key, version, object);
            }
            Some(cached) if cached.version == version => {}
            Some(cached) => {
                let object = Arc::new(object);
                let new = Arc::clone(&object);
                self.objects.insert(key.clone(), Entry { version, object });
                self.record(Delta::Updated { key, old: cached.object, new });
            }
            None => self.insert(key, version, object),
        }
    }

    /// An object was added or modified, and its new state did not decode. The last good state of the same object
    /// stays; a state of an earlier object of that name does not.
    pub(crate) fn quarantine(&mut self, item: Undecoded) {
        let replaced =
            self.objects.get(&item.key).is_some_and(|cached| cached.object.uid() != item.uid.as_deref());
        if replaced {
            self.delete(&item.key, Reason::Deleted);
        }
        let quarantined = Quarantined { resource_version: item.version, error: item.error };
        self.quarantine_changed = true;
        self.quarantined.insert(item.key, quarantined);
    }

    /// The server says that an object is gone. A repeated event about an earlier state changes nothing.
    pub(crate) fn deleted(
        &mut self,
        key: &ObjectKey,
        version: ResourceVersion,
        last: Option<K>,
        reason: Reason,
    ) {
        if self.newest(key).is_some_and(|newest| version < newest) {
            return;
        }
        self.marks.remove(key);
        let Some(cached) = self.objects.get(key) else {
            self.release(key);
            return;
        };
        // The event carries the last state, unless it did not decode or is about another object.
        let last = match last {
            Some(last) if last.uid() == cached.object.uid() => Arc::new(last),
            _ => Arc::clone(&cached.object),
        };
        let old = Arc::clone(&cached.object);
        self.release(key);
        self.objects.remove(key);
        self.record(Delta::Deleted { key: key.clone(), old, last, reason });
    }

    /// Empties the store: every object is gone for this reason.
    pub(crate) fn clear(&mut self, reason: Reason) {
        self.marks.clear();
        self.quarantine_changed |= !self.quarantined.is_empty();
        self.quarantined.clear();
        for (key, entry) in std::mem::take(&mut self.objects) {
            self.gone(key, entry, reason);
        }
    }

    /// The newest version of an object that is known of, whether it decoded or not.
    fn newest(&self, key: &ObjectKey) -> Option<ResourceVersion> {
        let cached = self.objects.get(key).map(|cached| cached.version);
        cached.max(self.quarantined.get(key).map(|held| held.resource_version))
    }

    fn insert(&mut self, key: ObjectKey, version: ResourceVersion, object: K) {
        let object = Arc::new(object);
        self.objects.insert(key.clone(), Entry { version, object: Arc::clone(&object) });
        self.record(Delta::Added { key, object });
    }

    fn delete(&mut self, key: &ObjectKey, reason: Reason) {
        if let Some(entry) = self.objects.remove(key) {
            self.gone(key.clone(), entry, reason);
        }
    }

    /// An object is gone, and nothing tells of a later state than the cached one.
    fn gone(&mut self, key: ObjectKey, entry: Entry<K>, reason: Reason) {
        let Entry { object: old, .. } = entry;
        self.record(Delta::Deleted { key, last: Arc::clone(&old), old, reason });
    }

    fn release(&mut self, key: &ObjectKey) {
        self.quarantine_changed |= self.quarantined.remove(key).is_some();
    }

    fn record(&mut self, delta: Delta<K>) {
        if self.listed {
            self.deltas.push(delta);
        }
    }
}
