//! What an informer is doing, as a whole and for each of its namespaces.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use imbl::{OrdMap, OrdSet};
use tokio::time::Instant;

use crate::{Error, ResourceVersion};

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

/// The status of one namespace of an informer. The fields correspond to those of [`Status`](crate::Status).
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
    /// Whether the objects come from disk, and the server has not confirmed them yet.
    pub from_disk: bool,
}

/// The status of each namespace of an informer, by name. Cloning is O(1), a lookup O(log n).
#[derive(Clone, Default)]
pub struct NamespaceStatuses {
    by_name: OrdMap<Arc<str>, NamespaceStatus>,
    /// The namespaces whose first list has failed so far. Those that were only throttled come last, ordered by since
    /// when: if the first of them does not count as failed yet, none does.
    failing: OrdSet<(Option<Instant>, Arc<str>)>,
}

/// Summarizes the status of any number of namespaces, at a cost of O(log n) for a change of one.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// By severity of the phase, and whether the first list is pending.
    phases: BTreeSet<(u8, bool, Arc<str>)>,
    versions: BTreeSet<(Option<ResourceVersion>, Arc<str>)>,
    contacts: BTreeSet<(Option<Instant>, Arc<str>)>,
    unsynced: usize,
    stale: usize,
    from_disk: usize,
}

