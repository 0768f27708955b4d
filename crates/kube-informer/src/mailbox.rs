//! Holds the pending changes of one subscriber. The writer never waits for the subscriber.
//!
//! A subscriber that keeps up receives the published batches themselves, which all subscribers share. When a second
//! batch is pending, both are folded into one difference per object, which bounds the cost of a subscriber that does
//! not read. The subscriber folds when it reads; the writer does so only when many differences are pending. With a
//! hundred subscribers the writer thus hands out a hundred references per change, not a hundred hash map entries.
//!
//! Invariant: at most one difference per object is pending, plus [`UNFOLDED`] more in batches that all subscribers
//! share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    Cached, Change, Event, ObjectKey, Snapshot,
    delta::{Batch, Delta, Difference, Pending},
    free::free,
};

/// How many differences may be pending beyond one per object.
const UNFOLDED: usize = 256;

pub(crate) struct Mailbox<K: Cached> {
    inner: Mutex<Inner<K>>,
}

struct Inner<K: Cached> {
    initial: Initial<K>,
    /// What was published before `batches`. Each difference starts from the state that the subscriber read last.
    folded: Pending<K>,
    batches: VecDeque<Batch<K>>,
    /// How many differences of the first batch were read.
    read: usize,
    /// How many differences of the batches were not read.
    unread: usize,
    /// The second change of a difference that consists of two.
    second: Option<Change<K>>,
    waker: Option<Waker>,
    closed: bool,
}

/// The initial state of the subscription.
enum Initial<K: Cached> {
    /// The informer has no snapshot yet.
    Awaited,
    /// The snapshot being read, and the last key that was read.
    Reading {
        snapshot: Snapshot<K>,
        last: Option<ObjectKey>,
    },
    Done,
}

impl<K: Cached> Mailbox<K> {
    pub(crate) fn new(snapshot: Option<Snapshot<K>>, closed: bool) -> Self {
        let initial = match snapshot {
            Some(snapshot) => Initial::Reading { snapshot, last: None },
            None => Initial::Awaited,
        };
        Self { inner: Mutex::new(Inner::new(initial, closed)) }
    }

    /// Sets the initial state, once the first list is complete.
    pub(crate) fn begin(&self, snapshot: &Snapshot<K>) {
        let mut inner = self.lock();
        if matches!(inner.initial, Initial::Awaited) {
            inner.initial = Initial::Reading { snapshot: snapshot.clone(), last: None };
        }
        wake(inner);
    }

    pub(crate) fn push(&self, batch: &Batch<K>) {
        let mut inner = self.lock();
        inner.unread += batch.len();
        inner.batches.push_back(Arc::clone(batch));
        if inner.waiting_beside() > UNFOLDED {
            inner.fold();
        }
        wake(inner);
    }

    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    /// Drops everything pending: the subscriber is gone.
    pub(crate) fn abandon(&self) {
        let kept = std::mem::replace(&mut *self.lock(), Inner::new(Initial::Done, true));
        // Outside of the lock, because it can be large.
        let objects = kept.objects();
        free(kept, objects);
    }

