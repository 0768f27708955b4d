//! What an informer tells about itself: how far it is, how fresh, and what is wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Error, ObjectKey, ResourceVersion};

/// How long a server may tell an informer to come later (429) before that counts as a failure to get the first list.
pub(crate) const TOO_MANY_REQUESTS_GRACE: Duration = Duration::from_secs(30);

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
///
/// With several namespaces, it is as bad as the worst of them: the worst phase, synced when all are, the lowest
/// version, the oldest contact, stale when one is. [`namespaces`](Self::namespaces) tells each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Whether a first list was complete, so that there are snapshots; of each namespace, if they are several. A set of
    /// none is complete.
    pub synced: bool,
    /// Up to which version the cache is known to be complete; none before the first list.
    pub resource_version: Option<ResourceVersion>,
    /// When the server last sent something that keeps the cache up to date: a complete list, an event, a bookmark.
    pub last_contact: Option<Instant>,
    /// Whether the cache must be taken as stale: nothing came for longer than the bound that the user set, or the
    /// type seems to be gone.
    pub stale: bool,
    /// The objects that could not be decoded. Shared: cloning a status costs no copy of it.
    pub quarantined: Arc<BTreeMap<ObjectKey, Quarantined>>,
    /// Each namespace that is watched by its name; empty when all are watched as one.
    pub namespaces: BTreeMap<String, NamespaceStatus>,
}

/// The state of one namespace of an informer. Its fields are those of [`Status`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NamespaceStatus {
    /// What the informer is doing for it.
    pub phase: Phase,
    /// Whether its first list was complete, so that snapshots have its objects.
    pub synced: bool,
    /// Up to which version the cache is known to be complete; none before the first list.
    pub resource_version: Option<ResourceVersion>,
    /// When the server last sent something that keeps it up to date.
    pub last_contact: Option<Instant>,
    /// Whether it must be taken as stale.
    pub stale: bool,
}

/// An object that could not be decoded. Its last good state, if there was one, stays in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// The version that could not be decoded.
    pub resource_version: ResourceVersion,
    /// What the decoder said. It names fields and types, and the place in the text; it can name a wrong value.
    pub error: String,
}

impl Phase {
    fn error(&self) -> Option<&Error> {
        match self {
            Self::Retrying { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The error, if it says that there will be no first list for now. To be told to come later says so only after a while.
    fn first_list_failure(&self) -> Option<&Error> {
        match self {
            Self::Retrying { since, error, .. } => {
                let throttled = error.is_too_many_requests() && since.elapsed() < TOO_MANY_REQUESTS_GRACE;
                (!throttled).then_some(error)
            }
            _ => None,
        }
    }

    fn severity(&self) -> u8 {
        match self {
            Self::Watching => 0,
            Self::Connecting => 1,
            Self::Retrying { .. } => 2,
            Self::TypeGone { .. } => 3,
            Self::Stopped => 4,
        }
    }
}

impl NamespaceStatus {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            synced: false,
            resource_version: None,
            last_contact: None,
            stale: false,
        }
    }

    /// Whether reads of this namespace can be trusted, as [`Status::is_ready`] says it of all.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced && !self.stale && !matches!(self.phase, Phase::TypeGone { .. } | Phase::Stopped)
    }

    /// What the last attempt failed with, when the informer is waiting for the next one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.phase.error()
    }
}

impl Status {
    pub(crate) fn new() -> Self {
        let NamespaceStatus { phase, synced, resource_version, last_contact, stale } = NamespaceStatus::new();
        Self {
            phase,
            synced,
            resource_version,
            last_contact,
            stale,
            quarantined: Arc::default(),
            namespaces: BTreeMap::new(),
        }
    }

    /// What became of one namespace, or of all that are watched as one.
    pub(crate) fn set(&mut self, namespace: Option<&str>, status: NamespaceStatus) {
        let Some(namespace) = namespace else { return self.set_whole(status) };
        match self.namespaces.get_mut(namespace) {
            Some(held) => *held = status,
            None => drop(self.namespaces.insert(namespace.to_owned(), status)),
        }
        self.summarize();
    }

    pub(crate) fn remove(&mut self, namespace: &str) {
        self.namespaces.remove(namespace);
        self.summarize();
    }

    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Stopped;
        self.namespaces.values_mut().for_each(|status| status.phase = Phase::Stopped);
    }

    /// Why there is no first list, if an attempt at it has failed.
    pub(crate) fn not_synced_because(&self) -> Option<&Error> {
        let whole = self.namespaces.is_empty().then_some((self.synced, &self.phase));
        let each = self.namespaces.values().map(|status| (status.synced, &status.phase));
        let waited_for = each.chain(whole).filter(|(synced, _)| !synced);
        waited_for.filter_map(|(_, phase)| phase.first_list_failure()).next()
    }

    /// Makes one of all.
    pub(crate) fn summarize(&mut self) {
        let each = || self.namespaces.values();
        let worst = each().max_by_key(|status| (status.phase.severity(), !status.synced));
        self.set_whole(NamespaceStatus {
            phase: worst.map_or(Phase::Watching, |status| status.phase.clone()),
            synced: each().all(|status| status.synced),
            resource_version: each().map(|status| status.resource_version).min().flatten(),
            last_contact: each().map(|status| status.last_contact).min().flatten(),
            stale: each().any(|status| status.stale),
        });
    }

    fn set_whole(&mut self, status: NamespaceStatus) {
        let NamespaceStatus { phase, synced, resource_version, last_contact, stale } = status;
        if !matches!(self.phase, Phase::Stopped) {
            self.phase = phase;
        }
        (self.synced, self.stale) = (synced, stale);
        (self.resource_version, self.last_contact) = (resource_version, last_contact);
    }

    /// Whether reads can be trusted: a first list was complete, the cache is not known to be stale, and the type is
    /// served: one that is gone has left the cache empty.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced && !self.stale && !matches!(self.phase, Phase::TypeGone { .. } | Phase::Stopped)
    }

    /// How long ago the server last sent something.
    #[must_use]
    pub fn last_contact_age(&self) -> Option<Duration> {
        self.last_contact.map(|at| at.elapsed())
    }

    /// What the last attempt failed with, when the informer is waiting for the next one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.phase.error()
    }
}
