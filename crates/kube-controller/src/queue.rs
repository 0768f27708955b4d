//! Which key runs next: a state machine without I/O or clock.
//!
//! A key is in one of these states, and [`Queue::take`] gives ready ones only:
//!
//! - *ready*: it may run now. Ready keys are ordered by priority and then by when they became ready.
//! - *waiting*: it is due later, by a timer or retry, after a debounce, or because it is slowed.
//! - *running*: taken and not finished. What is added then makes exactly one more run, ready when this one ends.
//! - *held*: its caches lack its own writes. It keeps the time at which it became ready.
//! - *failed terminally*: nothing is scheduled, until it changes.
//!
//! Up to four things are scheduled for a key, and the earliest decides: changes that no run has seen yet, the retry of a
//! failure, the timer that a successful run asked for, and the first run of what was there at the start. A run acts on all
//! changes so far. It replaces the timer only if it succeeds. It replaces the retry if it succeeds, or fails once the retry
//! is due; until then, failures of runs that changes or timers caused move neither the retry nor the count of failures.

mod entry;
mod ready;
mod reasons;
mod time;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use kube_informer::ObjectKey;
use tokio::time::Instant;

pub(crate) use self::{entry::Wait, reasons::Reasons};
use self::{
    entry::{Entry, Spot},
    ready::Ready,
    time::{Clock, Place},
};
use crate::{
    backoff::Backoff,
    reason::{Reason, Trigger},
};

/// Every so many picks the key that is ready for longest is taken, whatever its priority, so that waits are bounded.
const LONGEST_READY_EVERY: u32 = 8;

/// The reasons of a key that was there when the controller began, and has not changed.
const LISTED: &[Reason] = &[Reason::of(Trigger::Listed)];

/// Which key runs next. All operations take O(log n), except for [`Queue::entries`].
#[derive(Debug)]
pub(crate) struct Queue {
    options: QueueOptions,
    rng: fastrand::Rng,
    clock: Clock,
    entries: HashMap<ObjectKey, Entry>,
    /// The entries whose spot at the clock's time is ready.
    ready: Ready<Place>,
    /// The entries whose spot at the clock's time is waiting.
    waiting: BTreeMap<Place, ObjectKey>,
    /// The last number that was given to an entry.
    sequence: u64,
    /// Takes since the last one that took the longest ready key.
    takes: u32,
    stopped: bool,
}

/// How a queue treats its keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueOptions {
    /// Whether changes are collected before a run. Timers and retries are not deferred.
    pub(crate) debounce: Option<Debounce>,
    /// How long a key waits after failures.
    pub(crate) backoff: Backoff,
}

/// How long changes are collected before a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debounce {
    /// Time without a change after which the key is ready.
    pub(crate) quiet: Duration,
    /// Time after the first change after which the key is ready in any case.
    pub(crate) at_most: Duration,
}

/// Something that happened to a key.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Higher ones run first.
    pub(crate) priority: i32,
    pub(crate) reason: Reason,
    /// Whether the key's own object has a new generation or uid or was deleted: what failed before says nothing about
    /// what comes now. Failures are forgotten, and the outcome of a run that goes on does not count.
    pub(crate) resets: bool,
}

/// A key that is to run now.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) key: ObjectKey,
    pub(crate) priority: i32,
    pub(crate) reasons: Reasons,
    /// How many times in a row the key failed before.
    pub(crate) failures: u32,
    /// Time since the key became ready.
    pub(crate) waited: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded.
    Done,
    /// It succeeded, and the key is to run again after this time or earlier.
    RequeueAfter(Duration),
    /// It failed and is to be retried.
    Failed,
    /// It failed in a way that only a change can mend.
    Terminal,
}

/// A key of the queue, for people.
#[derive(Debug)]
pub(crate) struct EntryView<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) state: EntryState,
    /// The priority of its run if it runs, else of what is scheduled.
    pub(crate) priority: i32,
    /// The changes that no run has seen yet, at most 16.
    pub(crate) reasons: &'a [Reason],
    /// How many more changes there were.
    pub(crate) omitted: u32,
    /// How many times in a row it has failed.
    pub(crate) failures: u32,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// It may run.
    Ready {
        /// When it became ready.
        since: Instant,
    },
    /// It may run later.
    Waiting {
        /// When it becomes ready. `None` if that is centuries away.
        until: Option<Instant>,
        /// Why it waits.
        why: Wait,
    },
    /// It runs.
    Running {
        /// When it was taken.
        since: Instant,
    },
    /// It does not run before its caches have its own writes.
    Held,
    /// It does not run before it changes.
    Terminal,
}

