//! The one place where the server reads the time, for everything it stores and for its watches.
//!
//! Network limits (handshakes, slow bodies, waiting for a future resourceVersion) always use tokio's time, which is
//! real time unless a test has paused it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

/// A clock that stands still until it is advanced, for testing behaviour that takes minutes.
///
/// A server started with it ([`ServerBuilder::clock`](crate::ServerBuilder::clock)) uses it for `creationTimestamp`,
/// `deletionTimestamp` and the times of managed fields and conditions; ages in tables; when a watch sends its bookmarks
/// and when it ends; how long history (5 minutes) and Events (an hour) are kept; when tokens of ServiceAccounts expire;
/// and [`Fault::Delay`](crate::faults::Fault::Delay). Network limits stay in real time, as does the wait of up to 3 s
/// for a future resourceVersion.
///
/// Clones are handles to the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
}

/// The system's clock, tokio's, or a manual one.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    /// `start` and what has passed of tokio's time since `since`.
    Tokio {
        start: Timestamp,
        since: Instant,
    },
    Manual(ManualClock),
}

/// A point in time to wait for.
#[derive(Debug)]
pub(crate) enum Timer {
    Tokio(Pin<Box<Sleep>>),
    Manual { at: Timestamp, now: watch::Receiver<Timestamp> },
}

impl ManualClock {
    /// Creates a clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { now: Arc::new(watch::Sender::new(start)) }
    }

    /// Returns the time that it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    /// Advances it, and wakes everything that waits for a time that is now reached. It stops at the latest time that
    /// can be represented.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = later(*now, by));
    }
}

impl Clock {
    /// The clock of a server that starts now.
    pub(crate) fn starting_now(self) -> Self {
        match self {
            Self::Tokio { start, .. } => Self::Tokio { start, since: Instant::now() },
            other => other,
        }
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Tokio { start, since } => later(*start, since.elapsed()),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// The current time as Kubernetes writes it: RFC 3339 in whole seconds.
    pub(crate) fn seconds(&self) -> String {
        seconds(self.now())
    }

    /// A timer that is due a given time from now.
    pub(crate) fn timer(&self, after: Duration) -> Timer {
        match self {
            Self::System | Self::Tokio { .. } => Timer::Tokio(Box::pin(tokio::time::sleep(after))),
            Self::Manual(clock) => {
                let now = clock.now.subscribe();
                let at = later(*now.borrow(), after);
                Timer::Manual { at, now }
            }
        }
    }
}

impl Timer {
    /// Waits until it is due.
    pub(crate) async fn due(&mut self) {
        match self {
            Self::Tokio(sleep) => sleep.await,
            Self::Manual { at, now } => {
                if now.wait_for(|now| *now >= *at).await.is_err() {
                    // The clock was dropped, so it never reaches that time.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Whether it is due.
    pub(crate) fn is_due(&self) -> bool {
        match self {
            Self::Tokio(sleep) => sleep.deadline() <= Instant::now(),
            Self::Manual { at, now } => *now.borrow() >= *at,
        }
    }
}

/// A time as Kubernetes writes it: RFC 3339 in whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
