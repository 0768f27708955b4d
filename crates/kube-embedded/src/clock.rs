//! The one place where the server reads the time, for everything it stores and for its watches.
//!
//! Network limits (handshakes, slow bodies, waiting for a future resourceVersion) always use real time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Sleep;

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

/// The system's clock, or a manual one.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    Manual(ManualClock),
}

/// A point in time to wait for.
#[derive(Debug)]
pub(crate) enum Timer {
    System(Pin<Box<Sleep>>),
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
    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
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
            Self::System => Timer::System(Box::pin(tokio::time::sleep(after))),
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
            Self::System(sleep) => sleep.await,
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
            Self::System(sleep) => sleep.deadline() <= tokio::time::Instant::now(),
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
