//! All objects of a server, and the one lock that they are behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
#[cfg(feature = "disk")]
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::collection::{Collection, Event, Page, Range, Signal, after};
#[cfg(feature = "disk")]
use super::disk::{self, OpenError};
use super::log::{Change, Log, Progress, Record};
use super::object::{ByKey, Content, Draft, Location, Object};
use crate::clock::Clock;

/// Why a write or a list did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A create found an object.
    #[error("the object exists")]
    Exists,
    /// An object that a new one needs is gone, or is being deleted.
    #[error("an object that this one needs is gone, or is being deleted")]
    NotLive,
    /// An update or a delete found another state than the caller has seen, or none.
    #[error("the object has changed")]
    Changed,
    /// The collection at this revision is forgotten.
    #[error("the revision is compacted")]
    Compacted,
    /// The revision has not been reached.
    #[error("the revision is in the future")]
    Future,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    revision: u64,
    /// There is no history of any collection up to here.
    floor: u64,
    collections: HashMap<Arc<str>, Collection>,
    /// The objects that name an owner, by its uid.
    dependents: HashMap<Box<str>, BTreeSet<Location>>,
    /// What the server keeps beside objects.
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

/// A store that can no longer keep what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Store {
    /// An empty store at revision 1, as an etcd that has not been written to.
    pub(crate) fn new(clock: Clock) -> Self {
        let inner = Inner { revision: 1, ..Inner::default() };
        let progress = Progress { revision: 1, ended: false };
        Self {
            clock,
            inner: Mutex::new(inner),
            progress: Arc::new(tokio::sync::watch::Sender::new(progress)),
            durable: false,
        }
    }

    /// The store in a folder, which is made if it is not there. History from before is forgotten.
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

    /// Waits until everything that was written before is on disk, where that is wanted.
    pub(crate) async fn settled(&self) -> Result<(), Broken> {
        if !self.durable {
            return Ok(());
        }
        let revision = self.revision();
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.progress.subscribe().wait_for(|it| it.revision >= revision || it.ended).await;
        if self.visible() >= revision { Ok(()) } else { Err(Broken) }
    }

    /// Writes what is left to the disk and closes the file; of further writes nobody is told. Blocks for that long.
    pub(crate) fn close(&self) {
        let log = self.lock().log.take();
        if let Some(Log { records, thread }) = log {
            drop(records);
            // A panic there has been reported, and its progress has ended.
            let _ = thread.join();
        }
    }

    /// What the server keeps under a name beside its objects.
    pub(crate) fn kept(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().kept.get(name).cloned()
    }

    /// All that the server keeps under names that begin so: the rest of the names, and the values.
    pub(crate) fn kept_under(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let inner = self.lock();
        let all = inner.kept.iter();
        all.filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
    }

    /// Keeps something; on disk it is before any later write of an object.
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

    /// Stores a new object, provided that those at `live`, by collection and key, are there and not being deleted.
    pub(crate) fn create(
        &self,
        collection: &Arc<str>,
        key: &str,
        content: Content<'_>,
        live: &[(&str, &str)],
    ) -> Result<Arc<Object>, Error> {
        let draft = Draft::new(key, content);
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

    /// Stores the next state of the object whose state at `seen` the caller has read.
    pub(crate) fn update(
        &self,
        collection: &Arc<str>,
        key: &str,
        seen: u64,
        content: Content<'_>,
    ) -> Result<Arc<Object>, Error> {
        let draft = Draft::new(key, content);
        let inner = self.lock();
        let old = inner.current(collection, key).filter(|old| old.revision == seen).ok_or(Error::Changed)?;
        let object = Arc::new(draft.at(inner.revision + 1));
        self.commit(inner, collection, Some(old), Some(Arc::clone(&object)));
        Ok(object)
    }

    /// Removes the object whose state at `seen` the caller has read; returns the event.
    pub(crate) fn delete(&self, collection: &Arc<str>, key: &str, seen: u64) -> Result<Arc<Event>, Error> {
        let inner = self.lock();
        let old = inner.current(collection, key).filter(|old| old.revision == seen).ok_or(Error::Changed)?;
        Ok(self.commit(inner, collection, Some(old), None))
    }

    /// Lists a collection, now or as it was at a revision.
    ///
    /// The first costs time in proportion to the page, and to the objects after it, which are counted if there is a limit; the second
    /// also in proportion to the events of the collection since then.
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

    /// How many objects a collection has under a prefix.
    pub(crate) fn count(&self, collection: &str, prefix: &str) -> usize {
        let inner = self.lock();
        inner
            .collections
            .get(collection)
            .map_or(0, |collection| collection.range(Range { prefix, ..Range::default() }).count())
    }

    /// The revisions of the last writes to some collections, 0 for one without a write since the start.
    pub(crate) fn last_writes<const N: usize>(&self, collections: [&str; N]) -> [u64; N] {
        let inner = self.lock();
        collections.map(|name| inner.collections.get(name).map_or(0, |collection| collection.last_write))
    }

    /// Where the objects are that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Location> {
        self.lock().dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Whether any object names `uid` as an owner.
    pub(crate) fn has_dependents(&self, uid: &str) -> bool {
        self.lock().dependents.contains_key(uid)
    }

    /// The names of all collections that have objects under a prefix.
    pub(crate) fn collections(&self, prefix: &str) -> Vec<Arc<str>> {
        let inner = self.lock();
        let with =
            |collection: &Collection| collection.range(Range { prefix, ..Range::default() }).next().is_some();
        inner.collections.iter().filter(|(_, it)| with(it)).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Ends the watches of a collection, once they have read its history, and forgets that; its objects stay.
    pub(crate) fn renew(&self, collection: &Arc<str>) {
        let mut inner = self.lock();
        let revision = inner.revision;
        let old = inner.collection(collection);
        let objects = std::mem::take(&mut old.objects);
        let new = Collection { objects, last_write: old.last_write, ..Collection::new(revision) };
        let removed = std::mem::replace(old, new);
        let notify = (removed.signal, Signal::Removed(Arc::new(removed.history)));
        self.record(inner, Change::None, Some(notify));
    }

    /// Forgets all history: lists and watches from before now are `Expired`.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        let revision = inner.revision;
        inner.floor = revision;
        for collection in inner.collections.values_mut() {
            collection.history.clear();
            collection.floor = revision;
        }
    }

    /// Forgets events that are older than the server remembers.
    pub(crate) fn expire(&self) {
        let now = self.clock.now();
        for collection in self.lock().collections.values_mut() {
            collection.expire(now);
        }
    }

    /// The events after `revision`, at most `limit`, and the revision that these bring the reader to. `None`: the history no
    /// longer has them.
    pub(super) fn events(
        &self,
        collection: &str,
        revision: u64,
        limit: usize,
    ) -> Option<(Vec<Arc<Event>>, u64)> {
        let inner = self.lock();
        let visible = self.visible();
        let Some(collection) = inner.collections.get(collection) else {
            return Some((Vec::new(), visible.max(revision)));
        };
        if revision < collection.floor {
            return None;
        }
        Some(after(&collection.history, revision, limit, visible))
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
        collection.history.push_back(Arc::clone(&event));
        collection.expire(time);
        let notify = (collection.signal.clone(), Signal::Written);
        let change = match &event.new {
            Some(new) => Change::Put(Arc::clone(name), Arc::clone(new)),
            None => Change::Remove(Arc::clone(name), event.key().into()),
        };
        self.record(inner, change, Some(notify));
        event
    }

    /// Notifies watches of a change, on a durable store once it is on disk. The lock is released first: there may be thousands.
    fn record(
        &self,
        inner: MutexGuard<'_, Inner>,
        change: Change,
        notify: Option<(tokio::sync::watch::Sender<Signal>, Signal)>,
    ) {
        let revision = inner.revision;
        if self.durable {
            if let Some(log) = &inner.log {
                // A log whose thread has ended has ended the progress too, which wakes those who wait for it.
                let _ = log.records.send(Record { change, revision, notify });
            }
            return;
        }
        drop(inner);
        // Others may have published later changes in between.
        self.progress.send_modify(|progress| progress.revision = progress.revision.max(revision));
        if let Some((signal, new)) = notify {
            signal.send_modify(|last| {
                if matches!(last, Signal::Written) {
                    *last = new;
                }
            });
        }
    }

    /// The last revision that may be told.
    fn visible(&self) -> u64 {
        self.progress.borrow().revision
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
