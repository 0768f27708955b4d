//! Whether a server supports watch-lists, as far as is known.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::time::Time;

/// How long to wait before asking a server that refused again: it may have been upgraded. client-go does not ask
/// again in the life of a process.
const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(3600);

/// What the informers of one connection know about its server, so that each does not have to find out.
#[derive(Debug, Default)]
pub(crate) struct WatchLists {
    /// In milliseconds. Zero until a watch-list was refused.
    not_before: AtomicU64,
}

impl WatchLists {
    /// Records that the server refused a watch-list, or ignored the request for initial events.
    pub(crate) fn record_refusal(&self, now: Time) {
        let not_before = u64::try_from((now + RETRY_AFTER_REFUSAL).as_millis()).unwrap_or(u64::MAX);
        self.not_before.store(not_before, Ordering::Relaxed);
    }

    /// Whether to ask the server for a watch-list.
    pub(crate) fn should_try(&self, now: Time) -> bool {
        now.as_millis() >= u128::from(self.not_before.load(Ordering::Relaxed))
    }
}
