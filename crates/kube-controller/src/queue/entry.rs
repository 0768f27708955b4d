//! What a queue knows of one key.

use std::time::Duration;

use super::{
    reasons::Reasons,
    time::{Place, Time},
};

/// What a queue knows of one key. Kept small, because a controller has one for each object that waits by timer: what only
/// a changed key needs is in a box.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The priority of what is scheduled. `i32::MIN`, which every other exceeds, if nothing is.
    pub(crate) priority: i32,
    /// Failures in a row, those inside the window of an earlier one excluded.
    pub(crate) failures: u32,
    /// Orders entries that are due at the same time by when that time was set.
    pub(crate) sequence: u64,
    /// Changes that no run has seen yet.
    pub(crate) changes: Option<Box<Changes>>,
    /// When the controller began, and the object was there: no change, so that a start needs no box for each object.
    pub(crate) listed: Option<Time>,
    /// When the last successful run asked for another.
    pub(crate) timer: Option<Time>,
    /// When the last failure is retried. While this is to come, failures do not count: they are inside its window.
    pub(crate) retry: Option<Time>,
    /// Nothing runs before this time.
    pub(crate) slowed: Option<Time>,
    /// When the run began that goes on now.
    pub(crate) running: Option<Time>,
    /// The priority of that run.
    pub(crate) running_priority: i32,
    /// The outcome of that run does not count: the object has been replaced or changed in a way that resets it, or is
    /// gone.
    pub(crate) void: bool,
    /// Nothing runs, because the caches lack the key's own writes.
    pub(crate) held: bool,
    /// The last run ended with a terminal error.
    pub(crate) terminal: bool,
}

/// Changes that no run has seen yet.
#[derive(Debug)]
pub(crate) struct Changes {
    /// When they are to be acted on.
    pub(crate) at: Time,
    /// How far a debounce may defer that time.
    pub(crate) deadline: Time,
    pub(crate) reasons: Reasons,
}

/// Why a key waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A run asked for another one later.
    Timer,
    /// A run failed.
    Retry,
    /// It changed, and is given time to change more.
    Debounce,
    /// It ran too often because of its own writes.
    Slowed,
}

/// Where in the queue an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    Ready(i32, Place),
    Waiting(Place),
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            priority: i32::MIN,
            failures: 0,
            sequence: 0,
            changes: None,
            listed: None,
            timer: None,
            retry: None,
            slowed: None,
            running: None,
            running_priority: i32::MIN,
            void: false,
            held: false,
            terminal: false,
        }
    }
}

impl Entry {
    /// Returns when the next run is due, if nothing else happens and the key neither runs nor is held, and what it waits
    /// for until then. `None` if nothing is scheduled.
    pub(crate) fn due(&self) -> Option<(Time, Wait)> {
        let changes = self.changes.as_ref().map(|changes| changes.at);
        let scheduled = [
            (changes, Wait::Debounce),
            (self.retry, Wait::Retry),
            (self.timer, Wait::Timer),
            // It is due at once.
            (self.listed, Wait::Timer),
        ];
        let (due, wait) =
            scheduled.into_iter().filter_map(|(at, wait)| Some((at?, wait))).min_by_key(|(at, _)| *at)?;
        Some(match self.slowed {
            Some(slowed) if slowed > due => (slowed, Wait::Slowed),
            _ => (due, wait),
        })
    }

    /// Returns when the queue must look at the entry: when it is due or, with nothing scheduled, when it may be forgotten
    /// that the key is slowed.
    pub(crate) fn wake(&self) -> Option<Time> {
        self.due().map(|(at, _)| at).or(self.slowed)
    }

    /// Returns where in the queue the entry is at a time. `None` if the key runs, is held, or has nothing scheduled.
    pub(crate) fn spot(&self, now: Time) -> Option<Spot> {
        if self.running.is_some() || self.held {
            return None;
        }
        let place = Place { at: self.wake()?, sequence: self.sequence };
        if place.at > now {
            Some(Spot::Waiting(place))
        } else {
            self.due().map(|_| Spot::Ready(self.priority, place))
        }
    }

    /// Returns whether an unknown key would be treated as this one.
    pub(crate) fn is_forgettable(&self, now: Time) -> bool {
        self.running.is_none()
            && !self.held
            && !self.terminal
            && self.due().is_none()
            && self.slowed <= Some(now)
    }

    /// Notes a change. With a debounce, it is acted on after `quiet` without another, at most `at_most` after the first.
    pub(crate) fn change(&mut self, now: Time, debounce: Option<(Duration, Duration)>) -> &mut Changes {
        let (quiet, at_most) = debounce.unwrap_or_default();
        let changes = self.changes.get_or_insert_with(|| {
            let deadline = now.after(at_most);
            Box::new(Changes { at: now.after(quiet).min(deadline), deadline, reasons: Reasons::default() })
        });
        // What is due already stays so, and keeps its place.
        if changes.at > now {
            changes.at = now.after(quiet).min(changes.deadline);
        }
        changes
    }
}
