//! Differences between two states of the store, and how differences of one object are merged.

use std::{collections::VecDeque, sync::Arc};

// A subscriber looks up its backlog once per change; with the default hasher, hashing would dominate.
use foldhash::{HashMap, HashMapExt as _};

use crate::{DeletionReason, ObjectKey, cached::Cached};

/// The difference of one object.
pub(crate) struct Delta<K: Cached> {
    pub(crate) key: ObjectKey,
    pub(crate) difference: Difference<K>,
}

/// `old` is always the state before the difference, `last` the last known state of a deleted object.
pub(crate) enum Difference<K: Cached> {
    Added {
        object: K::Stored,
    },
    Updated {
        old: K::Stored,
        new: K::Stored,
    },
    Deleted {
        old: K::Stored,
        last: K::Stored,
        reason: DeletionReason,
    },
    /// The object was deleted and another one of the same name added.
    Replaced {
        old: K::Stored,
        last: K::Stored,
        reason: DeletionReason,
        object: K::Stored,
    },
}

/// The differences of one publication, at most one per object. All subscribers share them.
pub(crate) type Batch<K> = Arc<[Delta<K>]>;

/// For how many differences memory is kept when there are fewer, so that a few at a time do not allocate anew.
const KEPT: usize = 64;

/// Pending differences, at most one per object, ordered by when their objects began to differ.
pub(crate) struct Pending<K: Cached> {
    /// `None` where the differences of an object cancelled out.
    order: VecDeque<Option<Delta<K>>>,
    /// The number of slots removed from the front of `order`.
    gone: u64,
    /// For each object, its index in `order` plus `gone`.
    places: HashMap<ObjectKey, u64>,
}

// Implemented by hand, because a derived `Clone` would require `K: Clone`.
impl<K: Cached> Clone for Delta<K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), difference: self.difference.clone() }
    }
}

impl<K: Cached> Clone for Difference<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added { object } => Self::Added { object: object.clone() },
            Self::Updated { old, new } => Self::Updated { old: old.clone(), new: new.clone() },
            Self::Deleted { old, last, reason } => {
                Self::Deleted { old: old.clone(), last: last.clone(), reason: *reason }
            }
            Self::Replaced { old, last, reason, object } => Self::Replaced {
                old: old.clone(),
                last: last.clone(),
                reason: *reason,
                object: object.clone(),
            },
        }
    }
}

impl<K: Cached> Difference<K> {
    /// Merges two consecutive differences. Returns `None` if they cancel out.
    fn then(self, next: Self) -> Option<Self> {
        let merged = match next {
            Self::Added { object: new } | Self::Updated { new, .. } => match self {
                Self::Added { .. } => Self::Added { object: new },
                Self::Updated { old, .. } => Self::Updated { old, new },
                // The same object again, as when it left a selection and came back.
                Self::Deleted { old, .. } | Self::Replaced { old, .. } if K::uid(&old) == K::uid(&new) => {
                    Self::Updated { old, new }
                }
                Self::Deleted { old, last, reason } | Self::Replaced { old, last, reason, .. } => {
                    Self::Replaced { old, last, reason, object: new }
                }
            },
            Self::Deleted { last, reason, .. } => match self {
                Self::Added { .. } => return None,
                Self::Updated { old, .. } => Self::Deleted { old, last, reason },
                Self::Deleted { old, last, reason } | Self::Replaced { old, last, reason, .. } => {
                    Self::Deleted { old, last, reason }
                }
            },
            Self::Replaced { old, last, reason, object } => {
                let added = Self::Added { object };
                return match self.then(Self::Deleted { old, last, reason }) {
                    Some(deleted) => deleted.then(added),
                    None => Some(added),
                };
            }
        };
        Some(merged)
    }
}

