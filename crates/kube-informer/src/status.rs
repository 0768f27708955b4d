//! The status of an informer: its progress, its freshness, and what is wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Error, ObjectKey, ResourceVersion};

/// How long 429 responses do not count as a failure to get the first list.
pub(crate) const TOO_MANY_REQUESTS_GRACE: Duration = Duration::from_secs(30);

/// What an informer is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Phase {
    /// The first list is being requested or received.
    Connecting,
    /// The cache follows the server.
    Watching,
    /// The last attempt failed. The informer retries by itself.
    Retrying {
        /// Since when every attempt has failed.
        since: Instant,
        /// The error of the last attempt.
        error: Error,
        /// When the next attempt starts.
        next: Instant,
    },
    /// The server no longer serves the type, and the cache is empty. The informer asks for the type every few seconds
    /// and resumes when it is back.
    TypeGone {
        /// When that was discovered.
        since: Instant,
    },
    /// The informer has ended: its last handle was dropped, it was cancelled, or an index function or `Deserialize`
    /// implementation panicked.
    Stopped,
}

/// The state of an informer at one moment. Times are the runtime's ([`tokio::time::Instant`]).
///
/// With several namespaces, the worst of them counts: the worst phase, the lowest version, the oldest contact,
/// `synced` only if all are and `stale` if any is. [`namespaces`](Self::namespaces) has the status of each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// What the informer is doing.
    pub phase: Phase,
    /// Whether the first list is complete, so that there are snapshots. With several namespaces, whether that of each
    /// is. An empty set of namespaces is synced.
    pub synced: bool,
    /// The version up to which the cache is known to be complete, or `None` before the first list.
    pub resource_version: Option<ResourceVersion>,
    /// When the server last sent something that keeps the cache up to date: a complete list, an event or a bookmark.
    pub last_contact: Option<Instant>,
    /// Whether the cache must be considered stale: nothing was received for longer than
    /// [`InformerBuilder::stale_after`](crate::InformerBuilder::stale_after), or the type seems to be gone.
    pub stale: bool,
    /// The objects that failed to decode, by key. Shared, so cloning a status does not copy them.
    pub quarantined: Arc<BTreeMap<ObjectKey, Quarantined>>,
    /// The status of each namespace that is watched by name. Empty if all namespaces are watched as one.
    pub namespaces: BTreeMap<String, NamespaceStatus>,
}

/// The status of one namespace of an informer. The fields correspond to those of [`Status`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NamespaceStatus {
    /// What the informer is doing for this namespace.
    pub phase: Phase,
    /// Whether the first list of the namespace is complete, so that snapshots contain its objects.
    pub synced: bool,
    /// The version up to which the namespace is known to be complete, or `None` before its first list.
    pub resource_version: Option<ResourceVersion>,
    /// When the server last sent something that keeps the namespace up to date.
    pub last_contact: Option<Instant>,
    /// Whether the namespace must be considered stale.
    pub stale: bool,
}

/// An object that failed to decode. Its last good state, if there was one, stays in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// The version that failed to decode.
    pub resource_version: ResourceVersion,
    /// The decoder's error. It contains field names, types and a position in the JSON, and may contain the offending
    /// value.
    pub error: String,
}

impl Phase {
    fn error(&self) -> Option<&Error> {
        match self {
            Self::Retrying { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The error, if it means that there is no first list for now. A 429 counts only after a while.
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

    /// Returns whether reads of this namespace can be trusted. See [`Status::is_ready`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced && !self.stale && !matches!(self.phase, Phase::TypeGone { .. } | Phase::Stopped)
    }

    /// Returns the error of the last attempt while the informer waits for the next one.
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

    /// Sets the status of one namespace, or of all that are watched as one.
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

    /// Summarizes the namespaces.
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

    /// Returns whether reads can be trusted: the first list is complete, the cache is not known to be stale, and the
    /// type is served. (When a type goes, the cache becomes empty.)
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced && !self.stale && !matches!(self.phase, Phase::TypeGone { .. } | Phase::Stopped)
    }

    /// Returns how long ago the server last sent something that keeps the cache up to date, or `None` if it never
    /// did.
    #[must_use]
    pub fn last_contact_age(&self) -> Option<Duration> {
        self.last_contact.map(|at| at.elapsed())
    }

    /// Returns the error of the last attempt while the informer waits for the next one.
    ///
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.phase.error()
    }
}