impl Queue {
    /// Returns a queue without keys. The random numbers spread the retries.
    pub(crate) fn new(options: QueueOptions, rng: fastrand::Rng) -> Self {
        Self {
            options,
            rng,
            clock: Clock::new(),
            entries: HashMap::new(),
            ready: Ready::new(),
            waiting: BTreeMap::new(),
            sequence: 0,
            takes: 0,
            stopped: false,
        }
    }

    /// Notes that something happened to a key that is a reason to run it. It need not be known before.
    ///
    /// A key has one entry, of the highest priority and the earliest time of all that is scheduled for it. A change lifts
    /// a terminal error, and does not wait for a retry.
    pub(crate) fn add(&mut self, now: Instant, key: &ObjectKey, change: Change) {
        let Change { priority, reason, resets } = change;
        let debounce = self.options.debounce.map(|debounce| (debounce.quiet, debounce.at_most));
        self.advance(now);
        let now = self.clock.now();
        self.update(key, |entry| {
            entry.change(now, debounce).reasons.push(reason);
            entry.priority = entry.priority.max(priority);
            entry.terminal = false;
            if resets {
                entry.failures = 0;
                entry.retry = None;
                entry.void = entry.running.is_some();
            }
        });
    }

    /// Notes that the object of a key was there when the controller began, which is a reason to run it at once.
    pub(crate) fn list(&mut self, now: Instant, key: &ObjectKey, priority: i32) {
        self.advance(now);
        let now = self.clock.now();
        self.update(key, |entry| {
            entry.listed = Some(now);
            entry.priority = entry.priority.max(priority);
        });
    }

    /// Takes the key that is to run next: of those with the highest priority the one that became ready first or, every
    /// eighth time, the one of all that became ready first. `None` if none is ready, or after [`Queue::stop`].
    pub(crate) fn take(&mut self, now: Instant) -> Option<Taken> {
        if self.stopped {
            return None;
        }
        self.advance(now);
        let turn = self.takes + 1 == LONGEST_READY_EVERY;
        let key = if turn { self.ready.longest_ready() } else { self.ready.most_urgent() }?.clone();
        self.takes = if turn { 0 } else { self.takes + 1 };
        let now = self.clock.now();
        let (priority, reasons, failures, waited) = self.update(&key, |entry| {
            let waited = entry.due().map_or(Duration::ZERO, |(due, _)| now.since(due));
            let mut reasons = entry.changes.take().map(|changes| changes.reasons).unwrap_or_default();
            if entry.timer.take_if(|timer| *timer <= now).is_some() {
                reasons.push_front(Reason::of(Trigger::Timer));
            }
            if entry.listed.take().is_some() {
                reasons.push_front(Reason::of(Trigger::Listed));
            }
            // The retry stays, because a failure is compared with it.
            if entry.retry.is_some_and(|retry| retry <= now) {
                reasons.push_front(Reason::of(Trigger::Retry));
            }
            entry.slowed = None;
            entry.running = Some(now);
            entry.running_priority = std::mem::replace(&mut entry.priority, i32::MIN);
            entry.void = false;
            (entry.running_priority, reasons, entry.failures, waited)
        });
        Some(Taken { key, priority, reasons, failures, waited })
    }

    /// Notes that the run of a key has ended. Returns, if it failed, the time after which the key is due again: that of
    /// its retry, or zero if it changed during the run. Does nothing if the key does not run.
    pub(crate) fn finish(&mut self, now: Instant, key: &ObjectKey, outcome: Outcome) -> Option<Duration> {
        self.advance(now);
        let now = self.clock.now();
        let backoff = self.options.backoff;
        let mut rng = self.rng.clone();
        let due = self.update(key, |entry| {
            entry.running.take()?;
            if let Some(changes) = &mut entry.changes {
                changes.at = changes.at.max(now);
            }
            if !entry.void {
                match outcome {
                    Outcome::Done | Outcome::RequeueAfter(_) => {
                        entry.failures = 0;
                        entry.retry = None;
                        entry.timer = None;
                    }
                    Outcome::Failed => {
                        // A timer that came due meanwhile has had its run: this one.
                        entry.timer.take_if(|timer| *timer <= now);
                        if entry.retry.is_none_or(|retry| retry <= now) {
                            entry.retry = Some(now.after(backoff.delay(entry.failures, &mut rng)));
                            entry.failures = entry.failures.saturating_add(1);
                        }
                    }
                    Outcome::Terminal => {
                        entry.timer = None;
                        entry.retry = None;
                        entry.terminal = entry.changes.is_none();
                    }
                }
                if let Outcome::RequeueAfter(after) = outcome {
                    entry.timer = Some(now.after(after));
                }
                // A requeue keeps the priority.
                if outcome != Outcome::Done {
                    entry.priority = entry.priority.max(entry.running_priority);
                }
            }
            let (due, _) = entry.due()?;
            (outcome == Outcome::Failed).then(|| due.since(now))
        });
        self.rng = rng;
        due
    }

