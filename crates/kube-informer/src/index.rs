//! Indexes: objects found by keys that a function derives from them.
//!
//! Invariant: the entries of an index are exactly the keys that its function returns for the objects cached next to
//! it, because both change under the same lock and a snapshot clones both.

use std::{
    any::Any,
    hash::{BuildHasher as _, Hash},
    ops::Bound,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::FixedState;
use imbl::{OrdMap, OrdSet, ordmap::DiffItem};

use crate::{Cached, ObjectKey, entry::Entry};

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Finds objects by a key of type `I`. Made by [`Informer::index`](crate::Informer::index), read with
/// [`Snapshot::by_index`](crate::Snapshot::by_index).
///
/// The cache maintains an index until its last handle is dropped. Each pair of object and key costs the key plus 32
/// bytes. The function is called once for an object that is added or deleted, and twice for one that changes. An
/// index does not keep the informer running.
pub struct Index<K: Cached, I> {
    inner: Arc<Inner<K, I>>,
}

pub(crate) type KeysOf<K, I> = dyn Fn(&<K as Cached>::Stored) -> Vec<I> + Send + Sync;

struct Inner<K: Cached, I> {
    number: u64,
    keys_of: Arc<KeysOf<K, I>>,
    cache: Weak<dyn Indexed>,
}

/// A cache that maintains indexes.
pub(crate) trait Indexed: Send + Sync {
    /// Removes the index with this number, if there is one.
    fn remove_index(&self, number: u64);
}

impl<K: Cached, I> Clone for Index<K, I> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Cached, I> Drop for Inner<K, I> {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.upgrade() {
            cache.remove_index(self.number);
        }
    }
}

impl<K: Cached, I> Index<K, I> {
    /// Returns a handle of the index that `cache` maintains under `number`, which [`next_number`] returned.
    pub(crate) fn new(number: u64, keys_of: Arc<KeysOf<K, I>>, cache: Weak<dyn Indexed>) -> Self {
        Self { inner: Arc::new(Inner { number, keys_of, cache }) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.inner.number
    }

    pub(crate) fn keys_of(&self, object: &K::Stored) -> Vec<I> {
        (self.inner.keys_of)(object)
    }
}

/// Returns a number that is unique among the indexes of this process.
pub(crate) fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The state of an index in a snapshot.
#[derive(Clone)]
pub(crate) struct Keys<I>(OrdSet<Place<I>>);

/// An object under one of its keys. Ordered by hash first: keys are often strings, and comparing many of them on the
/// way to one entry means as many cache misses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place<I> {
    hash: u64,
    key: I,
    object: ObjectKey,
}

impl<I: Hash> Place<I> {
    fn new(key: I, object: ObjectKey) -> Self {
        // A fixed seed is fine: someone who forces collisions makes lookups no slower than they were without hashes.
        Self { hash: FixedState::default().hash_one(&key), key, object }
    }
}

impl<I: Ord + Hash + Clone> Keys<I> {
    /// Returns the objects that have this key.
    pub(crate) fn of(&self, key: I) -> impl Iterator<Item = &ObjectKey> + use<'_, I> {
        let first = Place::new(key, ObjectKey::first());
        let from = self.0.range::<_, Place<I>>((Bound::Included(&first), Bound::Unbounded));
        from.take_while(move |place| place.key == first.key).map(|place| &place.object)
    }
}

/// An index of any key type, as the store sees it.
pub(crate) trait Maintain<K: Cached>: Send + Sync {
    fn change(&mut self, key: &ObjectKey, old: Option<&K::Stored>, new: Option<&K::Stored>);
    /// Returns the [`Keys`].
    fn state(&self) -> Arc<dyn Any + Send + Sync>;
}

pub(crate) struct Maintained<K: Cached, I> {
    keys: Keys<I>,
    keys_of: Arc<KeysOf<K, I>>,
}

impl<K: Cached, I: Ord + Hash + Clone + Send + Sync + 'static> Maintained<K, I> {
    pub(crate) fn new(keys_of: Arc<KeysOf<K, I>>) -> Self {
        Self { keys: Keys(OrdSet::new()), keys_of }
    }

    /// Applies the differences between two states of the cache.
    pub(crate) fn catch_up(
        &mut self,
        known: &OrdMap<ObjectKey, Entry<K>>,
        current: &OrdMap<ObjectKey, Entry<K>>,
    ) {
        for difference in known.diff(current) {
            match difference {
                DiffItem::Add(key, new) => self.change(key, None, Some(&new.object)),
                DiffItem::Update { old: (_, old), new: (key, new) } => {
                    self.change(key, Some(&old.object), Some(&new.object));
                }
                DiffItem::Remove(key, old) => self.change(key, Some(&old.object), None),
            }
        }
    }
}

impl<K: Cached, I: Ord + Hash + Clone + Send + Sync + 'static> Maintain<K> for Maintained<K, I> {
    fn change(&mut self, key: &ObjectKey, old: Option<&K::Stored>, new: Option<&K::Stored>) {
        let of = |object: Option<&K::Stored>| object.map(|object| (self.keys_of)(object)).unwrap_or_default();
        let (before, after) = (of(old), of(new));
        for gone in before.iter().filter(|entry| !after.contains(entry)) {
            self.keys.0.remove(&Place::new(gone.clone(), key.clone()));
        }
        for come in after.into_iter().filter(|entry| !before.contains(entry)) {
            self.keys.0.insert(Place::new(come, key.clone()));
        }
    }

    fn state(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.keys.clone())
    }
}
