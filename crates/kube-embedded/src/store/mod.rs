//! The revisioned store: every write of any object raises one counter, as etcd's does.
//!
//! What always holds:
//! - an object's `metadata.resourceVersion` is the revision of the write that stored it;
//! - a collection's history has every event after its floor, in order, so that a reader at any revision from the
//!   floor on can go on from there, and the collection can be listed as it was at that revision;
//! - the lock is held for one object, one page or one batch of events, never across an await;
//! - of a store with a copy on disk nobody is told what is not synced: answers wait for [`Store::settled`], and watches see
//!   events up to there.

mod disk;
mod object;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) use self::disk::Error as OpenError;
use self::disk::{Change, Log, Record};
pub(crate) use self::object::Object;
use self::object::{ByKey, Draft};
pub(crate) use self::watch::{End, Watch};
use crate::clock::Clock;

/// Events that a collection remembers at most.
const HISTORY_EVENTS: usize = 50_000;
/// How long a collection remembers an event: etcd's default under kube-apiserver.
const HISTORY_AGE: SignedDuration = SignedDuration::from_mins(5);

/// One write.
#[derive(Debug)]
pub(crate) struct Event {
    /// Of this write.
    pub(crate) revision: u64,
    /// The state before; none when it created the object.
    pub(crate) old: Option<Arc<Object>>,
    /// The state after; none when it deleted the object.
    pub(crate) new: Option<Arc<Object>>,
    time: Timestamp,
    last: OnceLock<Bytes>,
}

/// A part of a collection at one revision.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// In the order of their keys.
    pub(crate) objects: Vec<Arc<Object>>,
    /// Of the whole list.
    pub(crate) revision: u64,
    /// How many more there are after these.
    pub(crate) remaining: usize,
}

/// Which objects of a collection to list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range<'a> {
    /// What their keys begin with: `namespace/`, or nothing.
    pub(crate) prefix: &'a str,
    /// Only those after this key.
    pub(crate) after: Option<&'a str>,
    /// No more than this many.
    pub(crate) limit: Option<usize>,
}

/// Why a write or a list did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A create found an object.
    #[error("the object exists")]
    Exists,
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

/// The objects of one resource, by key.
#[derive(Debug)]
struct Collection {
    objects: BTreeSet<ByKey>,
    history: VecDeque<Arc<Event>>,
    /// The last revision of which an event may be missing from the history.
    floor: u64,
    /// Wakes watchers.
    signal: tokio::sync::watch::Sender<Signal>,
}

/// What watchers of a collection hear.
#[derive(Clone, Debug)]
enum Signal {
    /// There may be more in the history.
    Written,
    /// The collection is gone; this was its history.
    Removed(Arc<VecDeque<Arc<Event>>>),
}

#[derive(Debug, Default)]
struct Inner {
    revision: u64,
    /// There is no history of any collection up to here.
    floor: u64,
    collections: HashMap<Arc<str>, Collection>,
    /// The objects that name an owner, by its uid.
    dependents: HashMap<Box<str>, BTreeSet<Place>>,
    /// What the server keeps beside objects.
    kept: BTreeMap<String, Vec<u8>>,
    /// The copy on disk, until it is closed.
    log: Option<Log>,
}

/// How far a store is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// The last write that may be told.
    revision: u64,
    /// No further one will be: the copy on disk is closed or broken.
    ended: bool,
}

/// Where an object is: its collection, and its key there.
pub(crate) type Place = (Arc<str>, Box<str>);

/// All objects of a server.
#[derive(Debug)]
pub(crate) struct Store {
    clock: Clock,
    inner: Mutex<Inner>,
    progress: Arc<tokio::sync::watch::Sender<Progress>>,
    /// Whether there is a copy on disk.
    durable: bool,
}

