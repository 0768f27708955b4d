//! All objects of a server, behind one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
#[cfg(feature = "disk")]
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::collection::{Collection, Event, Page, Range, Signal, WatchEnd, after};
#[cfg(feature = "disk")]
use super::disk::{self, OpenError};
use super::log::{Change, Log, Progress, Record};
use super::object::{ByKey, Content, Draft, Location, Object};
use crate::clock::Clock;

/// Why a write or a list was not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The object to create exists.
    #[error("the object exists")]
    Exists,
    /// An object that the new one needs does not exist, or is being deleted.
    #[error("an object that this one needs is gone, or is being deleted")]
    NotLive,
    /// The object is larger than [`MAX_OBJECT`].
    #[error("the object is too large")]
    TooLarge,
    /// The object to update or delete does not exist, or not in the state that the caller has seen.
    #[error("the object has changed")]
    Changed,
    /// The history of the collection no longer has this revision.
    #[error("the revision is compacted")]
    Compacted,
    /// The revision has not been reached.
    #[error("the revision is in the future")]
    Future,
}

/// The maximum size of an object in bytes: etcd's default for a request.
const MAX_OBJECT: usize = 3 * 512 * 1024;

#[derive(Debug, Default)]
pub(super) struct Inner {
    revision: u64,
    /// No collection has history up to here.
    floor: u64,
    collections: HashMap<Arc<str>, Collection>,
    /// The objects that name an owner, by its uid.
    dependents: HashMap<Box<str>, BTreeSet<Location>>,
    /// What the server keeps in addition to objects.
    kept: BTreeMap<String, Vec<u8>>,
    /// The copy on disk, until it is closed.
    log: Option<Log>,
}

/// All objects of a server.
#[derive(Debug)]
pub(crate) struct Store {
    pub(super) clock: Clock,
    inner: Mutex<Inner>,
    progress: Arc<tokio::sync::watch::Sender<Progress>>,
    /// Whether there is a copy on disk.
    durable: bool,
}

