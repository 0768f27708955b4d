//! Occurrences, counted as they happen.

#[cfg(feature = "metrics")]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{Error, decode::WatchEvent, protocol::ListReason};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    EventApplied,
    EventDeleted,
    EventBookmark,
    EventError,
    ListInitial,
    ListExpired,
    ListLagging,
    ListMalformed,
    ListTypeReturned,
    ListRefused,
    ListPolled,
    ListNanoseconds,
    Watch,
    ReceivedBytes,
    #[cfg(feature = "metrics")]
    DecodeNanoseconds,
    FailureUnreachable,
    FailureTls,
    FailureClient,
    FailureApi,
    FailureInterrupted,
    FailureSilent,
    FailureMalformed,
}

#[cfg(feature = "metrics")]
pub(super) const COUNTS: usize = Count::FailureMalformed as usize + 1;

/// The counters of one informer. Clones are handles to the same counters.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counters(#[cfg(feature = "metrics")] Arc<[AtomicU64; COUNTS]>);

#[cfg(feature = "metrics")]
impl Counters {
    pub(crate) fn add(&self, count: impl Into<Count>, more: u64) {
        self.0[count.into() as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// Does a part of reading and decoding, and adds the time that it took.
    pub(crate) fn time_decoding<T>(&self, work: impl FnOnce() -> T) -> T {
        // Not tokio's clock, which a test can pause.
        let begun = std::time::Instant::now();
        let done = work();
        self.add(Count::DecodeNanoseconds, u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        done
    }

    pub(super) fn read(&self) -> [u64; COUNTS] {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }
}

#[cfg(not(feature = "metrics"))]
impl Counters {
    #[allow(clippy::unused_self, reason = "nothing is counted")]
    pub(crate) fn add(&self, _: impl Into<Count>, _: u64) {}

    #[allow(clippy::unused_self, reason = "no time is taken")]
    pub(crate) fn time_decoding<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

impl From<ListReason> for Count {
    fn from(reason: ListReason) -> Self {
        match reason {
            ListReason::Initial => Self::ListInitial,
            ListReason::Expired => Self::ListExpired,
            ListReason::Lagging => Self::ListLagging,
            ListReason::Malformed => Self::ListMalformed,
            ListReason::TypeReturned => Self::ListTypeReturned,
            ListReason::Refused => Self::ListRefused,
            ListReason::Polled => Self::ListPolled,
        }
    }
}

impl From<&WatchEvent<'_>> for Count {
    fn from(event: &WatchEvent<'_>) -> Self {
        match event {
            WatchEvent::Added(_) | WatchEvent::Modified(_) => Self::EventApplied,
            WatchEvent::Deleted(_) => Self::EventDeleted,
            WatchEvent::Bookmark { .. } => Self::EventBookmark,
            WatchEvent::Error(_) => Self::EventError,
        }
    }
}

impl From<&Error> for Count {
    fn from(error: &Error) -> Self {
        match error {
            Error::Unreachable { .. } => Self::FailureUnreachable,
            Error::Tls { .. } => Self::FailureTls,
            Error::Client { .. } | Error::NotInTime { .. } | Error::Stopped => Self::FailureClient,
            Error::Api { .. } | Error::NotNamespaced { .. } | Error::NotWatchable { .. } => Self::FailureApi,
            Error::Interrupted { .. } => Self::FailureInterrupted,
            Error::Silent { .. } => Self::FailureSilent,
            Error::Malformed { .. } => Self::FailureMalformed,
        }
    }
}
