//! The delay after a failure.

use std::time::Duration;

/// The maximum delay after the first failure. It doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(400);
/// The maximum delay that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Delays that grow with every failure until the owner reports progress.
///
/// Each delay is drawn from the upper half of its step, so that a thousand clients do not retry at the same moment.
/// Until the steps reach the cap, no delay is shorter than the one before.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { failures: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Resets the delay: something worked that shows that the trouble is over.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the delay after one more failure: at most `cap`, or what the server asked for (up to
    /// [`MAX_RETRY_AFTER`]) and up to a tenth more.
    pub(crate) fn next_delay(&mut self, cap: Duration, retry_after: Option<Duration>) -> Duration {
        let step = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(cap);
        self.failures = self.failures.saturating_add(1);
        match retry_after.filter(|asked| !asked.is_zero()) {
            // The server knows better than the number of failures when it can be asked again.
            Some(asked) => {
                let asked = asked.min(MAX_RETRY_AFTER);
                self.jitter(asked, asked + asked / 10)
            }
            None => self.jitter(step / 2, step),
        }
    }

    /// Returns a random duration between the two.
    pub(crate) fn jitter(&mut self, from: Duration, to: Duration) -> Duration {
        from + to.saturating_sub(from).mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_up_to_the_cap_and_the_first_is_short(seed: u64) {
            let cap = Duration::from_secs(15);
            let mut backoff = Backoff::new(seed);
            let waits: Vec<_> = (0..12).map(|_| backoff.next_delay(cap, None)).collect();
            prop_assert!(waits[0] >= FIRST_DELAY / 2 && waits[0] < Duration::from_secs(1));
            // Up to the cap, each delay is at least as long as the one before.
            prop_assert!(waits[..6].windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", waits);
            prop_assert!(waits[6..].iter().all(|wait| (cap / 2..=cap).contains(wait)), "{:?}", waits);
            backoff.reset();
            prop_assert!(backoff.next_delay(cap, None) < Duration::from_secs(1));
        }

        #[test]
        fn a_server_is_given_the_time_that_it_asks_for(seed: u64, asked in 0_u64..10_000, failures in 0_usize..20) {
            let (cap, asked) = (Duration::from_secs(15), Duration::from_secs(asked));
            let mut backoff = Backoff::new(seed);
            for _ in 0..failures {
                backoff.next_delay(cap, None);
            }
            let wait = backoff.next_delay(cap, Some(asked));
            prop_assert!(wait >= asked.min(MAX_RETRY_AFTER));
            if !asked.is_zero() {
                prop_assert!(wait <= (MAX_RETRY_AFTER + MAX_RETRY_AFTER / 10).min(asked + asked / 10));
            }
        }
    }
}
