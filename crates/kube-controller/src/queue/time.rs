//! Points in time of 8 bytes, half of an `Instant`: a queue keeps several for each of many keys.

use std::{num::NonZeroU64, time::Duration};

use tokio::time::Instant;

/// Nanoseconds since the clock began, plus one so that an `Option` takes no more space. What does not fit, 584 years, is
/// [`Time::NEVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(NonZeroU64);

impl Time {
    /// A time that does not come.
    const NEVER: Self = Self(NonZeroU64::MAX);

    /// The first time of a clock.
    const FIRST: Self = Self(NonZeroU64::MIN);

    /// Returns the time that is later by `duration`.
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns how long ago `earlier` was, or zero if it is yet to come.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

/// A place in a line: earlier times first, and among equal ones the lower number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) at: Time,
    /// Unique among all places of a queue.
    pub(crate) sequence: u64,
}

/// Translates times, and knows the latest one. It begins at the first instant that it is given.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Option<Instant>,
    now: Time,
}

impl Clock {
    /// Returns a clock that has not begun.
    pub(crate) const fn new() -> Self {
        Self { start: None, now: Time::FIRST }
    }

    /// Returns the latest time that the clock was advanced to.
    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    /// Advances the clock. An instant before the latest one changes nothing.
    pub(crate) fn advance(&mut self, now: Instant) {
        let start = *self.start.get_or_insert(now);
        self.now = self.now.max(Time::FIRST.after(now.saturating_duration_since(start)));
    }

    /// Returns the instant of a time, or `None` if it does not come.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        if time == Time::NEVER { None } else { self.start?.checked_add(time.since(Time::FIRST)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_instant_that_it_was_made_of() {
        let (start, mut clock) = (Instant::now(), Clock::new());
        clock.advance(start);
        let later = start + Duration::from_nanos(1_234_567_891);
        clock.advance(later);
        assert_eq!(clock.instant(clock.now()), Some(later));
        assert_eq!(
            clock.instant(clock.now().after(Duration::from_secs(7))),
            Some(later + Duration::from_secs(7))
        );
    }

    #[test]
    fn a_clock_does_not_go_back() {
        let (start, mut clock) = (Instant::now(), Clock::new());
        clock.advance(start + Duration::from_secs(5));
        let now = clock.now();
        clock.advance(start);
        assert_eq!(clock.now(), now);
    }

    #[test]
    fn a_time_too_far_away_does_not_come() {
        let (start, mut clock) = (Instant::now(), Clock::new());
        clock.advance(start);
        assert_eq!(clock.instant(clock.now().after(Duration::MAX)), None);
    }
}
