//! The objects of one resource, and the history of their changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};

use super::object::{ByKey, Object};

/// The maximum number of events that a collection remembers.
const HISTORY_EVENTS: usize = 50_000;
/// The maximum size of all objects in the events that a collection remembers, in bytes, of which the last event may be the
/// only one.
const HISTORY_BYTES: usize = 256 * 1024 * 1024;
/// How long a collection remembers an event. kube-apiserver compacts etcd at this interval by default.
const HISTORY_AGE: SignedDuration = SignedDuration::from_mins(5);

/// A write.
#[derive(Debug)]
pub(crate) struct Event {
    /// The revision of this write.
    pub(crate) revision: u64,
    /// The previous state. `None` if it created the object.
    pub(crate) old: Option<Arc<Object>>,
    /// The new state. `None` if it deleted the object.
    pub(crate) new: Option<Arc<Object>>,
    pub(super) time: Timestamp,
    pub(super) last: OnceLock<Box<[u8]>>,
}

/// A part of a collection at one revision.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// In the order of their keys.
    pub(crate) objects: Vec<Arc<Object>>,
    /// The revision of the whole list.
    pub(crate) revision: u64,
    /// How many objects follow.
    pub(crate) remaining: usize,
}

/// The range of a collection to list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range<'a> {
    /// The prefix of their keys: `namespace/`, or nothing.
    pub(crate) prefix: &'a str,
    /// Only objects after this key.
    pub(crate) after: Option<&'a str>,
    /// At most this many objects.
    pub(crate) limit: Option<usize>,
}

/// The objects of one resource, by key.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) objects: BTreeSet<ByKey>,
    pub(super) history: VecDeque<Arc<Event>>,
    /// The size of the history's objects.
    history_bytes: usize,
    /// The last revision whose event may be missing from the history.
    pub(super) floor: u64,
    /// The revision of the last write.
    pub(super) last_write: u64,
    /// Wakes watchers.
    pub(super) signal: tokio::sync::watch::Sender<Signal>,
}

/// What watchers of a collection are notified of.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    /// The history may have new events.
    Written,
    /// The collection was removed; this was its history, and the floor of it.
    Removed { history: Arc<VecDeque<Arc<Event>>>, floor: u64 },
}

/// Why a watch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchEnd {
    /// The history no longer has the next events.
    TooSlow,
    /// The collection was removed.
    Removed,
}

impl Event {
    /// The same event with other states, which are for clients only.
    pub(crate) fn with(&self, old: Option<Arc<Object>>, new: Option<Arc<Object>>) -> Self {
        Self { revision: self.revision, old, new, time: self.time, last: OnceLock::new() }
    }

    /// An object as it was found, as if it had been created then.
    pub(crate) fn found(object: Arc<Object>, time: Timestamp) -> Self {
        Self { revision: object.revision, old: None, new: Some(object), time, last: OnceLock::new() }
    }

    /// The previous content with this event's resourceVersion, which clients receive with the deletion.
    pub(crate) fn last(&self) -> &[u8] {
        self.last.get_or_init(|| {
            let old = self.old.as_ref();
            old.map(|old| old.bytes_at(self.revision)).unwrap_or_default()
        })
    }

    /// The size of the state that only this event may still hold.
    fn size(&self) -> usize {
        self.old.as_ref().map_or(0, |old| old.bytes.len())
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
            history_bytes: 0,
            floor,
            last_write: 0,
            signal: tokio::sync::watch::Sender::new(Signal::Written),
        }
    }

    /// Adds an event to the history.
    pub(super) fn remember(&mut self, event: Arc<Event>) {
        self.history_bytes += event.size();
        self.history.push_back(event);
    }

    /// Forgets all events up to a revision.
    pub(super) fn forget(&mut self, revision: u64) {
        self.history.clear();
        (self.history_bytes, self.floor) = (0, revision);
    }

    /// Forgets the events that are too old or too many.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let old = |event: &Event| now.duration_since(event.time) > HISTORY_AGE;
        let full = |it: &Self| {
            it.history.len() > HISTORY_EVENTS || it.history_bytes > HISTORY_BYTES && it.history.len() > 1
        };
        while full(self) || self.history.front().is_some_and(|event| old(event)) {
            let Some(event) = self.history.pop_front() else { break };
            self.history_bytes -= event.size();
            self.floor = event.revision;
        }
    }

    /// The objects in a range, ignoring its limit.
    pub(super) fn range<'a>(&'a self, range: Range<'_>) -> impl Iterator<Item = &'a Arc<Object>> {
        let start = match range.after {
            Some(after) if after >= range.prefix => Bound::Excluded(after),
            _ => Bound::Included(range.prefix),
        };
        let end = end_of(range.prefix);
        let end = match (end.as_deref(), range.after) {
            // There is nothing after the prefix.
            (Some(end), Some(after)) if after >= end => Bound::Included(after),
            (Some(end), _) => Bound::Excluded(end),
            (None, _) => Bound::Unbounded,
        };
        self.objects.range::<str, _>((start, end)).map(|ByKey(object)| object)
    }

    /// Reverts the events in a range after `revision`: the previous state of each object that they changed.
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
        // Both are sorted by key: the objects that have not changed since, and the previous states of the others.
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

    /// How many objects a range had before these events.
    fn count_at(&self, range: Range<'_>, undone: &BTreeMap<&str, Option<&Arc<Object>>>) -> usize {
        let undone = undone.iter().filter(|(key, _)| range.contains(key));
        undone.fold(self.range(range).count(), |count, (key, old)| {
            count + usize::from(old.is_some()) - usize::from(self.objects.contains(*key))
        })
    }
}

impl Range<'_> {
    /// Whether it contains a key.
    fn contains(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }
}

/// The smallest string that is greater than all strings with a prefix. `None` if there is none.
fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        let next = u32::from(last) + 1;
        // Surrogates are not characters: the last character before them is followed by the first one after them.
        if let Some(next) = char::from_u32(next).or_else(|| char::from_u32(next + 0x800)) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The events of a history after `revision` and up to `visible`, at most `limit`, and the revision that the reader has
/// reached with them: `visible` if there are no more.
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
