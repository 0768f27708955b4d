//! What is computed from all objects of some collections, and kept until one of them is written.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::resource::GroupResource;
use crate::store::Store;

/// The last value, with the revisions of the last writes before it was computed.
pub(super) struct Derived<T, const N: usize>(Mutex<Option<([u64; N], Arc<T>)>>);

impl<T, const N: usize> Derived<T, N> {
    /// The value as it is now. `read` computes it from the objects of these collections, always the same ones.
    pub(super) fn current(
        &self,
        store: &Store,
        collections: [GroupResource<'_>; N],
        read: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Determined before the objects are read: a concurrent write may be read twice, but is never missed.
        let written = store.last_writes(collections.map(GroupResource::collection));
        match &*last {
            Some((seen, current)) if *seen == written => Arc::clone(current),
            _ => {
                let current = Arc::new(read());
                *last = Some((written, Arc::clone(&current)));
                current
            }
        }
    }
}

impl<T, const N: usize> Default for Derived<T, N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, const N: usize> fmt::Debug for Derived<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}