/// The store can no longer keep what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Store {
    /// Creates an empty store at revision 1, like an etcd that has not been written to.
    pub(crate) fn new(clock: Clock) -> Self {
        Self::in_memory(clock, Inner { revision: 1, ..Inner::default() })
    }

    fn in_memory(clock: Clock, inner: Inner) -> Self {
        let progress = Progress { revision: inner.revision, ended: false };
        Self {
            clock,
            inner: Mutex::new(inner),
            progress: Arc::new(tokio::sync::watch::Sender::new(progress)),
            durable: false,
        }
    }

    /// Creates a store in memory with the objects of another. Earlier history is lost.
    pub(crate) fn copy(&self, clock: Clock) -> Self {
        let from = self.lock();
        let mut inner = Inner {
            revision: from.revision,
            floor: from.revision,
            dependents: from.dependents.clone(),
            kept: from.kept.clone(),
            ..Inner::default()
        };
        for (name, collection) in &from.collections {
            inner.collection(name).objects.clone_from(&collection.objects);
        }
        Self::in_memory(clock, inner)
    }

    /// Opens the store in a folder, which is created if it does not exist. Earlier history is lost.
    #[cfg(feature = "disk")]
    pub(crate) fn open(clock: Clock, folder: &Path) -> Result<Self, OpenError> {
        let progress = Arc::new(tokio::sync::watch::Sender::new(Progress::default()));
        let (loaded, log) = disk::open(folder, Arc::clone(&progress))?;
        let revision = loaded.revision;
        progress.send_modify(|progress| progress.revision = revision);
        let mut inner =
            Inner { revision, floor: revision, kept: loaded.kept, log: Some(log), ..Inner::default() };
        let mut collections: HashMap<Box<str>, Arc<str>> = HashMap::new();
        for (collection, object) in loaded.objects {
            let name = collections.entry(collection).or_insert_with_key(|name| (**name).into());
            let (name, object) = (Arc::clone(name), Arc::new(object));
            inner.remember_owners(&name, &object);
            inner.collection(&name).objects.replace(ByKey(object));
        }
        Ok(Self { clock, inner: Mutex::new(inner), progress, durable: true })
    }

    /// Waits until everything written so far is on disk, if the store is durable.
    pub(crate) async fn settled(&self) -> Result<(), Broken> {
        if !self.durable {
            return Ok(());
        }
        let revision = self.revision();
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.progress.subscribe().wait_for(|it| it.revision >= revision || it.ended).await;
        if self.visible() >= revision { Ok(()) } else { Err(Broken) }
    }

    /// Writes the remaining records to disk and closes the file. Blocks until then. Later writes notify no watches.
    pub(crate) fn close(&self) {
        let log = self.lock().log.take();
        if let Some(Log { records, thread }) = log {
            drop(records);
            // A panic of the thread was reported, and has ended the progress.
            let _ = thread.join();
        }
    }

    /// Returns what the server keeps under a name, in addition to its objects.
    pub(crate) fn kept(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().kept.get(name).cloned()
    }

    /// Returns everything that the server keeps under names with a prefix: the rest of each name, and the value.
    pub(crate) fn kept_under(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let inner = self.lock();
        let all = inner.kept.iter();
        all.filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
    }

    /// Keeps a value. On disk it precedes every later write of an object.
    pub(crate) fn keep(&self, name: &str, value: Vec<u8>) {
        let mut inner = self.lock();
        inner.kept.insert(name.to_owned(), value.clone());
        self.record(inner, Change::Keep(name.to_owned(), value), None);
    }

    /// The revision of the last write.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Waits until the store has reached a revision.
    pub(crate) async fn reach(&self, revision: u64) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.progress.subscribe().wait_for(|progress| progress.revision >= revision).await;
    }

    /// An object as it is now.
    pub(crate) fn get(&self, collection: &str, key: &str) -> Option<Arc<Object>> {
        self.lock().current(collection, key)
    }

    /// Stores a new object, provided that the objects at `live`, given by collection and key, exist and are not being
    /// deleted.
    pub(crate) fn create(
        &self,
        collection: &Arc<str>,
        key: &str,
        content: Content<'_>,
        live: &[(&str, &str)],
    ) -> Result<Arc<Object>, Error> {
        let draft = draft(key, content)?;
        let inner = self.lock();
        if inner.current(collection, key).is_some() {
            return Err(Error::Exists);
        }
        let is_live =
            |(collection, key): &(&str, &str)| inner.current(collection, key).is_some_and(|it| !it.deleted);
        if !live.iter().all(is_live) {
            return Err(Error::NotLive);
        }
        let object = Arc::new(draft.at(inner.revision + 1));
        self.commit(inner, collection, None, Some(Arc::clone(&object)));
        Ok(object)
    }

    /// Stores the next state of an object, provided that its current state is at revision `seen`.
    pub(crate) fn update(
        &self,
        collection: &Arc<str>,
        key: &str,
        seen: u64,
        content: Content<'_>,
    ) -> Result<Arc<Object>, Error> {
        let draft = draft(key, content)?;
        let inner = self.lock();
        let old = inner.current(collection, key).filter(|old| old.revision == seen).ok_or(Error::Changed)?;
        let object = Arc::new(draft.at(inner.revision + 1));
        self.commit(inner, collection, Some(old), Some(Arc::clone(&object)));
        Ok(object)
    }

    /// Removes an object, provided that its current state is at revision `seen`. Returns the event.
    pub(crate) fn delete(&self, collection: &Arc<str>, key: &str, seen: u64) -> Result<Arc<Event>, Error> {
        let inner = self.lock();
        let old = inner.current(collection, key).filter(|old| old.revision == seen).ok_or(Error::Changed)?;
        Ok(self.commit(inner, collection, Some(old), None))
    }

    /// Lists a collection, as of now or of a revision.
    ///
    /// A list as of now takes time in proportion to the page, and, if there is a limit, to the objects after the page,
    /// which are counted. A list as of a revision also takes time in proportion to the collection's events since then.
    pub(crate) fn list(&self, collection: &str, range: Range<'_>, at: Option<u64>) -> Result<Page, Error> {
        let mut inner = self.lock();
        if at.is_some_and(|at| at > inner.revision) {
            return Err(Error::Future);
        }
        let revision = at.unwrap_or(inner.revision);
        let floor = inner.floor;
        let Some(collection) = inner.collections.get_mut(collection) else {
            return if revision < floor {
                Err(Error::Compacted)
            } else {
                Ok(Page { revision, ..Page::default() })
            };
        };
        if at.is_some() {
            collection.expire(self.clock.now());
        }
        if revision < collection.floor {
            return Err(Error::Compacted);
        }
        Ok(collection.page(range, revision))
    }

    /// The first revision from which a collection can be watched.
    pub(crate) fn floor(&self, collection: &str) -> u64 {
        self.lock().collections.get(collection).map_or(0, |collection| collection.floor)
    }

    /// All objects that a collection has under a prefix now, in the order of their keys.
    pub(crate) fn all(&self, collection: &str, prefix: &str) -> Vec<Arc<Object>> {
        let inner = self.lock();
        let found = inner.collections.get(collection);
        found.map_or_else(Vec::new, |it| it.range(Range { prefix, ..Range::default() }).cloned().collect())
    }

    /// How many objects a collection has under a prefix.
    pub(crate) fn count(&self, collection: &str, prefix: &str) -> usize {
        let inner = self.lock();
        inner
            .collections
            .get(collection)
            .map_or(0, |collection| collection.range(Range { prefix, ..Range::default() }).count())
    }

    /// The revisions of the last writes to some collections. 0 for a collection that was not written since the start.
    pub(crate) fn last_writes<const N: usize>(&self, collections: [&str; N]) -> [u64; N] {
        let inner = self.lock();
        collections.map(|name| inner.collections.get(name).map_or(0, |collection| collection.last_write))
    }

    /// The locations of the objects that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Location> {
        self.lock().dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Whether any object names `uid` as an owner.
    pub(crate) fn has_dependents(&self, uid: &str) -> bool {
        self.lock().dependents.contains_key(uid)
    }

    /// The names of all collections that have objects under a prefix, in order.
    pub(crate) fn collections(&self, prefix: &str) -> Vec<Arc<str>> {
        let inner = self.lock();
        let with =
            |collection: &Collection| collection.range(Range { prefix, ..Range::default() }).next().is_some();
        let mut names: Vec<_> =
            inner.collections.iter().filter(|(_, it)| with(it)).map(|(name, _)| Arc::clone(name)).collect();
        names.sort_unstable();
        names
    }

    /// Ends the watches of a collection after they have read its history, and forgets the history. The objects stay.
    pub(crate) fn renew(&self, collection: &Arc<str>) {
        let mut inner = self.lock();
        let revision = inner.revision;
        let old = inner.collection(collection);
        let objects = std::mem::take(&mut old.objects);
        let mut new = Collection::new(revision);
        (new.objects, new.last_write) = (objects, old.last_write);
        let removed = std::mem::replace(old, new);
        let Collection { signal, history, floor, .. } = removed;
        let notify = (signal, Signal::Removed { history: Arc::new(history), floor });
        self.record(inner, Change::None, Some(notify));
    }

    /// Forgets all history: lists and watches at earlier revisions are `Expired`.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        let revision = inner.revision;
        inner.floor = revision;
        for collection in inner.collections.values_mut() {
            collection.forget(revision);
        }
    }

    /// Forgets events that are too old.
    pub(crate) fn expire(&self) {
        let now = self.clock.now();
        for collection in self.lock().collections.values_mut() {
            collection.expire(now);
        }
    }

    /// The events after `revision`, at most `limit`, and the revision that the reader has reached with them.
    ///
    /// # Errors
    /// Fails if the history no longer has them, or if the collection that `signal` is of was removed.
    pub(super) fn events(
        &self,
        collection: &str,
        signal: &tokio::sync::watch::Receiver<Signal>,
        revision: u64,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), WatchEnd> {
        let inner = self.lock();
        let visible = self.visible();
        let collection = inner.collections.get(collection);
        let collection = collection.filter(|it| it.signal.subscribe().same_channel(signal));
        let collection = collection.ok_or(WatchEnd::Removed)?;
        if revision < collection.floor {
            return Err(WatchEnd::TooSlow);
        }
        Ok(after(&collection.history, revision, limit, visible))
    }

    fn commit(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        name: &Arc<str>,
        old: Option<Arc<Object>>,
        new: Option<Arc<Object>>,
    ) -> Arc<Event> {
        inner.revision += 1;
        let (revision, time) = (inner.revision, self.clock.now());
        if let Some(old) = &old {
            inner.forget_owners(name, old);
        }
        if let Some(new) = &new {
            inner.remember_owners(name, new);
        }
        let event = Arc::new(Event { revision, old, new, time, last: OnceLock::new() });
        let collection = inner.collection(name);
        match &event.new {
            Some(new) => {
                collection.objects.replace(ByKey(Arc::clone(new)));
            }
            None => {
                collection.objects.remove(event.key());
            }
        }
        collection.last_write = revision;
        collection.remember(Arc::clone(&event));
        collection.expire(time);
        let notify = (collection.signal.clone(), Signal::Written);
        let change = match &event.new {
            Some(new) => Change::Put(Arc::clone(name), Arc::clone(new)),
            None => Change::Remove(Arc::clone(name), event.key().into()),
        };
        self.record(inner, change, Some(notify));
        event
    }

    /// Notifies watches of a change; in a durable store, once it is on disk. The lock is released first, because there
    /// may be thousands of watches.
    fn record(
        &self,
        inner: MutexGuard<'_, Inner>,
        change: Change,
        notify: Option<(tokio::sync::watch::Sender<Signal>, Signal)>,
    ) {
        let revision = inner.revision;
        if self.durable {
            if let Some(log) = &inner.log {
                // If the log's thread has ended, the progress has ended too, which wakes everything that waits for it.
                let _ = log.records.send(Record { change, revision, notify });
            }
            return;
        }
        drop(inner);
        // Later changes may have been published in the meantime.
        self.progress.send_modify(|progress| progress.revision = progress.revision.max(revision));
        if let Some((signal, new)) = notify {
            signal.send_modify(|last| {
                if matches!(last, Signal::Written) {
                    *last = new;
                }
            });
        }
    }

    /// The last revision that may be visible.
    fn visible(&self) -> u64 {
        self.progress.borrow().revision
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock panics in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn draft(key: &str, content: Content<'_>) -> Result<Draft, Error> {
    let draft = Draft::new(key, content);
    if draft.len() > MAX_OBJECT { Err(Error::TooLarge) } else { Ok(draft) }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    pub(super) fn collection(&mut self, name: &Arc<str>) -> &mut Collection {
        let floor = self.floor;
        self.collections.entry(Arc::clone(name)).or_insert_with(|| Collection::new(floor))
    }

    fn remember_owners(&mut self, collection: &Arc<str>, object: &Object) {
        for owner in &object.owners {
            self.dependents.entry(owner.clone()).or_default().insert(object.location(collection));
        }
    }

    fn forget_owners(&mut self, collection: &Arc<str>, object: &Object) {
        for owner in &object.owners {
            if let Some(locations) = self.dependents.get_mut(owner) {
                locations.remove(&object.location(collection));
                if locations.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    fn current(&self, collection: &str, key: &str) -> Option<Arc<Object>> {
        let ByKey(object) = self.collections.get(collection)?.objects.get(key)?;
        Some(Arc::clone(object))
    }
}
