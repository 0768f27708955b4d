//! When a blog's address is checked, and what the last check found.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube_controller::ConditionStatus;
use tokio::time::Instant;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the address can be reached. `Unknown`: the check cannot tell.
    pub reachable: ConditionStatus,
    /// The reason of the condition `Reachable`, in CamelCase.
    pub reason: &'static str,
    /// An explanation for people. The same finding has the same text, so that it is not written again and again.
    pub message: String,
}

/// Checks an address.
type Check = dyn Fn(String) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

/// Checks the addresses of blogs, each no more often than it asks, whatever else happens to it.
///
/// The times are only in memory: a replica that becomes the leader checks each blog once. Status would be the place to keep
/// them, at the price of a write for each check.
pub struct Checks {
    check: Box<Check>,
    memory: Mutex<Memory>,
}

impl Checks {
    /// Makes checks of a function, such as [`HttpCheck::check`](crate::HttpCheck::check), or one that a test gives.
    pub fn new<F>(check: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        Self { check: Box::new(move |url| Box::pin(check(url))), memory: Mutex::default() }
    }

    /// Checks the address of the blog with this uid if that is due. Returns what the last check of this address found, and how
    /// long it is until the next one.
    pub async fn check(&self, uid: &str, url: &str, interval: Duration) -> (Outcome, Duration) {
        let due = self.memory().due(uid, url, interval, Instant::now());
        match due {
            Due::In(wait, outcome) => (outcome.unwrap_or_else(pending), wait),
            Due::Now => {
                let outcome = (self.check)(url.to_owned()).await;
                (self.memory().done(uid, outcome), interval)
            }
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of an address that was not checked yet.
fn pending() -> Outcome {
    Outcome {
        reachable: ConditionStatus::Unknown,
        reason: "Pending",
        message: "The address is new. A blog is checked no more often than spec.checkInterval says."
            .to_owned(),
    }
}

/// The last check of each blog.
#[derive(Default)]
struct Memory {
    last: HashMap<String, Last>,
    /// The number of entries at which those that are no longer needed are removed.
    clean_at: usize,
}

struct Last {
    url: String,
    /// When it began.
    begun: Instant,
    /// When the next one is due. From then on, this entry says nothing that matters.
    next: Instant,
    outcome: Option<Outcome>,
}

enum Due {
    /// The caller is to check the address, and to call [`Memory::done`].
    Now,
    /// Not before this time has passed. With what is known of this address.
    In(Duration, Option<Outcome>),
}

impl Memory {
    /// Says whether a check is due. If it is, it counts as begun, so that one that is cancelled is not repeated at once.
    fn due(&mut self, uid: &str, url: &str, interval: Duration, now: Instant) -> Due {
        if let Some(last) = self.last.get_mut(uid) {
            last.next = last.begun + interval;
            if now < last.next {
                let outcome = last.outcome.clone().filter(|_| last.url == url);
                return Due::In(last.next - now, outcome);
            }
        }
        let outcome = self.last.remove(uid).filter(|last| last.url == url).and_then(|last| last.outcome);
        if self.last.len() >= self.clean_at {
            // Blogs that were deleted, above all. Nothing else says that they were.
            self.last.retain(|_, last| now < last.next);
            self.clean_at = (2 * self.last.len()).max(1024);
        }
        self.last
            .insert(uid.to_owned(), Last { url: url.to_owned(), begun: now, next: now + interval, outcome });
        Due::Now
    }

    fn done(&mut self, uid: &str, outcome: Outcome) -> Outcome {
        if let Some(last) = self.last.get_mut(uid) {
            last.outcome = Some(outcome.clone());
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::time::{advance, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn good() -> Outcome {
        Outcome { reachable: ConditionStatus::True, reason: "Answered", message: String::new() }
    }

    /// Checks that count how often they were made.
    fn counted() -> (Checks, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let checks = Checks::new({
            let count = count.clone();
            move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::ready(good())
            }
        });
        (checks, count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_blog_is_checked_once_in_each_interval() {
        let (checks, count) = counted();
        assert_eq!(checks.check("uid", "https://a", MINUTE).await, (good(), MINUTE));
        advance(MINUTE / 4).await;
        assert_eq!(checks.check("uid", "https://a", MINUTE).await, (good(), MINUTE * 3 / 4));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        advance(MINUTE * 3 / 4).await;
        assert_eq!(checks.check("uid", "https://a", MINUTE).await, (good(), MINUTE));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        checks.check("another", "https://a", MINUTE).await;
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_address_waits_for_its_turn_and_inherits_nothing() {
        let (checks, count) = counted();
        checks.check("uid", "https://a", MINUTE).await;
        let (outcome, wait) = checks.check("uid", "https://b", MINUTE).await;
        assert_eq!((outcome.reachable, outcome.reason, wait), (ConditionStatus::Unknown, "Pending", MINUTE));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        advance(MINUTE).await;
        assert_eq!(checks.check("uid", "https://b", MINUTE).await.0, good());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_interval_counts_from_the_last_check() {
        let (checks, count) = counted();
        checks.check("uid", "https://a", MINUTE).await;
        advance(MINUTE / 2).await;
        assert_eq!(checks.check("uid", "https://a", 3 * MINUTE).await.1, MINUTE * 5 / 2);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        checks.check("uid", "https://a", MINUTE / 4).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_check_counts() {
        let checks = Checks::new(|_| std::future::pending());
        assert!(timeout(MINUTE / 4, checks.check("uid", "https://a", MINUTE)).await.is_err());
        let (outcome, wait) = checks.check("uid", "https://a", MINUTE).await;
        assert_eq!((outcome.reason, wait), ("Pending", MINUTE * 3 / 4));
    }

    #[test]
    fn deleted_blogs_are_forgotten() {
        let mut memory = Memory::default();
        let mut now = Instant::now();
        for number in 0..100_000 {
            memory.due(&number.to_string(), "https://a", MINUTE, now);
            now += Duration::from_secs(1);
        }
        assert!(memory.last.len() <= 1024, "{}", memory.last.len());
    }
}
