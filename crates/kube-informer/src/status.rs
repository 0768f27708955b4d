//! What an informer tells about itself: how far it is, how fresh, and what is wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Error, ObjectKey, ResourceVersion};

/// What the informer is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Phase {
    /// The first request is under way, or the first list is coming in.
    Connecting,
    /// The cache follows the server.
    Watching,
    /// The last attempt failed; the next one comes by itself.
    Retrying {
        /// Since when nothing has worked.
        since: Instant,
        /// What the last attempt failed with.
        error: Error,
        /// When the next attempt starts.
        next: Instant,
    },
    /// The server does not serve this type any more, and the cache is empty. The informer asks for the type every few
    /// seconds and goes on when it is back.
    TypeGone {
        /// Since when that is known.
        since: Instant,
    },
    /// The informer has ended: its last handle was dropped or it was cancelled.
    Stopped,
}

/// The state of an informer at one moment. Times are the runtime's ([`tokio::time::Instant`]).
#[derive(Debug, Clone)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Whether a first list was complete, so that there are snapshots.
    pub synced: bool,
    /// Up to which version the cache is known to be complete; none before the first list.
    pub resource_version: Option<ResourceVersion>,
    /// When the server last sent something that keeps the cache up to date: a part of a list, an event, a bookmark.
    pub last_contact: Option<Instant>,
    /// Whether the cache must be taken as stale: nothing came for longer than the bound that the user set, or the
    /// type seems to be gone.
    pub stale: bool,
    /// The objects that could not be decoded. Shared: cloning a status costs no copy of it.
    pub quarantined: Arc<BTreeMap<ObjectKey, Quarantined>>,
}

/// An object that could not be decoded. Its last good state, if there was one, stays in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The version that could not be decoded.
    pub resource_version: ResourceVersion,
    /// What the decoder said. It names fields and types, and the place in the text; it can name a wrong value.
    pub error: String,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            synced: false,
            resource_version: None,
            last_contact: None,
            stale: false,
            quarantined: Arc::default(),
        }
    }

    /// Whether reads can be trusted: a first list was complete, and the cache is not known to be stale.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced && !self.stale && !matches!(self.phase, Phase::Stopped)
    }

    /// How long ago the server last sent something.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.last_contact.map(|at| at.elapsed())
    }

    /// What the last attempt failed with, when the informer is waiting for the next one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Retrying { error, .. } => Some(error),
            _ => None,
        }
    }
}
