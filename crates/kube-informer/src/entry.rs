//! An object as the store holds it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Cached, ResourceVersion};

pub(crate) struct Entry<K: Cached> {
    pub(crate) version: ResourceVersion,
    /// The number of the last list that contained it. Only the store reads it. It is written through a shared
    /// reference, because marking an entry must not copy the nodes that a snapshot shares.
    seen_by: AtomicU32,
    pub(crate) object: K::Stored,
}

impl<K: Cached> Entry<K> {
    pub(crate) fn new(version: ResourceVersion, object: K::Stored, seen_by: u32) -> Self {
        Self { version, object, seen_by: AtomicU32::new(seen_by) }
    }

    /// Returns whether it was not marked yet.
    pub(crate) fn mark(&self, list: u32) -> bool {
        // There is one writer.
        let before = self.seen_by.load(Ordering::Relaxed);
        self.seen_by.store(list, Ordering::Relaxed);
        before != list
    }

    pub(crate) fn is_marked(&self, list: u32) -> bool {
        self.seen_by.load(Ordering::Relaxed) == list
    }
}

impl<K: Cached> Clone for Entry<K> {
    fn clone(&self) -> Self {
        Self::new(self.version, self.object.clone(), self.seen_by.load(Ordering::Relaxed))
    }
}

impl<K: Cached> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        K::same(&self.object, &other.object)
    }
}