    /// Keeps a key from running until [`Queue::release`], because its caches lack its own writes. To be called before
    /// [`Queue::finish`]. Meanwhile it keeps the time at which it became ready, and counts as not ready.
    pub(crate) fn hold(&mut self, key: &ObjectKey) {
        self.update(key, |entry| entry.held = true);
    }

    /// Ends what [`Queue::hold`] began.
    pub(crate) fn release(&mut self, now: Instant, key: &ObjectKey) {
        self.advance(now);
        self.update(key, |entry| entry.held = false);
    }

    /// Forgets a key whose object is gone and for which nothing is to be done. If it runs, the outcome does not count; if
    /// it is held, it stays so. What is added later is not affected.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        self.update(key, |entry| {
            *entry = Entry {
                running: entry.running,
                running_priority: entry.running_priority,
                void: entry.running.is_some(),
                held: entry.held,
                sequence: entry.sequence,
                ..Entry::default()
            };
        });
    }

    /// Keeps a key from running for some time, whatever happens to it. A longer time that is set already stays.
    pub(crate) fn slow(&mut self, now: Instant, key: &ObjectKey, time: Duration) {
        self.advance(now);
        let until = self.clock.now().after(time);
        self.update(key, |entry| entry.slowed = entry.slowed.max(Some(until)));
    }

    /// Returns when the first waiting key becomes ready, if any does: when [`Queue::take`] may return something that it
    /// does not return now.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let (place, _) = self.waiting.first_key_value().filter(|_| !self.stopped)?;
        self.clock.instant(place.at)
    }

    /// Returns the number of ready keys of each priority, highest first, at the time of the last call that had one.
    pub(crate) fn depth(&self) -> impl Iterator<Item = (i32, usize)> {
        self.ready.depth()
    }

    /// Returns the state of each key, in no particular order, at the time of the last call that had one.
    pub(crate) fn entries(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.entries.iter().filter_map(|(key, entry)| {
            let state = self.state(entry)?;
            let reasons = entry.changes.as_ref().map(|changes| &changes.reasons);
            let listed = if entry.listed.is_some() { LISTED } else { &[] };
            Some(EntryView {
                key,
                state,
                priority: if entry.running.is_some() { entry.running_priority } else { entry.priority },
                reasons: reasons.map_or(listed, Reasons::list),
                omitted: reasons.map_or(0, Reasons::omitted),
                failures: entry.failures,
            })
        })
    }

    /// Takes no more keys. Those that run can finish; what is added is kept and does not run.
    pub(crate) const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Returns the state of an entry. `None` if it only remembers that the key is slowed.
    fn state(&self, entry: &Entry) -> Option<EntryState> {
        if let Some(since) = entry.running {
            return Some(EntryState::Running { since: self.clock.instant(since)? });
        }
        if entry.held {
            return Some(EntryState::Held);
        }
        match entry.due() {
            Some((at, _)) if at <= self.clock.now() => {
                Some(EntryState::Ready { since: self.clock.instant(at)? })
            }
            Some((at, why)) => Some(EntryState::Waiting { until: self.clock.instant(at), why }),
            None => entry.terminal.then_some(EntryState::Terminal),
        }
    }

    /// Advances the clock, and makes ready what is due.
    fn advance(&mut self, now: Instant) {
        self.clock.advance(now);
        let now = self.clock.now();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().at <= now) {
            let key = first.remove();
            let Some(entry) = self.entries.get(&key) else { continue };
            match entry.spot(now) {
                Some(Spot::Ready(priority, place)) => self.ready.insert(priority, place, key),
                _ if entry.is_forgettable(now) => _ = self.entries.remove(&key),
                _ => {}
            }
        }
    }

    /// Changes an entry, which is made if there is none, and moves it to where it then belongs.
    fn update<R>(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Entry) -> R) -> R {
        let now = self.clock.now();
        let entry = self.entries.entry(key.clone()).or_default();
        let (spot, wake) = (entry.spot(now), entry.wake());
        let result = change(entry);
        if entry.wake() != wake {
            self.sequence += 1;
            entry.sequence = self.sequence;
        }
        let moved_to = entry.spot(now);
        if entry.is_forgettable(now) {
            self.entries.remove(key);
        }
        if moved_to != spot {
            match spot {
                Some(Spot::Ready(_, place)) => self.ready.remove(place),
                Some(Spot::Waiting(place)) => _ = self.waiting.remove(&place),
                None => {}
            }
            match moved_to {
                Some(Spot::Ready(priority, place)) => self.ready.insert(priority, place, key.clone()),
                Some(Spot::Waiting(place)) => _ = self.waiting.insert(place, key.clone()),
                None => {}
            }
        }
        result
    }
}

#[cfg(test)]
mod tests;
