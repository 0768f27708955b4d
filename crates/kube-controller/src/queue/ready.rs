//! The keys that may run now, in the order in which they do.

use std::{cmp::Reverse, collections::BTreeMap};

use kube_informer::ObjectKey;

/// Keys by priority and, among equals, by place; and all of them by place. A place `P` is unique.
#[derive(Debug)]
pub(crate) struct Ready<P> {
    /// Without empty lanes.
    lanes: BTreeMap<Reverse<i32>, BTreeMap<P, ObjectKey>>,
    /// The priority of each place.
    places: BTreeMap<P, i32>,
}

impl<P: Copy + Ord> Ready<P> {
    /// Returns no keys.
    pub(crate) const fn new() -> Self {
        Self { lanes: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// Adds a key.
    pub(crate) fn insert(&mut self, priority: i32, place: P, key: ObjectKey) {
        self.lanes.entry(Reverse(priority)).or_default().insert(place, key);
        self.places.insert(place, priority);
    }

    /// Removes the key at a place.
    pub(crate) fn remove(&mut self, place: P) {
        let Some(priority) = self.places.remove(&place).map(Reverse) else { return };
        let Some(lane) = self.lanes.get_mut(&priority) else { return };
        lane.remove(&place);
        if lane.is_empty() {
            self.lanes.remove(&priority);
        }
    }

    /// Returns the first key of the highest priority.
    pub(crate) fn most_urgent(&self) -> Option<&ObjectKey> {
        self.lanes.first_key_value()?.1.first_key_value().map(|(_, key)| key)
    }

    /// Returns the first key of all, whatever its priority.
    pub(crate) fn longest_ready(&self) -> Option<&ObjectKey> {
        let (place, priority) = self.places.first_key_value()?;
        self.lanes.get(&Reverse(*priority))?.get(place)
    }

    /// Returns how many keys there are of each priority, highest first. Priorities without keys are left out.
    pub(crate) fn depth(&self) -> impl Iterator<Item = (i32, usize)> {
        self.lanes.iter().map(|(priority, lane)| (priority.0, lane.len()))
    }
}
