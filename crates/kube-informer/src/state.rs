//! The state that the engine writes and the handles read: store, status and subscribers.
//!
//! A new subscriber gets a snapshot and every change after it, because publishing and subscribing hold the lock of
//! the subscribers. The lock of the store is held for one change or for taking a snapshot, but never while
//! subscribers are notified or bytes are decoded.

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
    /// Returns the state of an informer of these scopes.
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

    /// Changes or reads the store, under its lock.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store<K>) -> T) -> T {
        change(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Like [`change`](Self::change), on behalf of a scope. Returns `None` if the scope is not watched any more.
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
        // The snapshot contains what the other subscribers have yet to receive.
        let (batch, snapshot) = self.change(|store| (store.take_pending(), store.snapshot()));
        if let Some(batch) = batch {
            subscribers.for_each(|mailbox| mailbox.push(&batch));
        }
        let mailbox = Arc::new(Mailbox::new(snapshot, subscribers.closed));
        subscribers.for_each(|_| {});
        subscribers.mailboxes.push(Arc::clone(&mailbox));
        mailbox
    }

    /// Adds an index. Most of it is built without holding the lock.
    pub(crate) fn add_index<I>(self: &Arc<Self>, keys_of: Arc<KeysOf<K, I>>) -> Index<K, I>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
    {
        let number = index::next_number();
        let mut maintained = Maintained::new(Arc::clone(&keys_of));
        let mut known = OrdMap::new();
        // The second round has little to do, which leaves next to nothing to do under the lock.
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

    /// Adds a scope.
    pub(crate) fn add_scope(&self, scope: &Scope) {
        self.change(|store| store.add_scope(scope.namespace.as_ref()));
        self.status.send_modify(|status| status.set(scope.namespace.as_deref(), NamespaceStatus::new()));
    }

    /// Removes a scope. When this returns, its objects are gone.
    pub(crate) fn remove_scope(&self, scope: &Scope) {
        // First, so that no change on behalf of the scope happens meanwhile or later.
        scope.removed.cancel();
        self.change_and_publish(|store| store.remove_scope(scope.namespace.as_deref()));
        let Some(namespace) = &scope.namespace else { return };
        self.status.send_modify(|status| {
            status.remove(namespace);
            self.update_quarantined(status);
        });
    }

    /// Adds the complete first list of a scope, which is complete up to this version.
    pub(crate) fn join(&self, scope: &Scope, staged: Store<K>, version: ResourceVersion) {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.join(staged);
                store.scope_complete(scope.namespace.as_deref(), version);
            }
        });
    }

    /// Records that a scope cannot be listed so far, so that it does not hold up the others.
    pub(crate) fn scope_failed(&self, scope: &Scope) {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.scope_failed(scope.namespace.as_deref());
            }
        });
    }

    /// Records that a scope is complete up to this version. Returns what was sent to the subscribers.
    pub(crate) fn publish(&self, scope: &Scope, version: ResourceVersion) -> Option<Batch<K>> {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.scope_complete(scope.namespace.as_deref(), version);
            }
        })
    }

    /// Changes the store and sends the resulting events to the subscribers.
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

    /// Updates the status of a scope. Wakes those who wait for a change if `wake` is set, or if the quarantined
    /// objects changed.
    pub(crate) fn report_status(&self, scope: &Scope, reported: &NamespaceStatus, wake: bool) {
        self.status.send_if_modified(|status| {
            if !scope.is_removed() {
                status.set(scope.namespace.as_deref(), reported.clone());
            }
            self.update_quarantined(status) || wake
        });
    }

    /// Called while the status is locked, so that the newest state is written last.
    fn update_quarantined(&self, status: &mut Status) -> bool {
        let quarantined = self.change(Store::take_quarantined);
        let changed = quarantined.is_some();
        if let Some(quarantined) = quarantined {
            status.quarantined = Arc::new(quarantined);
        }
        changed
    }

    /// Closes the subscriptions, which end once they are read, and marks the informer as stopped.
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
        // Dropped outside of the lock, because it can be large.
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
        // Counting takes the lock of each mailbox, so it must not hold the lock of all subscribers, which the writer
        // needs.
        let queued = mailboxes.iter().map(|mailbox| mailbox.pending()).sum();
        // Walked without the lock, so that the writer can go on.
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
    /// Calls `visit` for each subscriber, and forgets those whose reader is gone.
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