/// A store that can no longer keep what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Event {
    /// The previous content with this event's resourceVersion, with which clients hear that an object is gone.
    pub(crate) fn last(&self) -> &Bytes {
        self.last.get_or_init(|| {
            let old = self.old.as_ref();
            old.map(|old| old.bytes_at(self.revision)).unwrap_or_default()
        })
    }

    /// The key of the object.
    pub(crate) fn key(&self) -> &str {
        self.new.as_ref().or(self.old.as_ref()).map_or("", |object| &object.key)
    }
}

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

    /// Stores a new object.
    pub(crate) fn create(
        &self,
        collection: &Arc<str>,
        key: &str,
        value: &Value,
    ) -> Result<Arc<Object>, Error> {
        let draft = Draft::new(key, value);
        let inner = self.lock();
        if inner.current(collection, key).is_some() {
            return Err(Error::Exists);
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
        value: &Value,
    ) -> Result<Arc<Object>, Error> {
        let draft = Draft::new(key, value);
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
    /// The first is the cost of the page; the second also that of the events since.
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

    /// What happens in a collection after `revision`, which may be one to come.
    pub(crate) fn watch(self: &Arc<Self>, collection: &Arc<str>, revision: u64) -> Result<Watch, Error> {
        let mut inner = self.lock();
        let watched = inner.collection(collection);
        watched.expire(self.clock.now());
        if revision < watched.floor {
            return Err(Error::Compacted);
        }
        let signal = watched.signal.subscribe();
        drop(inner);
        Ok(Watch::new(Arc::clone(self), Arc::clone(collection), signal, revision))
    }

    /// The first revision from which a collection can be watched.
    pub(crate) fn floor(&self, collection: &str) -> u64 {
        self.lock().collections.get(collection).map_or(0, |collection| collection.floor)
    }

    /// How many objects a collection has under a prefix.
    pub(crate) fn count(&self, collection: &str, prefix: &str) -> usize {
        let inner = self.lock();
        inner.collections.get(collection).map_or(0, |collection| collection.range(prefix, None).count())
    }

    /// Where the objects are that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Place> {
        self.lock().dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Whether any object names `uid` as an owner.
    pub(crate) fn has_dependents(&self, uid: &str) -> bool {
        self.lock().dependents.contains_key(uid)
    }

    /// The names of all collections that have objects under a prefix.
    pub(crate) fn collections(&self, prefix: &str) -> Vec<Arc<str>> {
        let inner = self.lock();
        let with = |collection: &Collection| collection.range(prefix, None).next().is_some();
        inner.collections.iter().filter(|(_, it)| with(it)).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Begins a collection anew, without objects or history; watches of what was there end once they have read that.
    pub(crate) fn reset(&self, collection: &Arc<str>) {
        let mut inner = self.lock();
        let new = Collection::new(inner.revision);
        if let Some(removed) = inner.collections.insert(Arc::clone(collection), new) {
            for ByKey(object) in &removed.objects {
                inner.forget_owners(collection, object);
            }
            let tell = (removed.signal, Signal::Removed(Arc::new(removed.history)));
            self.record(inner, Change::Reset(Arc::clone(collection)), Some(tell));
        }
    }

    /// Ends the watches of a collection, once they have read its history, and forgets that; its objects stay.
    pub(crate) fn renew(&self, collection: &Arc<str>) {
        let mut inner = self.lock();
        let revision = inner.revision;
        let old = inner.collection(collection);
        let objects = std::mem::take(&mut old.objects);
        let new = Collection { objects, ..Collection::new(revision) };
        let removed = std::mem::replace(old, new);
        let tell = (removed.signal, Signal::Removed(Arc::new(removed.history)));
        self.record(inner, Change::None, Some(tell));
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

    /// The events after `revision`, at most `limit`, and the revision that these bring the reader to.
    fn events(&self, collection: &str, revision: u64, limit: usize) -> Result<(Vec<Arc<Event>>, u64), End> {
        let inner = self.lock();
        let visible = self.visible();
        let Some(collection) = inner.collections.get(collection) else {
            return Ok((Vec::new(), visible.max(revision)));
        };
        if revision < collection.floor {
            return Err(End::TooSlow);
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
        collection.history.push_back(Arc::clone(&event));
        collection.expire(time);
        let tell = (collection.signal.clone(), Signal::Written);
        let change = match &event.new {
            Some(new) => Change::Put(Arc::clone(name), Arc::clone(new)),
            None => Change::Remove(Arc::clone(name), event.key().into()),
        };
        self.record(inner, change, Some(tell));
        event
    }

    /// Tells of a change, once it is on disk where that is wanted. The lock is free by then: thousands may hear of it.
    fn record(
        &self,
        inner: MutexGuard<'_, Inner>,
        change: Change,
        tell: Option<(tokio::sync::watch::Sender<Signal>, Signal)>,
    ) {
        let revision = inner.revision;
        if self.durable {
            if let Some(log) = &inner.log {
                // Where nobody writes any more the progress has ended, which those who wait for it hear.
                let _ = log.records.send(Record { change, revision, tell });
            }
            return;
        }
        drop(inner);
        // Others may have told of later changes in between.
        self.progress.send_modify(|progress| progress.revision = progress.revision.max(revision));
        if let Some((signal, told)) = tell {
            signal.send_modify(|last| {
                if matches!(last, Signal::Written) {
                    *last = told;
                }
            });
        }
    }

    /// The last revision that may be told.
    fn visible(&self) -> u64 {
        self.progress.borrow().revision
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
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
    fn collection(&mut self, name: &Arc<str>) -> &mut Collection {
        let floor = self.floor;
        self.collections.entry(Arc::clone(name)).or_insert_with(|| Collection::new(floor))
    }

    fn remember_owners(&mut self, collection: &Arc<str>, object: &Object) {
        for owner in &object.owners {
            let place = (Arc::clone(collection), object.key.clone());
            self.dependents.entry(owner.clone()).or_default().insert(place);
        }
    }

    fn forget_owners(&mut self, collection: &Arc<str>, object: &Object) {
        for owner in &object.owners {
            if let Some(places) = self.dependents.get_mut(owner) {
                places.remove(&(Arc::clone(collection), object.key.clone()));
                if places.is_empty() {
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

impl Collection {
    fn new(floor: u64) -> Self {
        Self {
            objects: BTreeSet::new(),
            history: VecDeque::new(),
            floor,
            signal: tokio::sync::watch::Sender::new(Signal::Written),
        }
    }

    fn expire(&mut self, now: Timestamp) {
        let old = |event: &Event| now.duration_since(event.time) > HISTORY_AGE;
        while self.history.len() > HISTORY_EVENTS || self.history.front().is_some_and(|event| old(event)) {
            self.floor = self.history.pop_front().map_or(self.floor, |event| event.revision);
        }
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&str>) -> impl Iterator<Item = &'a Arc<Object>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.objects
            .range::<str, _>((start, Bound::Unbounded))
            .map(|ByKey(object)| object)
            .take_while(move |object| object.key.starts_with(prefix))
    }

    /// The events after `revision`, undone: what each object that they touched was before them.
    fn undone(&self, revision: u64) -> BTreeMap<&str, Option<&Arc<Object>>> {
        let since = self.history.iter().rev().take_while(|event| event.revision > revision);
        since.map(|event| (event.key(), event.old.as_ref())).collect()
    }

    fn page(&self, range: Range<'_>, revision: u64) -> Page {
        let undone = self.undone(revision);
        let unchanged = self.range(range.prefix, range.after);
        let mut objects: Vec<_> = if undone.is_empty() {
            let limit = range.limit.unwrap_or(usize::MAX);
            let mut rest = unchanged;
            let objects = rest.by_ref().take(limit).cloned().collect();
            // Counting costs as much as listing, so it is done only for a page.
            let remaining = if range.limit.is_some() { rest.count() } else { 0 };
            return Page { objects, revision, remaining };
        } else {
            unchanged.filter(|object| !undone.contains_key(&*object.key)).cloned().collect()
        };
        objects.extend(
            undone
                .values()
                .filter_map(|old| *old)
                .filter(|old| old.key.starts_with(range.prefix))
                .filter(|old| range.after.is_none_or(|after| &*old.key > after))
                .cloned(),
        );
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let limit = range.limit.unwrap_or(usize::MAX).min(objects.len());
        let remaining = objects.len() - limit;
        objects.truncate(limit);
        Page { objects, revision, remaining }
    }
}

/// The events of a history after `revision` and up to `visible`, at most `limit`, and the revision that these bring a
/// reader to, which is `visible` after the last of them.
fn after(
    history: &VecDeque<Arc<Event>>,
    revision: u64,
    limit: usize,
    visible: u64,
) -> (Vec<Arc<Event>>, u64) {
    let first = history.partition_point(|event| event.revision <= revision);
    let new = history.iter().skip(first).take_while(|event| event.revision <= visible);
    let events: Vec<_> = new.take(limit).cloned().collect();
    let reached = match events.last() {
        Some(last) if events.len() == limit => last.revision,
        _ => visible.max(revision),
    };
    (events, reached)
}
