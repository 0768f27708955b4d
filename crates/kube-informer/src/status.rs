//! The status of an informer: its progress, its freshness, and what is wrong. How it is written and read.
//!
//! Invariant: no lock is held while code of a user runs, and none is handed out.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    Error, ResourceVersion,
    phase::{NamespaceStatus, NamespaceStatuses, Phase, Summary},
    quarantine::QuarantinedObjects,
};

/// The state of an informer at one moment. Times are the runtime's ([`tokio::time::Instant`]). Cloning is O(1).
///
/// With several namespaces, the worst of them counts: the worst phase, the lowest version, the oldest contact,
/// `synced` only if all are, `stale` and `from_disk` if any is. [`namespaces`](Self::namespaces) has the status of each.
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
    /// Whether the cache comes from disk, where an earlier run left it, and the server has not confirmed yet that it can
    /// be continued: see [`InformerBuilder::persist`](crate::InformerBuilder::persist).
    pub from_disk: bool,
    /// The objects that failed to decode, by key.
    pub quarantined: QuarantinedObjects,
    /// The status of each namespace that is watched by name. Empty if all namespaces are watched as one.
    pub namespaces: NamespaceStatuses,
}

impl Status {
    /// Returns the status of an informer without namespaces.
    fn new() -> Self {
        Self {
            phase: Phase::Watching,
            synced: true,
            resource_version: None,
            last_contact: None,
            stale: false,
            from_disk: false,
            quarantined: QuarantinedObjects::default(),
            namespaces: NamespaceStatuses::default(),
        }
    }

    /// Why there is no first list, if an attempt at it has failed.
    pub(crate) fn not_synced_because(&self) -> Option<&Error> {
        if self.namespaces.is_empty() && (!self.synced || self.from_disk) {
            return self.phase.first_list_failure(self.from_disk);
        }
        self.namespaces.first_list_failure()
    }

    /// Returns whether reads can be trusted: the first list is complete, or the state from disk is confirmed; the cache is
    /// not known to be stale, and the type is served. (When a type goes, the cache becomes empty.)
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced
            && !self.from_disk
            && !self.stale
            && !matches!(self.phase, Phase::TypeGone { .. } | Phase::Stopped)
    }

    /// Returns how long ago the server last sent something that keeps the cache up to date, or `None` if it never
    /// did.
    #[must_use]
    pub fn last_contact_age(&self) -> Option<Duration> {
        self.last_contact.map(|at| at.elapsed())
    }

    /// Returns the error of the last attempt while the informer waits for the next one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.phase.error()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    fn set_whole(&mut self, status: NamespaceStatus) {
        let NamespaceStatus { phase, synced, resource_version, last_contact, stale, from_disk } = status;
        if !self.is_stopped() {
            self.phase = phase;
        }
        (self.synced, self.stale, self.from_disk) = (synced, stale, from_disk);
        (self.resource_version, self.last_contact) = (resource_version, last_contact);
    }
}

/// The informer was stopped: its last handle was dropped, it was cancelled, or the user's code panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer was stopped")]
pub struct Stopped;

/// Follows the status of an informer. Made by [`Informer::watch_status`](crate::Informer::watch_status). It does not
/// keep the informer running, and clones continue from the same status.
///
/// A reader that is slow misses states in between, but never the present one. A new
/// [`last_contact`](Status::last_contact) by itself does not wake a reader.
///
/// ```
/// # use k8s_openapi::api::core::v1::Pod;
/// # use kube_informer::Informer;
/// # async fn example(pods: &Informer<Pod>) {
/// let mut status = pods.watch_status();
/// while let Ok(status) = status.changed().await {
///     println!("{}, ready: {}", status.phase, status.is_ready());
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct StatusWatch {
    published: watch::Receiver<Arc<Status>>,
}

impl StatusWatch {
    /// Returns the present status. O(1), and never waits.
    #[must_use]
    pub fn current(&self) -> Arc<Status> {
        Arc::clone(&self.published.borrow())
    }

