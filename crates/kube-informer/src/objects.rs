//! The persistent map of the objects: ordered by key, O(1) to clone.
//!
//! A B+ tree splits a full leaf into halves. Keys that arrive in order, as those of a list do, would leave every leaf
//! half full for good. Such keys are therefore collected into short runs; every second key of a run is inserted
//! first, and the others fill the leaves up.

// A persistent B+ tree: ordered, with structure shared between versions and keys stored inline. (A tree with one node
// per entry, as in `rpds`, costs one more allocation and two more counters per object.)
use imbl::OrdMap;

use crate::ObjectKey;

/// The length of a run.
const RUN: usize = 512;

pub(crate) struct Objects<V> {
    tree: OrdMap<ObjectKey, V>,
    /// Keys that arrived in order and are not in the tree yet. Each is greater than those before it and than all in
    /// the tree.
    run: Vec<(ObjectKey, V)>,
}

impl<V: Clone> Objects<V> {
    pub(crate) fn new() -> Self {
        Self { tree: OrdMap::new(), run: Vec::new() }
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&V> {
        match self.run.first() {
            Some((first, _)) if key >= first => {
                if self.run.last().is_some_and(|(last, _)| key > last) {
                    return None;
                }
                let at = self.run.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
                self.run.get(at).map(|(_, value)| value)
            }
            _ => self.tree.get(key),
        }
    }

    /// Returns the stored key and its value.
    pub(crate) fn get_mut(&mut self, key: &ObjectKey) -> Option<(&ObjectKey, &mut V)> {
        match self.run.last() {
            // The usual case for the objects of a first list.
            Some((last, _)) if key > last => None,
            _ => self.tree_mut().get_key_value_mut(key),
        }
    }

    /// Inserts a key that is not in the map.
    pub(crate) fn insert(&mut self, key: ObjectKey, value: V) {
        let last = self.run.last().or_else(|| self.tree.get_max()).map(|(last, _)| last);
        if last.is_none_or(|last| key > *last) {
            self.run.push((key, value));
            if self.run.len() == RUN {
                self.tree();
            }
        } else {
            self.tree_mut().insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<V> {
        self.tree_mut().remove(key)
    }

    /// Empties the map and returns its contents.
    pub(crate) fn take(&mut self) -> OrdMap<ObjectKey, V> {
        std::mem::take(self.tree_mut())
    }

    pub(crate) fn len(&self) -> usize {
        self.tree.len() + self.run.len()
    }

    /// Returns all entries.
    pub(crate) fn tree(&mut self) -> &OrdMap<ObjectKey, V> {
        self.tree_mut()
    }

    fn tree_mut(&mut self) -> &mut OrdMap<ObjectKey, V> {
        if !self.run.is_empty() {
            let (mut even, mut odd) = (Vec::new(), Vec::new());
            for (at, entry) in std::mem::take(&mut self.run).into_iter().enumerate() {
                if at % 2 == 0 { even.push(entry) } else { odd.push(entry) }
            }
            for (key, value) in even.into_iter().chain(odd) {
                self.tree.insert(key, value);
            }
        }
        &mut self.tree
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// This many keys in order, starting with this one.
        ///
        List(u16, u16),
        Put(u16),
        Remove(u16),
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..50_u16, 0..1200_u16).prop_map(|(from, count)| Step::List(from, count)),
            (0..1500_u16).prop_map(Step::Put),
            (0..1500_u16).prop_map(Step::Remove),
            Just(Step::Read),
        ]
    }

    fn key(number: u16) -> ObjectKey {
        ObjectKey::new("default", &format!("{number:05}"))
    }

    fn put(objects: &mut Objects<u32>, model: &mut BTreeMap<ObjectKey, u32>, number: u16, value: u32) {
        let key = key(number);
        assert_eq!(objects.get(&key), model.get(&key));
        match objects.get_mut(&key) {
            Some((held, cached)) => {
                assert_eq!(*held, key);
                *cached = value;
            }
            None => objects.insert(key.clone(), value),
        }
        model.insert(key, value);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 1..20)) {
            let (mut objects, mut model) = (Objects::new(), BTreeMap::new());
            for (value, step) in (0_u32..).zip(steps) {
                match step {
                    Step::List(from, count) => {
                        (from..from + count).for_each(|number| put(&mut objects, &mut model, number, value));
                    }
                    Step::Put(number) => put(&mut objects, &mut model, number, value),
                    Step::Remove(number) => {
                        prop_assert_eq!(objects.remove(&key(number)), model.remove(&key(number)));
                    }
                    Step::Read => prop_assert!(objects.tree().iter().eq(model.iter())),
                }
            }
            prop_assert!(objects.tree().iter().eq(model.iter()));
        }
    }
}
