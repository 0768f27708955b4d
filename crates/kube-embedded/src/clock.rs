//! The one place where the server reads the time of what it stores and of its watches.
//!
//! What holds for the network (handshakes, slow bodies, the wait for a resourceVersion to come) is in real time always.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Sleep;

/// A clock that stands still until it is moved, for tests of what happens after minutes.
///
/// A server that is started with it ([`ServerBuilder::clock`](crate::ServerBuilder::clock)) takes from it: `creationTimestamp`,
/// `deletionTimestamp` and the times of managed fields and conditions; ages in tables; when a watch gets its bookmarks and
/// when it ends; how long history (5 minutes) and Events (an hour) are kept; when tokens of ServiceAccounts expire; and
/// [`Fault::Delay`](crate::faults::Fault::Delay). Limits on
/// the network stay in real time, as does the wait of 3 s for a resourceVersion that is still to come.
///
/// Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
}

/// What time it is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    Manual(ManualClock),
}

/// A moment to wait for.
#[derive(Debug)]
pub(crate) enum Timer {
    System(Pin<Box<Sleep>>),
    Manual { at: Timestamp, now: watch::Receiver<Timestamp> },
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { now: Arc::new(watch::Sender::new(start)) }
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    /// Moves it forward, and wakes what waits for a time that is reached now. At the end of time it stops.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = later(*now, by));
    }
}

impl Clock {
    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Now, as Kubernetes writes it: RFC 3339 in whole seconds.
    pub(crate) fn seconds(&self) -> String {
        seconds(self.now())
    }

    /// A timer that is due after some time from now.
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
                    // The clock is gone, so its time never comes.
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
