//! How long a key waits after failures.

use std::time::Duration;

/// Times that grow with each failure in a row: twice the one before, up to a maximum, ± 10 % so that keys that failed
/// together do not retry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
}

impl Default for Backoff {
    /// 100 ms to 5 minutes.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(300))
    }
}

impl Backoff {
    /// Returns waits that start at `first` and end at `max`. A `first` above `max` is cut to it.
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// Returns the wait after another failure, when there were `failures` in a row before it. It is at most 10 % above
    /// the maximum.
    pub(crate) fn delay(self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        // The longest duration has less than 2^94 nanoseconds, so a factor below 2^21 does not overflow.
        let doubled = self.first.as_nanos().saturating_mul(1 << failures.min(127));
        let parts = u128::from(rng.u32(900_000..=1_100_000));
        from_nanos(doubled.min(self.max.as_nanos()) * parts / 1_000_000)
    }
}

fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    u64::try_from(nanos / SECOND).map_or(Duration::MAX, |seconds| {
        Duration::from_secs(seconds) + Duration::from_nanos((nanos % SECOND) as u64)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rng() -> fastrand::Rng {
        fastrand::Rng::with_seed(1)
    }

    /// Returns the bounds of ± 10 %.
    fn around(middle: Duration) -> std::ops::RangeInclusive<Duration> {
        middle * 9 / 10..=middle * 11 / 10
    }

    // Rule 7
    #[test]
    fn waits_double_from_100_ms_to_5_minutes() {
        let mut rng = rng();
        for n in 0..100 {
            let middle = Duration::from_millis(100 << n.min(30)).min(Duration::from_secs(300));
            let delay = Backoff::default().delay(n, &mut rng);
            assert!(around(middle).contains(&delay), "{n}: {delay:?}");
        }
    }

    // Rule 7
    #[test]
    fn waits_spread_over_both_sides_of_the_exact_value() {
        let mut rng = rng();
        let delays: Vec<_> = (0..1000).map(|_| Backoff::default().delay(0, &mut rng)).collect();
        assert!(delays.iter().any(|&delay| delay < Duration::from_millis(91)));
        assert!(delays.iter().any(|&delay| delay > Duration::from_millis(109)));
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |mut rng: fastrand::Rng| -> Vec<_> {
            (0..20).map(|n| Backoff::default().delay(n, &mut rng)).collect()
        };
        assert_eq!(waits(rng()), waits(rng()));
    }

    proptest! {
        // Rule 7
        #[test]
        fn no_wait_overflows_or_leaves_its_bounds(first: Duration, max: Duration, n: u32, seed: u64) {
            let delay = Backoff::new(first, max).delay(n, &mut fastrand::Rng::with_seed(seed));
            let middle = first.as_nanos().saturating_mul(1 << n.min(127)).min(max.as_nanos());
            prop_assert!(delay.as_nanos() >= middle * 9 / 10);
            prop_assert!(delay.as_nanos() <= middle * 11 / 10);
        }
    }
}