    /// Waits for a status later than the last one that this method or [`wait_for`](Self::wait_for) returned, or at
    /// first, later than the one when this was made. Returns the newest.
    ///
    /// This method is cancel safe.
    ///
    /// # Errors
    /// Fails once a status with [`Phase::Stopped`] was returned: there is no later one.
    pub async fn changed(&mut self) -> Result<Arc<Status>, Stopped> {
        // An error means that the informer was dropped, and then `changed` returns what has not been seen.
        if self.current().is_stopped() && !self.published.has_changed().unwrap_or(true) {
            return Err(Stopped);
        }
        self.published.changed().await.map_err(|_| Stopped)?;
        Ok(Arc::clone(&self.published.borrow_and_update()))
    }

    /// Waits until the status fulfils a condition, such as [`Status::is_ready`], and returns it. Returns at once if the
    /// present one does. To limit the time, use [`tokio::time::timeout`].
    ///
    /// The condition may use the informer: no lock is held while it is called. This method is cancel safe.
    ///
    /// # Errors
    /// Fails if the informer stops first.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Arc<Status>, Stopped> {
        loop {
            let status = Arc::clone(&self.published.borrow_and_update());
            if condition(&status) {
                return Ok(status);
            }
            self.changed().await?;
            // The newest one is read again above, where it counts as seen.
        }
    }
}

impl fmt::Debug for StatusWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusWatch").field(&self.current()).finish()
    }
}

/// Publishes the status.
pub(crate) struct Publisher {
    published: watch::Sender<Arc<Status>>,
    /// Locked while a status is written, so that the newest state is written last.
    summary: Mutex<Summary>,
}

/// The right to write the status.
pub(crate) struct Writer<'a> {
    published: &'a watch::Sender<Arc<Status>>,
    summary: MutexGuard<'a, Summary>,
}

/// A status being written.
pub(crate) struct Draft<'a> {
    status: &'a mut Status,
    summary: &'a mut Summary,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        Self { published: watch::Sender::new(Arc::new(Status::new())), summary: Mutex::default() }
    }

    pub(crate) fn current(&self) -> Arc<Status> {
        Arc::clone(&self.published.borrow())
    }

    pub(crate) fn watch(&self) -> StatusWatch {
        StatusWatch { published: self.published.subscribe() }
    }

    pub(crate) fn lock(&self) -> Writer<'_> {
        let summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        Writer { published: &self.published, summary }
    }
}

impl Writer<'_> {
    /// Changes the status, and wakes those who wait for a change if `change` returns true. It must not wait for another
    /// lock.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut Draft<'_>) -> bool) {
        let summary = &mut *self.summary;
        self.published.send_if_modified(|published| {
            // Copies only if a reader holds the last one, and then no more than a few words.
            change(&mut Draft { status: Arc::make_mut(published), summary })
        });
    }
}

impl Draft<'_> {
    /// Sets the status of one namespace, or of all that are watched as one.
    pub(crate) fn set(&mut self, namespace: Option<&Arc<str>>, mut status: NamespaceStatus) {
        let Some(namespace) = namespace else { return self.status.set_whole(status) };
        if self.status.is_stopped() {
            status.phase = Phase::Stopped;
        }
        self.summary.set(&mut self.status.namespaces, namespace, status);
        self.summarize();
    }

    pub(crate) fn remove(&mut self, namespace: &str) {
        self.summary.remove(&mut self.status.namespaces, namespace);
        self.summarize();
    }

    pub(crate) fn set_quarantined(&mut self, quarantined: QuarantinedObjects) {
        self.status.quarantined = quarantined;
    }

    /// The informer has ended.
    pub(crate) fn stop(&mut self) {
        self.status.phase = Phase::Stopped;
        let all = self.status.namespaces.clone();
        for (namespace, status) in all.iter() {
            self.set(Some(&Arc::from(namespace)), status.clone());
        }
    }

    fn summarize(&mut self) {
        let worst = self.summary.worst(&self.status.namespaces);
        self.status.set_whole(worst);
    }
}
