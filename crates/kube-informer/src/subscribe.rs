//! What changes, and who hears of it.
//!
//! A [`Subscription`] is the present state, then [`Event::Synced`], then every later state. What is not yet read waits
//! in it, at most one entry per object: the writer merges a new change into the waiting one and never waits itself.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;

use crate::{
    ObjectKey, ResourceVersion,
    store::{Cached, Snapshot},
};

/// One difference between two states of the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change<K> {
    /// An object is there that was not.
    Added {
        /// Its namespace and name.
        key: ObjectKey,
        /// Its state.
        object: Arc<K>,
        /// Whether it is part of the state in which the subscription began.
        initial: bool,
    },
    /// An object has another state. It is the same object: its uid did not change.
    Updated {
        /// Its namespace and name.
        key: ObjectKey,
        /// The state that this subscription knew before.
        old: Arc<K>,
        /// The present state.
        new: Arc<K>,
    },
    /// An object is not there any more.
    Deleted {
        /// Its namespace and name.
        key: ObjectKey,
        /// Its last known state.
        last: Arc<K>,
        /// How it came to be gone.
        reason: Reason,
    },
}

/// Why an object is gone from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It was deleted.
    Deleted,
    /// It was deleted, or it changed so that the informer's selector leaves it out: a server reports both in the same
    /// way. An informer without a selector never gives this reason.
    DeletedOrLeftSelection,
    /// A list does not have it; it went while the informer was not connected.
    MissedWhileAway,
    /// The type itself is gone, most often because its CustomResourceDefinition was deleted.
    TypeGone,
}

/// What a [`Subscription`] brings.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<K> {
    /// A change. Those before [`Synced`](Self::Synced) are the state in which the subscription began: each is
    /// `Added` with `initial` set.
    Change(Change<K>),
    /// Everything before this was the present state; everything after it is news. Comes once.
    Synced {
        /// How many objects came before.
        count: usize,
        /// The version that they are the state of.
        resource_version: ResourceVersion,
    },
}

impl<K> Change<K> {
    /// The namespace and name of the object.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Added { key, .. } | Self::Updated { key, .. } | Self::Deleted { key, .. } => key,
        }
    }

    /// The state that the change is about: the new one, or the last one of an object that is gone.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added { object, .. }
            | Self::Updated { new: object, .. }
            | Self::Deleted { last: object, .. } => object,
        }
    }
}

// Written out, because a derived `Clone` would ask for `K: Clone`.
impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added { key, object, initial } => {
                Self::Added { key: key.clone(), object: Arc::clone(object), initial: *initial }
            }
            Self::Updated { key, old, new } => {
                Self::Updated { key: key.clone(), old: Arc::clone(old), new: Arc::clone(new) }
            }
            Self::Deleted { key, last, reason } => {
                Self::Deleted { key: key.clone(), last: Arc::clone(last), reason: *reason }
            }
        }
    }
}

/// A subscriber's view of an informer: the present state, then every later one.
///
/// It ends (`None`) when the informer stops. It counts as a handle: as long as it is there, the informer runs.
pub struct Subscription<K> {
    mailbox: Arc<Mailbox<K>>,
    /// Keeps the informer alive.
    _informer: Arc<dyn Send + Sync>,
}

impl<K> Subscription<K> {
    pub(crate) fn new(mailbox: Arc<Mailbox<K>>, informer: Arc<dyn Send + Sync>) -> Self {
        Self { mailbox, _informer: informer }
    }

    /// The next event; waits until there is one. `None` when the informer has stopped and everything was read.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<K>> {
        poll_fn(|context| self.mailbox.poll_next(context)).await
    }

    /// How many changes wait to be read, the initial state aside.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.mailbox.lock().entries.len()
    }
}

impl<K> Stream for Subscription<K> {
    type Item = Event<K>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.mailbox.poll_next(context)
    }
}

/// One difference between two states of the store.
#[derive(Debug)]
pub(crate) enum Delta<K> {
    Added {
        key: ObjectKey,
        object: Arc<K>,
    },
    Updated {
        key: ObjectKey,
        old: Arc<K>,
        new: Arc<K>,
    },
    Deleted {
        key: ObjectKey,
        /// The state that was cached; the last one may be newer.
        old: Arc<K>,
        last: Arc<K>,
        reason: Reason,
    },
}

impl<K> Delta<K> {
    pub(crate) fn key(&self) -> &ObjectKey {
        match self {
            Self::Added { key, .. } | Self::Updated { key, .. } | Self::Deleted { key, .. } => key,
        }
    }
}

/// Where the writer leaves changes for one subscriber.
pub(crate) struct Mailbox<K> {
    inner: Mutex<Inner<K>>,
}

struct Inner<K> {
    initial: Initial<K>,
    /// The waiting changes by object, and the order in which they became waiting.
    entries: HashMap<ObjectKey, (u64, Waiting<K>)>,
    order: BTreeMap<u64, ObjectKey>,
    next_sequence: u64,
    /// The second half of an entry that is two changes.
    ready: VecDeque<Change<K>>,
    waker: Option<Waker>,
    closed: bool,
}

/// The state in which the subscription begins.
enum Initial<K> {
    /// The informer has none yet.
    Awaited,
    /// It is being read: the snapshot, and the last key that was read.
    Reading {
        snapshot: Snapshot<K>,
        last: Option<ObjectKey>,
    },
    Done,
}

