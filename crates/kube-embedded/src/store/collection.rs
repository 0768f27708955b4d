//! The objects of one resource, and the history of what happened to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::object::{ByKey, Object};

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
    pub(super) time: Timestamp,
    pub(super) last: OnceLock<Bytes>,
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

/// The objects of one resource, by key.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) objects: BTreeSet<ByKey>,
    pub(super) history: VecDeque<Arc<Event>>,
    /// The last revision of which an event may be missing from the history.
    pub(super) floor: u64,
    /// The revision of the last write.
    pub(super) last_write: u64,
    /// Wakes watchers.
    pub(super) signal: tokio::sync::watch::Sender<Signal>,
}

/// What watchers of a collection hear.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    /// There may be more in the history.
    Written,
    /// The collection is gone; this was its history.
    Removed(Arc<VecDeque<Arc<Event>>>),
}

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

impl Collection {
    pub(super) fn new(floor: u64) -> Self {
        Self {
            objects: BTreeSet::new(),
            history: VecDeque::new(),
            floor,
            last_write: 0,
            signal: tokio::sync::watch::Sender::new(Signal::Written),
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let old = |event: &Event| now.duration_since(event.time) > HISTORY_AGE;
        while self.history.len() > HISTORY_EVENTS || self.history.front().is_some_and(|event| old(event)) {
            self.floor = self.history.pop_front().map_or(self.floor, |event| event.revision);
        }
    }

    /// The objects of a range, whose limit does not count here.
    pub(super) fn range<'a>(&'a self, range: Range<'_>) -> impl Iterator<Item = &'a Arc<Object>> {
        let start = match range.after {
            Some(after) if after >= range.prefix => Bound::Excluded(after),
            _ => Bound::Included(range.prefix),
        };
        let end = end_of(range.prefix);
        let end = match (end.as_deref(), range.after) {
            // Beyond the prefix there is nothing.
            (Some(end), Some(after)) if after >= end => Bound::Included(after),
            (Some(end), _) => Bound::Excluded(end),
            (None, _) => Bound::Unbounded,
        };
        self.objects.range::<str, _>((start, end)).map(|ByKey(object)| object)
    }

    /// The events after `revision` in a range, undone: what each object that they touched was before them.
    fn undone(&self, range: Range<'_>, revision: u64) -> BTreeMap<&str, Option<&Arc<Object>>> {
        let since = self.history.iter().rev().take_while(|event| event.revision > revision);
        since
            .filter(|event| range.contains(event.key()))
            .map(|event| (event.key(), event.old.as_ref()))
            .collect()
    }

    pub(super) fn page(&self, range: Range<'_>, revision: u64) -> Page {
        let undone = self.undone(range, revision);
        let limit = range.limit.unwrap_or(usize::MAX);
        // Both in the order of their keys: what is as it was then, and what was there in its place.
        let mut unchanged = self.range(range).filter(|object| !undone.contains_key(&*object.key)).peekable();
        let mut changed = undone.values().filter_map(|old| *old).peekable();
        let mut objects: Vec<Arc<Object>> = Vec::new();
        while objects.len() < limit {
            let next = match (unchanged.peek(), changed.peek()) {
                (Some(a), Some(b)) if a.key < b.key => unchanged.next(),
                (Some(_), None) => unchanged.next(),
                (_, Some(_)) => changed.next(),
                (None, None) => break,
            };
            objects.extend(next.cloned());
        }
        let after = objects.last().map(|last| &*last.key).or(range.after);
        let remaining = range.limit.map_or(0, |_| self.count_at(Range { after, ..range }, &undone));
        Page { objects, revision, remaining }
    }

    /// How many objects a range had before some events.
    fn count_at(&self, range: Range<'_>, undone: &BTreeMap<&str, Option<&Arc<Object>>>) -> usize {
        let undone = undone.iter().filter(|(key, _)| range.contains(key));
        undone.fold(self.range(range).count(), |count, (key, old)| {
            count + usize::from(old.is_some()) - usize::from(self.objects.contains(*key))
        })
    }
}

impl Range<'_> {
    /// Whether a key is in it.
    fn contains(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }
}

/// The least text that is greater than all with a prefix. `None`: there is none.
fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        let next = u32::from(last) + 1;
        // Surrogates are no characters: what follows the last one before them is the first one after.
        if let Some(next) = char::from_u32(next).or_else(|| char::from_u32(next + 0x800)) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The events of a history after `revision` and up to `visible`, at most `limit`, and the revision that these bring a
/// reader to, which is `visible` after the last of them.
pub(super) fn after(
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
