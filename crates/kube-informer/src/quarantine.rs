//! The objects that failed to decode.

use std::{fmt, sync::Arc};

use imbl::{OrdMap, ordmap::DiffItem};

use crate::{ObjectKey, ResourceVersion, key::of_namespace};

/// An object that failed to decode. Its last good state, if there was one, stays in the cache.
///
/// An object of a list that has no usable name is known by its place in that list, counted from 0: its key has the name
/// `items[3]`, and the namespace that is watched, if it is one.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// The version that failed to decode, or `None` if that is what cannot be read.
    pub resource_version: Option<ResourceVersion>,
    /// The decoder's error. It contains field names, types and a position in the JSON, and may contain the offending
    /// value.
    pub error: String,
    /// The uid, if it can be read.
    pub(crate) uid: Option<String>,
}

impl fmt::Debug for Quarantined {
    /// Formats the version. The error is left out, because it may contain a value of the object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantined")
            .field("resource_version", &self.resource_version)
            .finish_non_exhaustive()
    }
}

/// The objects that failed to decode, by key. Cloning is O(1), a lookup O(log n).
#[derive(Clone, Default)]
pub struct QuarantinedObjects(OrdMap<ObjectKey, Held>);

#[derive(Clone)]
struct Held {
    /// The number of the last list that contained it.
    list: u32,
    object: Arc<Quarantined>,
}

impl PartialEq for Held {
    /// Whether it is the same failure. Which list contained it last makes no difference.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.object, &other.object)
    }
}

impl QuarantinedObjects {
    /// Returns the object with this key, if it is quarantined.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Quarantined> {
        self.0.get(key).map(|held| &*held.object)
    }

    /// Iterates over the objects with their keys, ordered by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&ObjectKey, &Quarantined)> {
        self.0.iter().map(|(key, held)| (key, &*held.object))
    }

    /// Iterates over the keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &ObjectKey> {
        self.0.keys()
    }

    /// Returns the number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what was not in `older`, or failed differently there. Costs time proportional to the difference.
    #[cfg_attr(
        not(feature = "runtime"),
        allow(dead_code, reason = "only kube's watcher reports each of them")
    )]
    pub(crate) fn since(&self, older: &Self) -> impl Iterator<Item = (&ObjectKey, &Quarantined)> {
        older.0.diff(&self.0).filter_map(|difference| match difference {
            DiffItem::Add(key, held) | DiffItem::Update { new: (key, held), .. } => {
                Some((key, &*held.object))
            }
            DiffItem::Remove(..) => None,
        })
    }

    /// Whether there is one of this namespace. `None` stands for all namespaces.
    pub(crate) fn has_any(&self, namespace: Option<&str>) -> bool {
        of_namespace(&self.0, namespace).next().is_some()
    }

    /// Adds an object that the list with this number, or an event after it, contained. Returns whether that is news.
    pub(crate) fn insert(&mut self, list: u32, key: ObjectKey, object: Quarantined) -> bool {
        let known = self.0.get(&key).map(|held| Arc::clone(&held.object)).filter(|known| **known == object);
        let is_new = known.is_none();
        let object = known.unwrap_or_else(|| Arc::new(object));
        self.0.insert(key, Held { list, object });
        is_new
    }

    /// Returns whether it was quarantined.
    pub(crate) fn remove(&mut self, key: &ObjectKey) -> bool {
        // Asked first, because removing copies what a status shares even if there is nothing to remove.
        self.0.contains_key(key) && self.0.remove(key).is_some()
    }

    /// Returns the objects of a namespace, except those that the list with this number contained. `None` stands for all
    /// namespaces.
    pub(crate) fn unseen(&self, namespace: Option<&str>, list: Option<u32>) -> Vec<ObjectKey> {
        let unseen = of_namespace(&self.0, namespace).filter(|(_, held)| Some(held.list) != list);
        unseen.map(|(key, _)| key.clone()).collect()
    }

    /// Adds those of a first list. Returns whether there were any.
    pub(crate) fn join(&mut self, joining: Self) -> bool {
        let any = !joining.is_empty();
        if self.is_empty() {
            *self = joining;
        } else {
            self.0.extend(joining.0);
        }
        any
    }
}

impl std::ops::Index<&ObjectKey> for QuarantinedObjects {
    type Output = Quarantined;

    /// # Panics
    /// Panics if the object is not quarantined.
    fn index(&self, key: &ObjectKey) -> &Quarantined {
        &self.0[key].object
    }
}

impl fmt::Debug for QuarantinedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