/// What a subscriber has not read yet about one object. A subscriber that reads nothing costs one of these per object,
/// however often the object changes. `known` is always the state that the subscriber has read last.
enum Waiting<K> {
    Added { object: Arc<K> },
    Updated { known: Arc<K>, new: Arc<K> },
    Deleted { known: Arc<K>, last: Arc<K>, reason: Reason },
    Replaced { known: Arc<K>, last: Arc<K>, reason: Reason, object: Arc<K> },
}

impl<K> Mailbox<K> {
    pub(crate) fn new(snapshot: Option<Snapshot<K>>, closed: bool) -> Self {
        let initial = match snapshot {
            Some(snapshot) => Initial::Reading { snapshot, last: None },
            None => Initial::Awaited,
        };
        let inner = Inner {
            initial,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next_sequence: 0,
            ready: VecDeque::new(),
            waker: None,
            closed,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// The first list is complete: the subscription begins with this state.
    pub(crate) fn begin(&self, snapshot: &Snapshot<K>) {
        let mut inner = self.lock();
        if matches!(inner.initial, Initial::Awaited) {
            inner.initial = Initial::Reading { snapshot: snapshot.clone(), last: None };
        }
        wake(inner);
    }

    pub(crate) fn push(&self, deltas: &[Delta<K>])
    where
        K: Cached,
    {
        let mut inner = self.lock();
        for delta in deltas {
            inner.merge(delta);
        }
        wake(inner);
    }

    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Event<K>>> {
        let mut inner = self.lock();
        if let Some(event) = inner.next() {
            return Poll::Ready(Some(event));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Wakes the subscriber once the lock is free again.
fn wake<K>(mut inner: MutexGuard<'_, Inner<K>>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<K> Inner<K> {
    fn next(&mut self) -> Option<Event<K>> {
        match &mut self.initial {
            Initial::Awaited => return None,
            Initial::Reading { snapshot, last } => {
                if let Some((key, object)) = snapshot.next_after(last.as_ref()) {
                    let (key, object) = (key.clone(), Arc::clone(object));
                    *last = Some(key.clone());
                    return Some(Event::Change(Change::Added { key, object, initial: true }));
                }
                let synced =
                    Event::Synced { count: snapshot.len(), resource_version: snapshot.resource_version() };
                self.initial = Initial::Done;
                return Some(synced);
            }
            Initial::Done => {}
        }
        if let Some(change) = self.ready.pop_front() {
            return Some(Event::Change(change));
        }
        let (_, key) = self.order.pop_first()?;
        let (_, waiting) = self.entries.remove(&key)?;
        let (first, second) = waiting.into_changes(key);
        self.ready.extend(second);
        Some(Event::Change(first))
    }

    fn merge(&mut self, delta: &Delta<K>)
    where
        K: Cached,
    {
        let key = delta.key();
        let Some((sequence, waiting)) = self.entries.remove(key) else {
            self.order.insert(self.next_sequence, key.clone());
            self.entries.insert(key.clone(), (self.next_sequence, Waiting::new(delta)));
            self.next_sequence += 1;
            return;
        };
        match waiting.merge(delta) {
            Some(waiting) => {
                self.entries.insert(key.clone(), (sequence, waiting));
            }
            None => {
                self.order.remove(&sequence);
            }
        }
    }
}

impl<K> Waiting<K> {
    fn new(delta: &Delta<K>) -> Self {
        match delta {
            Delta::Added { object, .. } => Self::Added { object: Arc::clone(object) },
            Delta::Updated { old, new, .. } => Self::Updated { known: Arc::clone(old), new: Arc::clone(new) },
            Delta::Deleted { old, last, reason, .. } => {
                Self::Deleted { known: Arc::clone(old), last: Arc::clone(last), reason: *reason }
            }
        }
    }

    /// Both as one; none when nothing is left to tell.
    fn merge(self, delta: &Delta<K>) -> Option<Self>
    where
        K: Cached,
    {
        let merged = match delta {
            Delta::Added { object: new, .. } | Delta::Updated { new, .. } => {
                let new = Arc::clone(new);
                match self {
                    Self::Added { .. } => Self::Added { object: new },
                    Self::Updated { known, .. } => Self::Updated { known, new },
                    // The same object again, as when it left a selection and came back.
                    Self::Deleted { known, .. } | Self::Replaced { known, .. }
                        if known.uid() == new.uid() =>
                    {
                        Self::Updated { known, new }
                    }
                    Self::Deleted { known, last, reason } | Self::Replaced { known, last, reason, .. } => {
                        Self::Replaced { known, last, reason, object: new }
                    }
                }
            }
            Delta::Deleted { last, reason, .. } => match self {
                Self::Added { .. } => return None,
                Self::Updated { known, .. } => {
                    Self::Deleted { known, last: Arc::clone(last), reason: *reason }
                }
                Self::Deleted { known, last, reason } | Self::Replaced { known, last, reason, .. } => {
                    Self::Deleted { known, last, reason }
                }
            },
        };
        Some(merged)
    }

    fn into_changes(self, key: ObjectKey) -> (Change<K>, Option<Change<K>>) {
        match self {
            Self::Added { object } => (Change::Added { key, object, initial: false }, None),
            Self::Updated { known, new } => (Change::Updated { key, old: known, new }, None),
            Self::Deleted { last, reason, .. } => (Change::Deleted { key, last, reason }, None),
            Self::Replaced { last, reason, object, .. } => {
                let added = Change::Added { key: key.clone(), object, initial: false };
                (Change::Deleted { key, last, reason }, Some(added))
            }
        }
    }
}