impl<K: Cached> Pending<K> {
    pub(crate) fn new() -> Self {
        Self { order: VecDeque::new(), gone: 0, places: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn add(&mut self, delta: Delta<K>) {
        let Delta { key, difference } = delta;
        let slot = self
            .places
            .get(&key)
            .and_then(|place| self.order.get_mut(usize::try_from(place - self.gone).ok()?));
        let Some(slot) = slot else {
            self.places.insert(key.clone(), self.gone + self.order.len() as u64);
            self.order.push_back(Some(Delta { key, difference }));
            return;
        };
        let merged = match slot.take() {
            Some(waiting) => waiting.difference.then(difference),
            None => Some(difference),
        };
        match merged {
            Some(difference) => *slot = Some(Delta { key, difference }),
            None => {
                self.places.remove(&key);
                self.close_gaps();
            }
        }
    }

    /// Removes and returns the oldest difference.
    pub(crate) fn pop(&mut self) -> Option<Delta<K>> {
        while let Some(slot) = self.order.pop_front() {
            self.gone += 1;
            if let Some(delta) = slot {
                self.places.remove(&delta.key);
                self.shrink();
                return Some(delta);
            }
        }
        None
    }

    /// Removes and returns all differences.
    pub(crate) fn take(&mut self) -> Batch<K> {
        self.gone = 0;
        self.places.clear();
        let all = self.order.drain(..).flatten().collect::<Vec<_>>().into();
        self.shrink();
        all
    }

    /// Frees memory that a larger backlog has left behind. A backlog that shrinks and grows by less than half copies
    /// nothing.
    fn shrink(&mut self) {
        let wanted = (2 * self.order.len()).max(KEPT);
        if self.order.capacity() >= 2 * wanted {
            self.order.shrink_to(wanted);
            self.places.shrink_to(wanted);
        }
    }

    /// Removes the gaps that short-lived objects leave, so that gaps never outnumber differences (by more than 16).
    fn close_gaps(&mut self) {
        if self.order.len() < 2 * self.places.len() + 16 {
            return;
        }
        self.order.retain(Option::is_some);
        for (at, delta) in self.order.iter().flatten().enumerate() {
            if let Some(place) = self.places.get_mut(&delta.key) {
                *place = self.gone + at as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn added(key: &str) -> Delta<ConfigMap> {
        Delta {
            key: ObjectKey::new("default", key),
            difference: Difference::Added { object: Arc::default() },
        }
    }

    fn deleted(key: &str) -> Delta<ConfigMap> {
        let (old, last) = (Arc::default(), Arc::default());
        let difference = Difference::Deleted { old, last, reason: DeletionReason::Deleted };
        Delta { key: ObjectKey::new("default", key), difference }
    }

    #[test]
    fn the_memory_of_a_backlog_is_freed_when_it_is_read() {
        let mut pending = Pending::new();
        let fill = |pending: &mut Pending<ConfigMap>| {
            (0..100_000).for_each(|number| pending.add(added(&number.to_string())));
        };
        let kept = |pending: &Pending<ConfigMap>| pending.order.capacity().max(pending.places.capacity());
        fill(&mut pending);
        // Not only at the end: a reader may always be a little behind.
        while pending.len() > 1000 {
            pending.pop();
        }
        assert!(kept(&pending) < 10_000, "{}", kept(&pending));
        while pending.pop().is_some() {}
        assert!(kept(&pending) < 500, "{}", kept(&pending));
        fill(&mut pending);
        assert_eq!(pending.take().len(), 100_000);
        assert!(kept(&pending) < 500, "{}", kept(&pending));
    }

    #[test]
    fn an_object_that_comes_and_goes_leaves_nothing_behind() {
        let mut pending = Pending::new();
        pending.add(added("first"));
        for round in 0..10_000 {
            pending.add(added(&round.to_string()));
            pending.add(deleted(&round.to_string()));
        }
        assert_eq!(pending.len(), 1);
        assert!(pending.order.len() < 32, "{}", pending.order.len());
        pending.add(added("last"));
        let names: Vec<String> =
            std::iter::from_fn(|| pending.pop()).map(|delta| delta.key.name().to_owned()).collect();
        assert_eq!(names, ["first", "last"]);
        assert!(pending.is_empty());
    }
}
