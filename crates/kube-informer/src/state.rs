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
    Cached, Index, NamespaceStatus, Snapshot, Status, StatusWatch,
    compress::Compressor,
    delta::Batch,
    free::free,
    index::{self, Indexed, KeysOf, Maintained},
    mailbox::Mailbox,
    metrics::Counters,
    scope::{Progress, Scope},
    staging::{Staged, Staging, lock},
    status::{Draft, Publisher},
    store::Store,
};

/// An index that differs from the store by fewer objects is brought up to date under the lock.
const INDEX_BATCH: usize = 1000;
/// How often an index is brought up to date without the lock, at most: a writer that is faster wins in the end.
const INDEX_ROUNDS: usize = 10;

pub(crate) struct State<K: Cached> {
    subscribers: Mutex<Subscribers<K>>,
    store: Mutex<Store<K>>,
    /// Wakes those who wait for a change of an object. The status does not change with each of them.
    changes: watch::Sender<()>,
    staging: Staging<K>,
    status: Publisher,
    counters: Counters,
    compressor: Arc<Compressor>,
}

struct Subscribers<K: Cached> {
    mailboxes: Vec<Arc<Mailbox<K>>>,
    closed: bool,
}

impl<K: Cached> State<K> {
    /// Returns the state of an informer of these scopes.
    pub(crate) fn new<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let (mut store, status) = (Store::new(), Publisher::new());
        for Scope { namespace, .. } in scopes {
            store.add_scope(namespace.as_ref());
            status.lock().write(|draft| {
                draft.set(namespace.as_ref(), NamespaceStatus::new());
                true
            });
        }
        store.make_visible();
        Self {
            subscribers: Mutex::new(Subscribers { mailboxes: Vec::new(), closed: false }),
            store: Mutex::new(store),
            changes: watch::Sender::new(()),
            staging: Staging::new(),
            status,
            counters: Counters::default(),
            compressor: Arc::default(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn compressor(&self) -> &Arc<Compressor> {
        &self.compressor
    }

    /// Changes or reads the store, under its lock.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store<K>) -> T) -> T {
        change(&mut lock(&self.store))
    }

    /// Like [`change`](Self::change), on behalf of a scope. Returns `None` if the scope is not watched any more.
    pub(crate) fn change_in<T>(&self, scope: &Scope, change: impl FnOnce(&mut Store<K>) -> T) -> Option<T> {
        self.change(|store| (!scope.is_removed()).then(|| change(store)))
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot<K>> {
        self.change(Store::snapshot)
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.status.current()
    }

    pub(crate) fn watch_status(&self) -> StatusWatch {
        self.status.watch()
    }

    /// Returns a receiver that is notified of each change of objects that subscribers receive.
    pub(crate) fn watch_changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn subscribe(&self) -> Arc<Mailbox<K>> {
        let mut subscribers = self.subscribers();
        // The snapshot contains what the other subscribers have yet to receive.
        let (batch, snapshot) = self.change(|store| (store.take_pending(), store.snapshot()));
        if let Some(batch) = batch {
            self.send(&mut subscribers, &batch);
        }
        let mailbox = Arc::new(Mailbox::new(snapshot, subscribers.closed));
        subscribers.for_each(|_| {});
        subscribers.mailboxes.push(Arc::clone(&mailbox));
        mailbox
    }

    /// Begins to gather the first list of a scope.
    pub(crate) fn stage(&self, scope: &Scope) -> Staged<K> {
        self.staging.begin(scope)
    }

    /// Adds an index. Most of it is built on the caller's thread without holding a lock.
    pub(crate) fn add_index<I>(self: &Arc<Self>, keys_of: Arc<KeysOf<K, I>>) -> Index<K, I>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
    {
        let number = index::next_number();
        let index = || Maintained::new(Arc::clone(&keys_of));
        for staged in self.staging.add_index(number, Box::new(index())) {
            build_index(&staged, number, index());
        }
        // Last, so that whatever joins this store has the index already.
        build_index(&self.store, number, index());
        let weak: Weak<Self> = Arc::downgrade(self);
        Index::new(number, keys_of, weak)
    }

    /// Adds a scope.
    pub(crate) fn add_scope(&self, scope: &Scope) {
        self.change(|store| store.add_scope(scope.namespace.as_ref()));
        self.report_status(scope, &NamespaceStatus::new(), true);
    }

    /// Removes a scope. When this returns, its objects are gone.
    pub(crate) fn remove_scope(&self, scope: &Scope) {
        // First, so that no change on behalf of the scope happens meanwhile or later.
        scope.removed.cancel();
        self.staging.forget(scope);
        free_batch(self.change_and_publish(|store| store.remove_scope(scope.namespace.as_ref())));
        let Some(namespace) = &scope.namespace else { return };
        self.write_status(|draft| {
            draft.remove(namespace);
            true
        });
    }

    /// Ends gathering the first list of a scope, and returns it.
    pub(crate) fn staged(&self, scope: &Scope, staged: &Staged<K>) -> Store<K> {
        self.staging.end(scope, staged)
    }

    /// Adds a whole scope.
    pub(crate) fn join(&self, scope: &Scope, mut joining: Store<K>, progress: impl Into<Progress>) {
        self.staging.index(&mut joining);
        let mut joining = Some(joining);
        let batch = self.change_and_publish(|store| {
            if !scope.is_removed() {
                joining.take().into_iter().for_each(|joining| store.join(joining));
                store.scope_reached(scope.namespace.as_ref(), progress.into());
            }
        });
        free_batch(batch);
        if let Some(unwatched) = joining {
            free_store(unwatched);
        }
    }

    /// Records that a scope cannot be listed so far, so that it does not hold up the others.
    pub(crate) fn scope_failed(&self, scope: &Scope) {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.scope_failed(scope.namespace.as_ref());
            }
        });
    }

    /// Records the progress of a whole scope. Returns what was sent to the subscribers.
    pub(crate) fn publish(&self, scope: &Scope, progress: impl Into<Progress>) -> Option<Batch<K>> {
        self.change_and_publish(|store| {
            if !scope.is_removed() {
                store.scope_reached(scope.namespace.as_ref(), progress.into());
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
            self.send(&mut subscribers, batch);
        }
        batch
    }

    /// Sends changes to the subscribers, and wakes those who wait for one.
    fn send(&self, subscribers: &mut Subscribers<K>, batch: &Batch<K>) {
        subscribers.for_each(|mailbox| mailbox.push(batch));
        self.changes.send_replace(());
    }

    /// Updates the status of a scope. Wakes those who wait for a change if `wake` is set, or if the quarantined
    /// objects changed.
    pub(crate) fn report_status(&self, scope: &Scope, reported: &NamespaceStatus, wake: bool) {
        self.write_status(|draft| {
            if !scope.is_removed() {
                draft.set(scope.namespace.as_ref(), reported.clone());
            }
            wake
        });
    }

    /// Changes the status, and updates the quarantined objects in it.
    fn write_status(&self, change: impl FnOnce(&mut Draft<'_>) -> bool) {
        let mut writer = self.status.lock();
        let quarantined = self.change(Store::take_quarantined);
        writer.write(|draft| {
            let changed = quarantined.map(|quarantined| draft.set_quarantined(quarantined));
            change(draft) || changed.is_some()
        });
    }

    /// Closes the subscriptions, which end once they are read, and marks the informer as stopped.
    pub(crate) fn close(&self) {
        let mut subscribers = self.subscribers();
        subscribers.closed = true;
        subscribers.for_each(Mailbox::close);
        self.write_status(|draft| {
            draft.stop();
            true
        });
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers<K>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Cached> Drop for State<K> {
    fn drop(&mut self) {
        let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner);
        free_store(std::mem::replace(store, Store::new()));
        for staged in self.staging.drain() {
            let objects = lock(&staged).len();
            free(staged, objects);
        }
    }
}

/// Builds an index of a store, most of it without holding the lock, and adds it.
fn build_index<K: Cached, I>(store: &Mutex<Store<K>>, number: u64, mut index: Maintained<K, I>)
where
    I: Ord + Hash + Clone + Send + Sync + 'static,
{
    let mut known = OrdMap::new();
    for _ in 0..INDEX_ROUNDS {
        let current = lock(store).objects().clone();
        let differed = index.catch_up(&known, &current);
        known = current;
        if differed < INDEX_BATCH {
            break;
        }
    }
    let mut store = lock(store);
    index.catch_up(&known, store.objects());
    store.add_index(number, Box::new(index));
}

fn free_store<K: Cached>(store: Store<K>) {
    let objects = store.len();
    free(store, objects);
}

fn free_batch<K: Cached>(batch: Option<Batch<K>>) {
    let objects = batch.as_ref().map_or(0, |batch| batch.len());
    free(batch, objects);
}

impl<K: Cached> Indexed for State<K> {
    fn remove_index(&self, number: u64) {
        self.staging.remove_index(number);
        let (removed, objects) = self.change(|store| (store.remove_index(number), store.len()));
        // Outside of the lock, because it can be large.
        free(removed, objects);
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
        let status = self.status();
        crate::metrics::Gauges {
            informers: usize::from(!status.is_stopped()),
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::{ObjectKey, ResourceVersion, store::Undecoded};

    const EVENTS: u32 = 300;

    fn version(number: u32) -> ResourceVersion {
        number.to_string().parse().unwrap()
    }

    /// The least time of a few tries, because others use the machine, too.
    fn least(mut run: impl FnMut() -> Duration) -> Duration {
        (0..5).map(|_| run()).min().unwrap_or_default()
    }

    /// How long it takes to report progress of one namespace of a set, while readers hold status and snapshot.
    fn events_with_namespaces(count: u32) -> Duration {
        let scopes: Vec<Scope> =
            (0..count).map(|number| Scope::new(Some(&format!("namespace-{number}")))).collect();
        let state = State::<ConfigMap>::new(&scopes);
        for scope in &scopes {
            state.join(scope, state.staged(scope, &state.stage(scope)), version(1));
        }
        let mut reported = NamespaceStatus { synced: true, ..NamespaceStatus::new() };
        least(|| {
            let began = Instant::now();
            for event in 0..EVENTS {
                let _held = (state.status(), state.snapshot());
                let scope = &scopes[(event % count) as usize];
                reported.resource_version = Some(version(2 + event));
                state.publish(scope, version(2 + event));
                state.report_status(scope, &reported, true);
                assert!(state.status().not_synced_because().is_none());
            }
            began.elapsed()
        })
    }

    /// How long it takes to report events of objects of which one fails to decode and another one decodes again.
    fn events_with_quarantined(count: u32) -> Duration {
        let scope = Scope::new(None);
        let state = State::<ConfigMap>::new([&scope]);
        let item = |number: u32, at| Undecoded {
            key: ObjectKey::new("default", &number.to_string()),
            uid: None,
            version: Some(version(at)),
            error: "missing field".to_owned(),
        };
        let staged = state.stage(&scope);
        (0..count).for_each(|number| lock(&staged).quarantine(1, item(number, 1)));
        state.join(&scope, state.staged(&scope, &staged), version(1));
        least(|| {
            let began = Instant::now();
            for event in 0..EVENTS {
                let _held = state.status();
                state.change(|store| store.quarantine(1, item(count + event, 2)));
                state.report_status(&scope, &NamespaceStatus::new(), false);
                let key = item(count + event, 3).key;
                state.change(|store| {
                    store.delete_at(&key, version(3), None, crate::DeletionReason::Deleted);
                });
                state.report_status(&scope, &NamespaceStatus::new(), false);
            }
            assert_eq!(state.status().quarantined.len(), count as usize);
            began.elapsed()
        })
    }

    /// With a hundred times as many, linear costs would be a hundred times as high.
    #[test]
    fn the_cost_of_an_event_hardly_grows_with_namespaces_or_quarantined_objects() {
        for cost in [events_with_namespaces, events_with_quarantined] {
            let (few, many) = (cost(100), cost(10_000));
            assert!(many < few * 20, "{few:?} with 100, {many:?} with 10,000");
        }
    }
}
