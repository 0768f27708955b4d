//! The stores that gather first lists. Nobody reads them. Each maintains its own copy of every index, so that joining
//! the main store does not visit the objects again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Cached, index::Maintain, scope::Scope, store::Store};

/// A store that gathers the first list of a scope. It is locked for one change, or to look at it.
pub(crate) type Staged<K> = Arc<Mutex<Store<K>>>;

pub(crate) struct Staging<K: Cached> {
    inner: Mutex<Inner<K>>,
}

struct Inner<K: Cached> {
    /// The indexes that a new store begins with, empty.
    indexes: Vec<(u64, Box<dyn Maintain<K>>)>,
    stores: BTreeMap<Option<Arc<str>>, Staged<K>>,
}

impl<K: Cached> Staging<K> {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner { indexes: Vec::new(), stores: BTreeMap::new() }) }
    }

    /// Begins to gather the first list of a scope.
    pub(crate) fn begin(&self, scope: &Scope) -> Staged<K> {
        let (mut store, mut inner) = (Store::new(), self.lock());
        inner.indexes.iter().for_each(|(number, index)| store.add_index(*number, index.fresh()));
        let staged = Arc::new(Mutex::new(store));
        inner.stores.insert(scope.namespace.clone(), Arc::clone(&staged));
        staged
    }

    /// Ends gathering a list, and returns the store.
    pub(crate) fn end(&self, scope: &Scope, staged: &Staged<K>) -> Store<K> {
        let mut inner = self.lock();
        if inner.stores.get(&scope.namespace).is_some_and(|held| Arc::ptr_eq(held, staged)) {
            inner.stores.remove(&scope.namespace);
        }
        std::mem::replace(&mut *lock(staged), Store::new())
    }

    /// Adds the indexes that a store lacks, such as one that was read from disk.
    pub(crate) fn index(&self, store: &mut Store<K>) {
        let fresh: Vec<_> =
            self.lock().indexes.iter().map(|(number, index)| (*number, index.fresh())).collect();
        fresh.into_iter().for_each(|(number, index)| store.build_index(number, index));
    }

    /// Forgets the store of a scope that is not watched any more.
    pub(crate) fn forget(&self, scope: &Scope) {
        let forgotten = self.lock().stores.remove(&scope.namespace);
        drop(forgotten);
    }

    /// Returns the stores, to free them.
    pub(crate) fn drain(&mut self) -> Vec<Staged<K>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut inner.stores).into_values().collect()
    }

    /// Gives each store that begins from now on an index. Returns the others.
    pub(crate) fn add_index(&self, number: u64, index: Box<dyn Maintain<K>>) -> Vec<Staged<K>> {
        let mut inner = self.lock();
        inner.indexes.push((number, index));
        inner.stores.values().cloned().collect()
    }

    pub(crate) fn remove_index(&self, number: u64) {
        let mut inner = self.lock();
        inner.indexes.retain(|(held, _)| *held != number);
        let stores: Vec<Staged<K>> = inner.stores.values().cloned().collect();
        drop(inner);
        stores.iter().for_each(|staged| drop(lock(staged).remove_index(number)));
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks a store. No code that holds the lock panics halfway through a change, except a user's index function, which ends
/// the informer.
pub(crate) fn lock<K: Cached>(store: &Mutex<Store<K>>) -> MutexGuard<'_, Store<K>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
