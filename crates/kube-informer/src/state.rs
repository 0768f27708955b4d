//! What the engine writes and the handles read: the store, the status, the subscribers.
//!
//! A subscriber that joins gets a snapshot and every change after it, because publishing and joining hold the lock of
//! the subscribers. The lock of the store is held for one change or for taking a snapshot, never while subscribers are
//! told or bytes are decoded.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use imbl::OrdMap;
use tokio::sync::watch;

use crate::{
    Cached, Index, NamespaceStatus, ResourceVersion, Snapshot, Status,
    delta::Batch,
    index::{self, Indexed, KeysOf, Maintained},
    mailbox::Mailbox,
    metrics::Counters,
    scope::Scope,
    store::Store,
};

pub(crate) struct State<K: Cached> {
    subscribers: Mutex<Subscribers<K>>,
    store: Mutex<Store<K>>,
    status: watch::Sender<Status>,
    counters: Counters,
}

struct Subscribers<K: Cached> {
    mailboxes: Vec<Arc<Mailbox<K>>>,
    closed: bool,
}

impl<K: Cached> State<K> {
    /// What an informer of these scopes shares.
    pub(crate) fn new<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let (mut store, mut status) = (Store::new(), Status::new());
        status.summarize();
        for Scope { namespace, .. } in scopes {
            store.add_scope(namespace.as_ref());
            status.set(namespace.as_deref(), NamespaceStatus::new());
        }
        store.make_visible();
        Self {
            subscribers: Mutex::new(Subscribers { mailboxes: Vec::new(), closed: false }),
            store: Mutex::new(store),
            status: watch::Sender::new(status),
            counters: Counters::default(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// One change of the store, or one look at it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store<K>) -> T) -> T {
        change(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`change`](Self::change), in the name of a scope. None when that is not watched any more.
    pub(crate) fn change_in<T>(&self, scope: &Scope, change: impl FnOnce(&mut Store<K>) -> T) -> Option<T> {
        self.change(|store| (!scope.is_removed()).then(|| change(store)))
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
            subscribers.for_each(|mailbox| mailbox.push(&batch));
        }
        let mailbox = Arc::new(Mailbox::new(snapshot, subscribers.closed));
        subscribers.for_each(|_| {});
        subscribers.mailboxes.push(Arc::clone(&mailbox));
        mailbox
    }

    /// Adds an index. Most of it is built while the cache goes on.
    pub(crate) fn add_index<I>(self: &Arc<Self>, keys_of: Arc<KeysOf<K, I>>) -> Index<K, I>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
    {
        let number = index::next_number();
        let mut maintained = Maintained::new(Arc::clone(&keys_of));
        let mut known = OrdMap::new();
        // The second round has little to do, and what is left for the lock is next to nothing.
        for _ in 0..2 {
            let current = self.change(|store| store.objects().clone());
            maintained.catch_up(&known, &current);
            known = current;
        }
        self.change(|store| {
            maintained.catch_up(&known, store.objects());
            store.add_index(number, Box::new(maintained));
        });
        let weak: Weak<Self> = Arc::downgrade(self);
        Index::new(number, keys_of, weak)
    }

    /// One more scope is watched.
    pub(crate) fn add_scope(&self, scope: &Scope) {
        self.change(|store| store.add_scope(scope.namespace.as_ref()));
        self.status.send_modify(|status| status.set(scope.namespace.as_deref(), NamespaceStatus::new()));
    }

    /// A scope is not watched any more: its objects are gone when this returns.
    pub(crate) fn remove_scope(&self, scope: &Scope) {
        // First, so that nothing comes in its name while it is removed, or after.
        scope.removed.cancel();
        self.change_and_publish(|store| store.remove_scope(scope.namespace.as_deref()));
        let Some(namespace) = &scope.namespace else { return };
        self.status.send_modify(|status| {
            status.remove(namespace);
            self.update_quarantined(status);
        });
    }

    /// The first list of a scope is complete up to this version: this is all of it.
    pub(crate) fn join(&self, scope: &Scope, gathered: Store<K>, version: ResourceVersion) {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.join(gathered);
                store.scope_complete(scope.namespace.as_deref(), version);
            }
        });
    }

    /// A scope cannot be listed so far. The others are not held up by it.
    pub(crate) fn scope_failed(&self, scope: &Scope) {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.scope_failed(scope.namespace.as_deref());
            }
        });
    }

    /// What is there of a scope is complete up to this version. Gives what is told to the subscribers.
    pub(crate) fn publish(&self, scope: &Scope, version: ResourceVersion) -> Option<Batch<K>> {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.scope_complete(scope.namespace.as_deref(), version);
            }
        })
    }

    /// Changes the store and tells the subscribers what it means for them.
    fn change_and_publish(&self, change: impl FnOnce(&mut Store<K>)) -> Option<Batch<K>> {
        let mut subscribers = self.subscribers();
        let (initial, batch) = self.change(|store| {
            change(store);
            let initial = if store.make_visible() { store.snapshot() } else { None };
            (initial, store.take_pending())
        });
        if let Some(snapshot) = initial {
            subscribers.for_each(|mailbox| mailbox.begin(&snapshot));
        }
        if let Some(batch) = &batch {
            subscribers.for_each(|mailbox| mailbox.push(batch));
        }
        batch
    }

    /// Brings the status of a scope up to date. Who waits for a change is woken if it is news.
    pub(crate) fn report_status(&self, scope: &Scope, reported: &NamespaceStatus, wake: bool) {
        self.status.send_if_modified(|status| {
            if !scope.is_removed() {
                status.set(scope.namespace.as_deref(), reported.clone());
            }
            self.update_quarantined(status) || wake
        });
    }

    /// While the status is locked, so that the last word on them is the newest.
    fn update_quarantined(&self, status: &mut Status) -> bool {
        let quarantined = self.change(Store::take_quarantined);
        let changed = quarantined.is_some();
        if let Some(quarantined) = quarantined {
            status.quarantined = Arc::new(quarantined);
        }
        changed
    }

    /// The informer has ended: subscriptions end once they are read, and nobody waits for a sync any more.
    pub(crate) fn close(&self) {
        let mut subscribers = self.subscribers();
        subscribers.closed = true;
        subscribers.for_each(Mailbox::close);
        self.status.send_modify(Status::stop);
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers<K>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Cached> Indexed for State<K> {
    fn remove_index(&self, number: u64) {
        let removed = self.change(|store| store.remove_index(number));
        // Outside of the lock: it can be large.
        drop(removed);
    }
}

#[cfg(feature = "metrics")]
impl<K: Cached> crate::metrics::Measured for State<K> {
    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn measure(&self) -> crate::metrics::Gauges {
        let read = |mailbox: &&Arc<Mailbox<K>>| Arc::strong_count(mailbox) > 1;
        let mailboxes: Vec<_> = self.subscribers().mailboxes.iter().filter(read).cloned().collect();
        // Counting takes the lock of each mailbox: not while the writer waits for that of all.
        let queued = mailboxes.iter().map(|mailbox| mailbox.pending()).sum();
        // Looked through while the writer goes on.
        let objects = self.change(|store| store.objects().clone());
        let object_bytes = objects.values().map(|entry| K::bytes(&entry.object)).sum();
        let status = self.status.borrow();
        crate::metrics::Gauges {
            informers: usize::from(!matches!(status.phase, crate::Phase::Stopped)),
            ready: usize::from(status.is_ready()),
            objects: objects.len(),
            object_bytes,
            quarantined: status.quarantined.len(),
            subscribers: mailboxes.len(),
            queued,
            last_contact: status.last_contact_age(),
            resource_version: status.resource_version,
        }
    }
}

impl<K: Cached> Subscribers<K> {
    /// Tells each; those whose reader is gone are forgotten.
    fn for_each(&mut self, mut visit: impl FnMut(&Mailbox<K>)) {
        self.mailboxes.retain(|mailbox| {
            let read = Arc::strong_count(mailbox) > 1;
            if read {
                visit(mailbox);
            }
            read
        });
    }
}
