//! Keys that run again and again because of their own writes.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use kube_informer::ObjectKey;
use tokio::time::Instant;

/// A key is hot that runs more often than this in [`WINDOW`], each time only because of its own last write.
const ALLOWED: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// How long a hot key waits at first; twice as long with each further run.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Finds keys that run again and again because of their own writes. It knows only keys whose last run was because of their
/// own writes, for a minute after that and after the time by which it was slowed.
#[derive(Debug, Default)]
pub(crate) struct HotLoop {
    suspects: HashMap<ObjectKey, Suspect>,
    swept: Option<Instant>,
}

/// A hot key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hot {
    /// How many times in a row it ran only because of its own writes.
    pub(crate) runs: u32,
    /// How long it is to wait before its next run.
    pub(crate) delay: Duration,
    /// Whether to report it: at most once a minute for a key.
    pub(crate) report: bool,
}

#[derive(Debug)]
struct Suspect {
    /// The last runs, at most [`ALLOWED`] and one more.
    recent: VecDeque<Instant>,
    runs: u32,
    /// How long the key was slowed after its last run. Zero if it is not hot.
    delay: Duration,
    reported: Option<Instant>,
}

impl HotLoop {
    /// Notes a run of a key. Returns how to slow it if it is hot. It stays hot until a run has another cause, or until it
    /// has not run for a minute longer than it was slowed.
    pub(crate) fn run(&mut self, now: Instant, key: &ObjectKey, only_own_writes: bool) -> Option<Hot> {
        self.sweep(now);
        if !only_own_writes {
            self.forget(key);
            return None;
        }
        let suspect = self.suspects.entry(key.clone()).or_insert_with(Suspect::new);
        if suspect.is_over(now) {
            *suspect = Suspect::new();
        }
        suspect.run(now)
    }

    /// Forgets a key whose object is gone.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        self.suspects.remove(key);
    }

    /// Forgets suspects that are over, once a minute.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(*self.swept.get_or_insert(now)) >= WINDOW {
            self.swept = Some(now);
            self.suspects.retain(|_, suspect| !suspect.is_over(now));
            self.suspects.shrink_to_fit();
        }
    }
}

impl Suspect {
    const fn new() -> Self {
        Self { recent: VecDeque::new(), runs: 0, delay: Duration::ZERO, reported: None }
    }

    /// Returns whether the last run was so long ago that nothing follows from it.
    fn is_over(&self, now: Instant) -> bool {
        self.recent.back().is_some_and(|last| now.saturating_duration_since(*last) > WINDOW + self.delay)
    }

    fn run(&mut self, now: Instant) -> Option<Hot> {
        self.runs = self.runs.saturating_add(1);
        self.recent.push_back(now);
        if self.recent.len() > ALLOWED + 1 {
            self.recent.pop_front();
        }
        let full = self.recent.len() > ALLOWED;
        let hot =
            full && self.recent.front().is_some_and(|first| now.saturating_duration_since(*first) <= WINDOW);
        // A key that is slowed runs seldom for that reason, and is still hot.
        if !hot && self.delay.is_zero() {
            return None;
        }
        self.delay = (self.delay * 2).clamp(FIRST_DELAY, MAX_DELAY);
        let report = self.reported.is_none_or(|reported| now.saturating_duration_since(reported) >= WINDOW);
        if report {
            self.reported = Some(now);
        }
        Some(Hot { runs: self.runs, delay: self.delay, report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectKey {
        ObjectKey::new("default", "a")
    }

    /// Runs the key `count` times, one each `interval`, each because of its own write, and returns the last result.
    fn run(hot: &mut HotLoop, now: &mut Instant, count: u32, interval: Duration) -> Option<Hot> {
        let mut last = None;
        for _ in 0..count {
            *now += interval;
            last = hot.run(*now, &key(), true);
        }
        last
    }

    #[test]
    fn the_eleventh_run_in_a_minute_is_hot() {
        let (mut hot, mut now) = (HotLoop::default(), Instant::now());
        assert_eq!(run(&mut hot, &mut now, 10, Duration::from_secs(6)), None);
        let eleventh = run(&mut hot, &mut now, 1, Duration::from_secs(6));
        assert_eq!(eleventh, Some(Hot { runs: 11, delay: Duration::from_secs(1), report: true }));
    }

    #[test]
    fn ten_runs_a_minute_are_never_hot() {
        let (mut hot, mut now) = (HotLoop::default(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(run(&mut hot, &mut now, 1, Duration::from_millis(6001)), None);
        }
    }

    #[test]
    fn a_run_with_another_cause_resets() {
        let (mut hot, mut now) = (HotLoop::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(run(&mut hot, &mut now, 10, Duration::from_millis(1)), None);
            assert_eq!(hot.run(now, &key(), false), None);
        }
        assert!(run(&mut hot, &mut now, 11, Duration::from_millis(1)).is_some());
        assert_eq!(hot.run(now, &key(), false), None);
        assert_eq!(run(&mut hot, &mut now, 10, Duration::from_millis(1)), None);
    }

    #[test]
    fn keys_do_not_share_their_runs() {
        let (mut hot, now) = (HotLoop::default(), Instant::now());
        for name in 0..1000 {
            assert_eq!(hot.run(now, &ObjectKey::new("default", &name.to_string()), true), None);
        }
    }

    #[test]
    fn a_key_that_stays_hot_is_slowed_more_and_more_up_to_a_minute() {
        let (mut hot, mut now) = (HotLoop::default(), Instant::now());
        let mut delay = run(&mut hot, &mut now, 11, Duration::from_millis(1)).unwrap().delay;
        let mut delays = vec![delay.as_secs()];
        for _ in 0..7 {
            delay = run(&mut hot, &mut now, 1, delay + Duration::from_millis(1)).unwrap().delay;
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_hot_key_is_reported_once_a_minute() {
        let (mut hot, mut now) = (HotLoop::default(), Instant::now());
        assert!(run(&mut hot, &mut now, 11, Duration::from_millis(1)).unwrap().report);
        let reports =
            (0..600).filter(|_| run(&mut hot, &mut now, 1, Duration::from_secs(1)).unwrap().report).count();
        assert_eq!(reports, 10);
    }

    #[test]
    fn suspects_are_forgotten_after_a_quiet_minute() {
        let (mut hot, mut now) = (HotLoop::default(), Instant::now());
        for name in 0..1000 {
            hot.run(now, &ObjectKey::new("default", &name.to_string()), true);
        }
        run(&mut hot, &mut now, 10, Duration::from_millis(1));
        assert_eq!(run(&mut hot, &mut now, 1, Duration::from_secs(61)), None);
        assert_eq!(hot.suspects.len(), 1);
        assert_eq!(hot.suspects[&key()].runs, 1);
        hot.forget(&key());
        assert!(hot.suspects.is_empty());
    }
}
