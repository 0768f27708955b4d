//! What a subscription brings: the changes of the cache, in order.

use std::fmt;

use crate::{Cached, ObjectKey, ResourceVersion};

/// One difference between two states of the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change<K: Cached> {
    /// An object is there that was not.
    Added {
        /// Its namespace and name.
        key: ObjectKey,
        /// Its state.
        object: K::Stored,
        /// Whether it is part of the state in which the subscription began.
        initial: bool,
    },
    /// An object has another state. It is the same object: its uid did not change.
    Updated {
        /// Its namespace and name.
        key: ObjectKey,
        /// The state that this subscription knew before.
        old: K::Stored,
        /// The present state.
        new: K::Stored,
    },
    /// An object is not there any more.
    Deleted {
        /// Its namespace and name.
        key: ObjectKey,
        /// Its last known state.
        last: K::Stored,
        /// How it came to be gone.
        reason: DeletionReason,
    },
}

/// Why an object is gone from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeletionReason {
    /// It was deleted.
    Deleted,
    /// It was deleted, or it changed so that the informer's selector leaves it out. A server reports both as `DELETED` with
    /// the state before and the new version, so nothing tells them apart. An informer without a selector never gives this
    /// reason.
    DeletedOrLeftSelection,
    /// A list does not have it; it went while the informer was not connected.
    MissedWhileAway,
    /// Its namespace is not watched any more: [`Informer::remove_namespace`](crate::Informer::remove_namespace). The
    /// object may well be there still.
    NamespaceRemoved,
    /// The type itself is gone, most often because its CustomResourceDefinition was deleted.
    TypeGone,
}

/// What a [`Subscription`](crate::Subscription) brings.
#[non_exhaustive]
pub enum Event<K: Cached> {
    /// A change. Those before [`Synced`](Self::Synced) are the state in which the subscription began: each is
    /// `Added` with `initial` set.
    Change(Change<K>),
    /// Everything before this was the present state; everything after it is news. Comes once.
    Synced {
        /// How many objects came before.
        count: usize,
        /// The version that they are the state of, as [`Snapshot::resource_version`](crate::Snapshot::resource_version)
        /// tells it; none for a set of no namespaces.
        resource_version: Option<ResourceVersion>,
    },
}

impl<K: Cached> Change<K> {
    /// The namespace and name of the object.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Added { key, .. } | Self::Updated { key, .. } | Self::Deleted { key, .. } => key,
        }
    }

    /// The state that the change is about: the new one, or the last one of an object that is gone.
    #[must_use]
    pub fn object(&self) -> &K::Stored {
        match self {
            Self::Added { object, .. }
            | Self::Updated { new: object, .. }
            | Self::Deleted { last: object, .. } => object,
        }
    }
}

// Written out, because a derived `Clone` would ask for `K: Clone`.
impl<K: Cached> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added { key, object, initial } => {
                Self::Added { key: key.clone(), object: object.clone(), initial: *initial }
            }
            Self::Updated { key, old, new } => {
                Self::Updated { key: key.clone(), old: old.clone(), new: new.clone() }
            }
            Self::Deleted { key, last, reason } => {
                Self::Deleted { key: key.clone(), last: last.clone(), reason: *reason }
            }
        }
    }
}

impl<K: Cached> fmt::Debug for Event<K>
where
    Change<K>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) => f.debug_tuple("Change").field(change).finish(),
            Self::Synced { count, resource_version } => f
                .debug_struct("Synced")
                .field("count", count)
                .field("resource_version", resource_version)
                .finish(),
        }
    }
}
