//! Whether a server does watch-lists, as far as it is known.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::time::Time;

/// After what time a server that refused is asked again: it may be another version by then. client-go never does, in the
/// life of a process.
const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(3600);

/// What the informers of one connection know of its server, so that not each has to find it out.
#[derive(Debug, Default)]
pub(crate) struct WatchLists {
    /// In milliseconds. Zero as long as none was refused.
    not_before: AtomicU64,
}

impl WatchLists {
    /// The server has refused one, or did not understand what was asked for.
    pub(crate) fn record_refusal(&self, now: Time) {
        let not_before = u64::try_from((now + RETRY_AFTER_REFUSAL).as_millis()).unwrap_or(u64::MAX);
        self.not_before.store(not_before, Ordering::Relaxed);
    }

    /// Whether the server is to be asked for one.
    pub(crate) fn should_try(&self, now: Time) -> bool {
        now.as_millis() >= u128::from(self.not_before.load(Ordering::Relaxed))
    }
}