impl Phase {
    pub(crate) fn error(&self) -> Option<&Error> {
        match self {
            Self::Retrying { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The error, if it means that there is no first list for now. A 429 counts only after a while, and so does the
    /// refusal of a version from disk.
    pub(crate) fn first_list_failure(&self, from_disk: bool) -> Option<&Error> {
        match self {
            Self::Retrying { since, error, .. } => {
                let passes = passes(error, from_disk) && since.elapsed() < TOO_MANY_REQUESTS_GRACE;
                (!passes).then_some(error)
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

/// Whether the next attempt is expected to succeed: the server is busy, or it does not have the version from disk any
/// more, and a list follows.
fn passes(error: &Error, from_disk: bool) -> bool {
    error.is_too_many_requests() || (from_disk && error.code() == Some(410))
}

impl fmt::Display for Phase {
    /// Formats as a short text: `watching`, or `retrying: ` and the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Watching => f.write_str("watching"),
            Self::Retrying { error, .. } => write!(f, "retrying: {error}"),
            Self::TypeGone { .. } => f.write_str("the type is not served"),
            Self::Stopped => f.write_str("stopped"),
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
            from_disk: false,
        }
    }

    /// Returns whether reads of this namespace can be trusted. See [`Status::is_ready`](crate::Status::is_ready).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced
            && !self.from_disk
            && !self.stale
            && !matches!(self.phase, Phase::TypeGone { .. } | Phase::Stopped)
    }

    /// Returns the error of the last attempt while the informer waits for the next one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.phase.error()
    }

    /// The place in [`NamespaceStatuses::failing`], if it has one.
    fn failing(&self, name: &Arc<str>) -> Option<(Option<Instant>, Arc<str>)> {
        match &self.phase {
            Phase::Retrying { since, error, .. } if !self.synced || self.from_disk => {
                Some((passes(error, self.from_disk).then_some(*since), Arc::clone(name)))
            }
            _ => None,
        }
    }
}

impl NamespaceStatuses {
    /// Returns the status of a namespace, or `None` if it is not watched by name.
    #[must_use]
    pub fn get(&self, namespace: &str) -> Option<&NamespaceStatus> {
        self.by_name.get(namespace)
    }

    /// Iterates over the namespaces and their status, ordered by name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &NamespaceStatus)> {
        self.by_name.iter().map(|(name, status)| (&**name, status))
    }

    /// Iterates over the names of the namespaces, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    /// Returns the number of namespaces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns whether there are none, as when all namespaces are watched as one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Why one of the namespaces has no first list, if an attempt at it has failed. O(log n).
    pub(crate) fn first_list_failure(&self) -> Option<&Error> {
        let (_, name) = self.failing.get_min()?;
        let status = self.get(name)?;
        status.phase.first_list_failure(status.from_disk)
    }

    /// Sets the status of a namespace. Returns its previous one.
    fn set(&mut self, name: &Arc<str>, status: NamespaceStatus) -> Option<NamespaceStatus> {
        let failing = status.failing(name);
        let before = self.by_name.insert(Arc::clone(name), status);
        let failed = before.as_ref().and_then(|before| before.failing(name));
        if failed != failing {
            failed.map(|failed| self.failing.remove(&failed));
            failing.map(|failing| self.failing.insert(failing));
        }
        before
    }

    fn remove(&mut self, name: &str) -> Option<(Arc<str>, NamespaceStatus)> {
        let (name, status) = self.by_name.remove_with_key(name)?;
        status.failing(&name).map(|failing| self.failing.remove(&failing));
        Some((name, status))
    }
}

impl std::ops::Index<&str> for NamespaceStatuses {
    type Output = NamespaceStatus;

    /// # Panics
    /// Panics if the namespace is not watched by name.
    fn index(&self, namespace: &str) -> &NamespaceStatus {
        &self.by_name[namespace]
    }
}

impl fmt::Debug for NamespaceStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Summary {
    /// Sets the status of one namespace.
    pub(crate) fn set(&mut self, all: &mut NamespaceStatuses, name: &Arc<str>, status: NamespaceStatus) {
        self.add(name, &status);
        if let Some(before) = all.set(name, status) {
            self.subtract(name, &before, all.get(name));
        }
    }

    pub(crate) fn remove(&mut self, all: &mut NamespaceStatuses, name: &str) {
        if let Some((name, before)) = all.remove(name) {
            self.subtract(&name, &before, None);
        }
    }

    /// Returns the worst of each: the worst phase, the lowest version, the oldest contact, whether all are synced, and
    /// whether any is stale or comes from disk.
    pub(crate) fn worst(&self, all: &NamespaceStatuses) -> NamespaceStatus {
        let worst = self.phases.last().and_then(|(_, _, name)| all.get(name));
        NamespaceStatus {
            phase: worst.map_or(Phase::Watching, |status| status.phase.clone()),
            synced: self.unsynced == 0,
            resource_version: self.versions.first().and_then(|(version, _)| *version),
            last_contact: self.contacts.first().and_then(|(contact, _)| *contact),
            stale: self.stale > 0,
            from_disk: self.from_disk > 0,
        }
    }

    fn add(&mut self, name: &Arc<str>, status: &NamespaceStatus) {
        self.phases.insert((status.phase.severity(), !status.synced, Arc::clone(name)));
        self.versions.insert((status.resource_version, Arc::clone(name)));
        self.contacts.insert((status.last_contact, Arc::clone(name)));
        self.unsynced += usize::from(!status.synced);
        self.stale += usize::from(status.stale);
        self.from_disk += usize::from(status.from_disk);
    }

    /// Forgets the previous status of a namespace, as far as the present one differs.
    fn subtract(&mut self, name: &Arc<str>, before: &NamespaceStatus, now: Option<&NamespaceStatus>) {
        fn differ<T: PartialEq>(
            before: &NamespaceStatus,
            now: Option<&NamespaceStatus>,
            of: impl Fn(&NamespaceStatus) -> T,
        ) -> Option<T> {
            Some(of(before)).filter(|value| now.map(&of).as_ref() != Some(value))
        }
        if let Some((severity, unsynced)) =
            differ(before, now, |status| (status.phase.severity(), !status.synced))
        {
            self.phases.remove(&(severity, unsynced, Arc::clone(name)));
        }
        if let Some(version) = differ(before, now, |status| status.resource_version) {
            self.versions.remove(&(version, Arc::clone(name)));
        }
        if let Some(contact) = differ(before, now, |status| status.last_contact) {
            self.contacts.remove(&(contact, Arc::clone(name)));
        }
        self.unsynced -= usize::from(!before.synced);
        self.stale -= usize::from(before.stale);
        self.from_disk -= usize::from(before.from_disk);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status() -> impl Strategy<Value = NamespaceStatus> {
        let error = Error::Interrupted { resource: "/api/v1/pods".into(), source: None };
        let (since, next) = (Instant::now(), Instant::now());
        let phases = vec![
            Phase::Connecting,
            Phase::Watching,
            Phase::Retrying { since, error, next },
            Phase::TypeGone { since },
        ];
        let version = prop::option::of((1..20_u32).prop_map(|version| version.to_string().parse().unwrap()));
        let contact = prop::option::of((0..20_u64).prop_map(move |after| since + Duration::from_secs(after)));
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        (prop::sample::select(phases), version, contact, flags).prop_map(
            |(phase, resource_version, last_contact, (synced, stale, from_disk))| NamespaceStatus {
                phase,
                synced,
                resource_version,
                last_contact,
                stale,
                from_disk,
            },
        )
    }

    proptest! {
        #[test]
        fn the_summary_is_the_worst_of_each(
            steps in prop::collection::vec((0..6_u8, prop::option::weighted(0.8, status())), 0..60),
        ) {
            let (mut summary, mut all) = (Summary::default(), NamespaceStatuses::default());
            for (name, status) in steps {
                match status {
                    Some(status) => summary.set(&mut all, &name.to_string().into(), status),
                    None => summary.remove(&mut all, &name.to_string()),
                }
                let (each, worst) = (|| all.iter().map(|(_, status)| status), summary.worst(&all));
                let severity = each().map(|status| status.phase.severity()).max().unwrap_or_default();
                prop_assert_eq!(worst.phase.severity(), severity);
                prop_assert_eq!(worst.synced, each().all(|status| status.synced));
                prop_assert_eq!(worst.stale, each().any(|status| status.stale));
                prop_assert_eq!(worst.from_disk, each().any(|status| status.from_disk));
                prop_assert_eq!(
                    worst.resource_version,
                    each().map(|status| status.resource_version).min().flatten()
                );
                prop_assert_eq!(worst.last_contact, each().map(|status| status.last_contact).min().flatten());
                let fails = |status: &NamespaceStatus| {
                    (!status.synced || status.from_disk) && status.error().is_some()
                };
                prop_assert_eq!(all.first_list_failure().is_some(), each().any(fails));
            }
        }
    }

    /// What a 429 means is decided by the oldest of those that are throttled; any other failure counts at once.
    #[tokio::test(start_paused = true)]
    async fn one_namespace_that_failed_is_found_among_throttled_ones() {
        let api = |code| {
            let status = kube::core::Status { code, ..kube::core::Status::default() };
            Error::Api { resource: "/api/v1/pods".into(), status: Arc::new(status) }
        };
        let failing = |code, since| {
            let phase = Phase::Retrying { since, error: api(code), next: since };
            NamespaceStatus { phase, ..NamespaceStatus::new() }
        };
        let (mut summary, mut all, start) =
            (Summary::default(), NamespaceStatuses::default(), Instant::now());
        let mut set = |all: &mut _, name: &str, status| summary.set(all, &name.into(), status);
        set(&mut all, "a", failing(429, start + Duration::from_secs(5)));
        set(&mut all, "b", failing(429, start));
        assert!(all.first_list_failure().is_none());
        set(&mut all, "c", failing(403, start));
        assert_eq!(all.first_list_failure().unwrap().code(), Some(403));
        set(&mut all, "c", NamespaceStatus { synced: true, ..NamespaceStatus::new() });
        assert!(all.first_list_failure().is_none());
        tokio::time::advance(TOO_MANY_REQUESTS_GRACE).await;
        assert_eq!(all.first_list_failure().unwrap().code(), Some(429));
    }
}
