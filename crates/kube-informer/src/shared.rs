//! What the engine writes and the handles read: the published snapshot, the status, the subscribers.
//!
//! A subscriber that joins gets the snapshot and every change after it, because publishing and joining hold the same
//! lock. Readers of snapshots do not: they take another lock, held for one swap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use tokio::sync::watch;

use crate::{
    Phase, Status,
    store::{Cached, Snapshot},
    subscribe::{Delta, Mailbox},
};

pub(crate) struct Shared<K> {
    snapshot: RwLock<Option<Snapshot<K>>>,
    subscribers: Mutex<Subscribers<K>>,
    status: watch::Sender<Status>,
}

struct Subscribers<K> {
    mailboxes: Vec<Weak<Mailbox<K>>>,
    closed: bool,
}

impl<K: Cached> Shared<K> {
    pub(crate) fn new() -> Self {
        Self {
            snapshot: RwLock::new(None),
            subscribers: Mutex::new(Subscribers { mailboxes: Vec::new(), closed: false }),
            status: watch::Sender::new(Status::new()),
        }
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot<K>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn subscribe(&self) -> Arc<Mailbox<K>> {
        let mut subscribers = self.subscribers();
        let mailbox = Arc::new(Mailbox::new(self.snapshot(), subscribers.closed));
        subscribers.mailboxes.push(Arc::downgrade(&mailbox));
        mailbox
    }

    /// The first list is complete.
    pub(crate) fn begin(&self, snapshot: &Snapshot<K>) {
        let mut subscribers = self.subscribers();
        self.swap(snapshot.clone());
        subscribers.each(|mailbox| mailbox.begin(snapshot));
    }

    pub(crate) fn publish(&self, snapshot: Snapshot<K>, deltas: &[Delta<K>]) {
        let mut subscribers = self.subscribers();
        self.swap(snapshot);
        if !deltas.is_empty() {
            subscribers.each(|mailbox| mailbox.push(deltas));
        }
    }

    /// Changes the status; who waits for a change is woken if the answer is yes.
    pub(crate) fn update_status(&self, change: impl FnOnce(&mut Status) -> bool) {
        self.status.send_if_modified(change);
    }

    /// The informer has ended: subscriptions end once they are read, and nobody waits for a sync any more.
    pub(crate) fn close(&self) {
        let mut subscribers = self.subscribers();
        subscribers.closed = true;
        subscribers.each(Mailbox::close);
        self.update_status(|status| {
            status.phase = Phase::Stopped;
            true
        });
    }

    fn swap(&self, snapshot: Snapshot<K>) {
        let mut published = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let before = published.replace(snapshot);
        drop(published);
        // If nobody else holds the old snapshot, its last nodes are freed here, outside the lock.
        drop(before);
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers<K>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Cached> Subscribers<K> {
    fn each(&mut self, mut tell: impl FnMut(&Mailbox<K>)) {
        self.mailboxes.retain(|mailbox| match mailbox.upgrade() {
            Some(mailbox) => {
                tell(&mailbox);
                true
            }
            None => false,
        });
    }
}