    /// Returns the number of pending changes after merging to one per object.
    pub(crate) fn pending(&self) -> usize {
        let mut inner = self.lock();
        inner.fold();
        inner.folded.len() + usize::from(inner.second.is_some())
    }

    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Event<K>>> {
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

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        // No code that holds the lock panics halfway through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees a batch that was read, unless another subscriber has yet to read it.
fn free_batch<K: Cached>(batch: Batch<K>) {
    let objects = batch.len();
    free(batch, objects);
}

/// Releases the lock, then wakes the subscriber.
fn wake<K: Cached>(mut inner: MutexGuard<'_, Inner<K>>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<K: Cached> Inner<K> {
    fn new(initial: Initial<K>, closed: bool) -> Self {
        Self {
            initial,
            folded: Pending::new(),
            batches: VecDeque::new(),
            read: 0,
            unread: 0,
            second: None,
            waker: None,
            closed,
        }
    }

    fn next(&mut self) -> Option<Event<K>> {
        match &mut self.initial {
            Initial::Awaited => return None,
            Initial::Reading { snapshot, last } => {
                if let Some((key, object)) = snapshot.next_after(last.as_ref()) {
                    let (key, object) = (key.clone(), object.clone());
                    *last = Some(key.clone());
                    return Some(Event::Change(Change::Added { key, object, initial: true }));
                }
                let synced = Event::Synced {
                    count: snapshot.len(),
                    resource_version: snapshot.resource_version(),
                    from_disk: snapshot.is_from_disk(),
                };
                self.initial = Initial::Done;
                return Some(synced);
            }
            Initial::Done => {}
        }
        if let Some(change) = self.second.take() {
            return Some(Event::Change(change));
        }
        let (first, second) = changes(self.next_delta()?);
        self.second = second;
        Some(Event::Change(first))
    }

    fn next_delta(&mut self) -> Option<Delta<K>> {
        if self.batches.len() > 1 || !self.folded.is_empty() {
            self.fold();
            return self.folded.pop();
        }
        let delta = self.batches.front()?.get(self.read).cloned();
        self.read += 1;
        self.unread = self.unread.saturating_sub(1);
        if self.unread == 0 {
            self.batches.drain(..).for_each(free_batch);
            self.read = 0;
        }
        delta
    }

    /// How many differences are pending besides the set that has at most one per object: the folded ones, or else the
    /// first batch.
    fn waiting_beside(&self) -> usize {
        if !self.folded.is_empty() {
            return self.unread;
        }
        let first = self.batches.front().map_or(0, |first| first.len() - self.read);
        self.unread - first
    }

    /// Folds all pending differences to one per object.
    fn fold(&mut self) {
        let mut read = std::mem::take(&mut self.read);
        for batch in self.batches.drain(..) {
            for delta in batch.iter().skip(std::mem::take(&mut read)) {
                self.folded.add(delta.clone());
            }
            free_batch(batch);
        }
        self.unread = 0;
    }

    /// How many objects it keeps in memory, at most.
    fn objects(&self) -> usize {
        let initial = match &self.initial {
            Initial::Reading { snapshot, .. } => snapshot.len(),
            Initial::Awaited | Initial::Done => 0,
        };
        let batches: usize = self.batches.iter().map(|batch| batch.len()).sum();
        initial + self.folded.len() + batches
    }
}

/// Converts a difference to the changes that a subscriber receives.
fn changes<K: Cached>(delta: Delta<K>) -> (Change<K>, Option<Change<K>>) {
    let Delta { key, difference } = delta;
    match difference {
        Difference::Added { object } => (Change::Added { key, object, initial: false }, None),
        Difference::Updated { old, new } => (Change::Updated { key, old, new }, None),
        Difference::Deleted { last, reason, .. } => (Change::Deleted { key, last, reason }, None),
        Difference::Replaced { last, reason, object, .. } => {
            let added = Change::Added { key: key.clone(), object, initial: false };
            (Change::Deleted { key, last, reason }, Some(added))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, task::Waker};

    use k8s_openapi::api::core::v1::ConfigMap;
    use proptest::prelude::*;

    use super::*;
    use crate::DeletionReason;

    const OBJECTS: usize = 400;

    #[derive(Debug, Clone)]
    enum Step {
        /// Publishes a change of each of these objects, given the first one and the count.
        Publish(usize, usize, Change),
        Read(usize),
    }

    #[derive(Debug, Clone, Copy)]
    enum Change {
        Put,
        Delete,
        /// Replaces the object by another one of the same name.
        Replace,
    }

    fn step() -> impl Strategy<Value = Step> {
        let change = prop::sample::select(vec![Change::Put, Change::Put, Change::Delete, Change::Replace]);
        let count = prop_oneof![3 => 1_usize..4, 1 => 1..=OBJECTS];
        prop_oneof![
            4 => (0..OBJECTS, count, change).prop_map(|(first, count, change)| Step::Publish(first, count, change)),
            1 => (0_usize..600).prop_map(Step::Read),
        ]
    }

    #[derive(Default)]
    struct Writer {
        objects: BTreeMap<usize, Arc<ConfigMap>>,
        made: u64,
    }

    impl Writer {
        fn object(&mut self, uid: Option<String>) -> Arc<ConfigMap> {
            self.made += 1;
            let mut object = ConfigMap::default();
            object.metadata.uid = uid.or_else(|| Some(self.made.to_string()));
            object.metadata.resource_version = Some(self.made.to_string());
            Arc::new(object)
        }

        fn change(&mut self, at: usize, change: Change) -> Option<Difference<ConfigMap>> {
            let reason = DeletionReason::Deleted;
            let difference = match (self.objects.get(&at).cloned(), change) {
                (None, Change::Delete) => return None,
                (None, _) => Difference::Added { object: self.object(None) },
                (Some(old), Change::Put) => {
                    Difference::Updated { new: self.object(old.metadata.uid.clone()), old }
                }
                (Some(old), Change::Delete) => Difference::Deleted { last: Arc::clone(&old), old, reason },
                (Some(old), Change::Replace) => {
                    Difference::Replaced { last: Arc::clone(&old), old, reason, object: self.object(None) }
                }
            };
            match &difference {
                Difference::Added { object: new }
                | Difference::Updated { new, .. }
                | Difference::Replaced { object: new, .. } => drop(self.objects.insert(at, Arc::clone(new))),
                Difference::Deleted { .. } => drop(self.objects.remove(&at)),
            }
            Some(difference)
        }
    }

    fn read(mailbox: &Mailbox<ConfigMap>, most: usize, known: &mut BTreeMap<ObjectKey, Arc<ConfigMap>>) {
        for _ in 0..most {
            let Poll::Ready(Some(event)) = mailbox.poll_next(&Context::from_waker(Waker::noop())) else {
                return;
            };
            let Event::Change(change) = event else { panic!("a subscription begins once") };
            let before = known.get(change.key()).map(|known| known.metadata.uid.clone());
            match change {
                crate::Change::Added { key, object, .. } => {
                    assert_eq!(before, None);
                    known.insert(key, object);
                }
                crate::Change::Updated { key, old, new } => {
                    assert_eq!(
                        (before, &old.metadata.uid),
                        (Some(new.metadata.uid.clone()), &new.metadata.uid)
                    );
                    known.insert(key, new);
                }
                crate::Change::Deleted { key, last, .. } => {
                    assert_eq!(before, Some(last.metadata.uid.clone()));
                    known.remove(&key);
                }
            }
        }
    }

    proptest! {
        /// Contract 5: whatever is published and however it is read, little more than one difference per object is
        /// pending, and replaying all of them yields the present state.
        ///
        #[test]
        fn at_most_one_entry_per_object_waits(steps in prop::collection::vec(step(), 1..60)) {
            let mailbox = Mailbox::new(None, false);
            mailbox.lock().initial = Initial::Done;
            let (mut writer, mut known) = (Writer::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Publish(first, count, change) => {
                        let touched = (first..first + count).map(|at| at % OBJECTS);
                        let batch: Vec<Delta<ConfigMap>> = touched
                            .filter_map(|at| {
                                let difference = writer.change(at, change)?;
                                Some(Delta { key: ObjectKey::new("default", &at.to_string()), difference })
                            })
                            .collect();
                        if !batch.is_empty() {
                            mailbox.push(&batch.into());
                        }
                    }
                    Step::Read(count) => read(&mailbox, count, &mut known),
                }
                let inner = mailbox.lock();
                let waiting = inner.folded.len() + inner.unread;
                drop(inner);
                prop_assert!(waiting <= OBJECTS + UNFOLDED, "{waiting} of {OBJECTS} objects");
            }
            prop_assert!(mailbox.pending() <= OBJECTS + 1);
            read(&mailbox, usize::MAX, &mut known);
            let state: BTreeMap<ObjectKey, Arc<ConfigMap>> = writer
                .objects
                .iter()
                .map(|(at, object)| (ObjectKey::new("default", &at.to_string()), Arc::clone(object)))
                .collect();
            prop_assert_eq!(known, state);
        }
    }
}
