//! What the engine writes and the handles read: the store, the status, the subscribers.
//!
//! A subscriber that joins gets a snapshot and every change after it, because publishing and joining hold the lock of
//! the subscribers. The lock of the store is held for one change or for taking a snapshot, never while subscribers are
//! told or bytes are decoded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{Cached, Phase, ResourceVersion, Snapshot, Status, delta::Batch, mailbox::Mailbox, store::Store};

pub(crate) struct Shared<K: Cached> {
    subscribers: Mutex<Subscribers<K>>,
    store: Mutex<Store<K>>,
    status: watch::Sender<Status>,
}

struct Subscribers<K: Cached> {
    mailboxes: Vec<Arc<Mailbox<K>>>,
    closed: bool,
}

impl<K: Cached> Shared<K> {
    pub(crate) fn new() -> Self {
        Self {
            subscribers: Mutex::new(Subscribers { mailboxes: Vec::new(), closed: false }),
            store: Mutex::new(Store::new()),
            status: watch::Sender::new(Status::new()),
        }
    }

    /// One change of the store, or one look at it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store<K>) -> T) -> T {
        change(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot<K>> {
        self.change(Store::snapshot)
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn subscribe(&self) -> Arc<Mailbox<K>> {
        let mut subscribers = self.subscribers();
        // The snapshot has what the others have yet to be told.
        let (batch, snapshot) = self.change(|store| (store.take_pending(), store.snapshot()));
        if let Some(batch) = batch {
            subscribers.each(|mailbox| mailbox.push(&batch));
        }
        let mailbox = Arc::new(Mailbox::new(snapshot, subscribers.closed));
        subscribers.each(|_| {});
        subscribers.mailboxes.push(Arc::clone(&mailbox));
        mailbox
    }

    /// The store is complete up to this version. Gives what is told to the subscribers.
    pub(crate) fn publish(&self, version: ResourceVersion) -> Option<Batch<K>> {
        let mut subscribers = self.subscribers();
        let batch = self.change(|store| {
            store.publish(version);
            store.take_pending()
        });
        if let Some(batch) = &batch {
            subscribers.each(|mailbox| mailbox.push(batch));
        }
        batch
    }

    /// The first list is complete.
    pub(crate) fn begin(&self, version: ResourceVersion) {
        let mut subscribers = self.subscribers();
        let snapshot = self.change(|store| {
            store.publish(version);
            store.snapshot()
        });
        if let Some(snapshot) = snapshot {
            subscribers.each(|mailbox| mailbox.begin(&snapshot));
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

    fn subscribers(&self) -> MutexGuard<'_, Subscribers<K>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Cached> Subscribers<K> {
    /// Tells each; those whose reader is gone are forgotten.
    fn each(&mut self, mut tell: impl FnMut(&Mailbox<K>)) {
        self.mailboxes.retain(|mailbox| {
            let read = Arc::strong_count(mailbox) > 1;
            if read {
                tell(mailbox);
            }
            read
        });
    }
}
