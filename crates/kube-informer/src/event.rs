//! The events of a subscription: the changes of the cache, in order.

use std::fmt;

use crate::{Cached, ObjectKey, ResourceVersion};

/// A difference between two states of the cache.
#[non_exhaustive]
pub enum Change<K: Cached> {
    /// An object appeared.
    Added {
        /// The object's namespace and name.
        key: ObjectKey,
        /// The object's state.
        object: K::Stored,
        /// Whether the object is part of the state that the subscription began with.
        initial: bool,
    },
    /// An object changed. It is the same object: its uid did not change.
    Updated {
        /// The object's namespace and name.
        key: ObjectKey,
        /// The state that this subscription reported before.
        old: K::Stored,
        /// The present state.
        new: K::Stored,
    },
    /// An object disappeared.
    Deleted {
        /// The object's namespace and name.
        key: ObjectKey,
        /// The object's last known state.
        last: K::Stored,
        /// Why the object disappeared.
        reason: DeletionReason,
    },
}

/// Why an object disappeared from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeletionReason {
    /// The object was deleted.
    Deleted,
    /// The object was deleted, or it changed so that the informer's selector no longer matches. A server reports both
    /// as `DELETED` with the previous state and the new version, so they cannot be told apart. Informers without a
    /// selector never use this reason.
    DeletedOrLeftSelection,
    /// The object was missing from a list: it was deleted while the informer was disconnected.
    MissedWhileAway,
    /// The informer stopped watching the object's namespace:
    /// [`Informer::remove_namespace`](crate::Informer::remove_namespace). The object may still exist.
    NamespaceRemoved,
    /// The server stopped serving the type, usually because its CustomResourceDefinition was deleted.
    TypeGone,
    /// Unknown: two snapshots were [compared](crate::Snapshot::diff), and only one has the object.
    Unknown,
}

impl fmt::Display for DeletionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => "deleted",
            Self::DeletedOrLeftSelection => "deleted, or it no longer matches the selector",
            Self::MissedWhileAway => "deleted while disconnected",
            Self::NamespaceRemoved => "its namespace is no longer watched",
            Self::TypeGone => "its type is no longer served",
            Self::Unknown => "gone",
        })
    }
}

/// An event of a [`Subscription`](crate::Subscription).
#[non_exhaustive]
pub enum Event<K: Cached> {
    /// A change. Changes before [`Synced`](Self::Synced) are the state that the subscription began with: each is
    /// `Added` with `initial` set.
    Change(Change<K>),
    /// Ends the initial state: events before it are the state when the subscription began, events after it are
    /// changes to that state. Sent once.
    Synced {
        /// The number of objects in the initial state.
        count: usize,
        /// The version of the initial state, as [`Snapshot::resource_version`](crate::Snapshot::resource_version)
        /// returns it. `None` for an empty set of namespaces.
        resource_version: Option<ResourceVersion>,
        /// Whether the initial state comes from disk, and the server had not confirmed it yet. Later events are the
        /// differences to what the server has. See [`InformerBuilder::persist`](crate::InformerBuilder::persist).
        from_disk: bool,
    },
}

impl<K: Cached> Change<K> {
    /// Returns the namespace and name of the object.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Added { key, .. } | Self::Updated { key, .. } | Self::Deleted { key, .. } => key,
        }
    }

    /// Returns the object: its new state, or the last known one if it was deleted.
    #[must_use]
    pub fn object(&self) -> &K::Stored {
        match self {
            Self::Added { object, .. }
            | Self::Updated { new: object, .. }
            | Self::Deleted { last: object, .. } => object,
        }
    }
}

// Implemented by hand, because a derived `Clone` would require `K: Clone`.
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

impl<K: Cached> Clone for Event<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Change(change) => Self::Change(change.clone()),
            Self::Synced { count, resource_version, from_disk } => {
                Self::Synced { count: *count, resource_version: *resource_version, from_disk: *from_disk }
            }
        }
    }
}

impl<K: Cached> fmt::Debug for Change<K> {
    /// Formats what happened to which object, never its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { key, initial, .. } => {
                f.debug_struct("Added").field("key", key).field("initial", initial).finish_non_exhaustive()
            }
            Self::Updated { key, .. } => f.debug_struct("Updated").field("key", key).finish_non_exhaustive(),
            Self::Deleted { key, reason, .. } => {
                f.debug_struct("Deleted").field("key", key).field("reason", reason).finish_non_exhaustive()
            }
        }
    }
}

impl<K: Cached> fmt::Debug for Event<K> {
    /// Formats what happened to which object, never its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) => f.debug_tuple("Change").field(change).finish(),
            Self::Synced { count, resource_version, from_disk } => f
                .debug_struct("Synced")
                .field("count", count)
                .field("resource_version", resource_version)
                .field("from_disk", from_disk)
                .finish(),
        }
    }
}
