//! Indexes: objects found by keys that a function derives from them.
//!
//! Invariant: the entries of an index are exactly the keys that its function returns for the objects cached next to
//! it, because both change under the same lock and a snapshot clones both.

use std::{
    any::Any,
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{BuildHasher as _, Hash},
    ops::Bound,
    sync::{
        Arc, Weak,
        atomic::{self, AtomicU64},
    },
};

// The traits by which imbl compares what is searched for with its keys.
use equivalent::{Comparable, Equivalent};
use foldhash::fast::FixedState;
use imbl::{OrdMap, ordmap::DiffItem};

use crate::{Cached, ObjectKey, entry::Entry};

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Finds objects by a key of type `I`. Made by [`Informer::index`](crate::Informer::index), read with
/// [`Snapshot::by_index`](crate::Snapshot::by_index).
///
/// The cache maintains an index until its last handle is dropped. Each pair of object and key costs the key plus 32
/// bytes and a reference to the object, so that finding one takes a single search. The function is called once for an object that is added or deleted, and twice for one that changes. An
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

impl<K: Cached, I> fmt::Debug for Index<K, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
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
    NEXT_NUMBER.fetch_add(1, atomic::Ordering::Relaxed)
}

/// The state of an index in a snapshot.
pub(crate) struct Keys<K: Cached, I>(OrdMap<Place<I>, K::Stored>);

/// An object under one of its keys. Ordered by hash first: keys are often strings, and comparing many of them on the
/// way to one entry means as many cache misses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place<I> {
    hash: u64,
    key: I,
    object: ObjectKey,
}

/// A position before or after all objects with a key.
struct Beside<'a, Q: ?Sized> {
    hash: u64,
    key: &'a Q,
    /// How the position compares to the objects.
    side: Ordering,
}

fn hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    // A fixed seed is fine: someone who forces collisions makes lookups no slower than they were without hashes.
    FixedState::default().hash_one(key)
}

impl<I: Hash> Place<I> {
    fn new(key: I, object: ObjectKey) -> Self {
        Self { hash: hash(&key), key, object }
    }
}

impl<I: Borrow<Q>, Q: Ord + ?Sized> Equivalent<Place<I>> for Beside<'_, Q> {
    fn equivalent(&self, _: &Place<I>) -> bool {
        false
    }
}

impl<I: Borrow<Q>, Q: Ord + ?Sized> Comparable<Place<I>> for Beside<'_, Q> {
    fn compare(&self, place: &Place<I>) -> Ordering {
        let by_key = || self.key.cmp(place.key.borrow());
        self.hash.cmp(&place.hash).then_with(by_key).then(self.side)
    }
}

impl<K: Cached, I: Ord + Hash + Clone> Keys<K, I> {
    /// Returns the objects that have this key.
    pub(crate) fn of<'a, Q>(&'a self, key: &'a Q) -> impl Iterator<Item = &'a K::Stored>
    where
        I: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        let before = Beside { hash: hash(key), key, side: Ordering::Less };
        let from = self.0.range::<_, Beside<'_, Q>>((Bound::Included(&before), Bound::Unbounded));
        from.take_while(move |(place, _)| place.hash == before.hash && place.key.borrow() == key)
            .map(|(_, object)| object)
    }

    /// Returns each key once, in no particular order. O(log n) for each.
    pub(crate) fn each(&self) -> impl Iterator<Item = &I> {
        std::iter::successors(self.0.get_min().map(|(place, _)| place), |place| {
            let after = Beside { hash: place.hash, key: &place.key, side: Ordering::Greater };
            let mut rest = self.0.range::<_, Beside<'_, I>>((Bound::Excluded(&after), Bound::Unbounded));
            rest.next().map(|(place, _)| place)
        })
        .map(|place| &place.key)
    }
}

impl<K: Cached, I: Clone> Clone for Keys<K, I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An index of any key type, as the store sees it.
pub(crate) trait Maintain<K: Cached>: Send + Sync {
    fn change(&mut self, key: &ObjectKey, old: Option<&K::Stored>, new: Option<&K::Stored>);
    /// Returns the [`Keys`].
    fn state(&self) -> Arc<dyn Any + Send + Sync>;
    /// Returns an empty index of the same function.
    fn fresh(&self) -> Box<dyn Maintain<K>>;
    /// Adds all entries of an index of the same function, which contains other objects.
    fn join(&mut self, other: Box<dyn Maintain<K>>);
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

pub(crate) struct Maintained<K: Cached, I> {
    keys: Keys<K, I>,
    keys_of: Arc<KeysOf<K, I>>,
}

impl<K: Cached, I: Ord + Hash + Clone + Send + Sync + 'static> Maintained<K, I> {
    pub(crate) fn new(keys_of: Arc<KeysOf<K, I>>) -> Self {
        Self { keys: Keys(OrdMap::new()), keys_of }
    }

    /// Applies the differences between two states of the cache. Returns how many there were.
    pub(crate) fn catch_up(
        &mut self,
        known: &OrdMap<ObjectKey, Entry<K>>,
        current: &OrdMap<ObjectKey, Entry<K>>,
    ) -> usize {
        let mut count = 0;
        for difference in known.diff(current) {
            count += 1;
            match difference {
                DiffItem::Add(key, new) => self.change(key, None, Some(&new.object)),
                DiffItem::Update { old: (_, old), new: (key, new) } => {
                    self.change(key, Some(&old.object), Some(&new.object));
                }
                DiffItem::Remove(key, old) => self.change(key, Some(&old.object), None),
            }
        }
        count
    }
}

impl<K: Cached, I: Ord + Hash + Clone + Send + Sync + 'static> Maintain<K> for Maintained<K, I> {
    fn change(&mut self, key: &ObjectKey, old: Option<&K::Stored>, new: Option<&K::Stored>) {
        let of = |object: Option<&K::Stored>| object.map(|object| (self.keys_of)(object)).unwrap_or_default();
        let (before, after) = (of(old), of(new));
        for gone in before.iter().filter(|entry| !after.contains(entry)) {
            self.keys.0.remove(&Place::new(gone.clone(), key.clone()));
        }
        // Also under the keys that it had before: an entry holds the object's present state.
        for (come, object) in after.into_iter().zip(new.into_iter().cycle()) {
            self.keys.0.insert(Place::new(come, key.clone()), object.clone());
        }
    }

    fn state(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.keys.clone())
    }

    fn fresh(&self) -> Box<dyn Maintain<K>> {
        Box::new(Self::new(Arc::clone(&self.keys_of)))
    }

    fn join(&mut self, other: Box<dyn Maintain<K>>) {
        let Ok(other) = other.into_any().downcast::<Self>() else { return };
        if self.keys.0.is_empty() {
            self.keys = other.keys;
        } else {
            self.keys.0.extend(other.keys.0);
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
