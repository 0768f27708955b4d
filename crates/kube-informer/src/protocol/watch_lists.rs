//! Whether a server supports watch-lists, as far as is known.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::time::Time;

/// How long a server that refused watch-lists is not asked for one again: it may have been upgraded. client-go does not
/// ask again in the life of a process.
pub(super) const REFUSAL: Duration = Duration::from_secs(3600);
/// The same after watch-lists that failed in another way while a list succeeded, such as behind a proxy that buffers.
pub(super) const TROUBLE: Duration = Duration::from_secs(300);

/// What the informers of one connection know about its server, so that each does not have to find out.
#[derive(Debug, Default)]
pub(crate) struct WatchLists {
    /// In milliseconds. Zero until a watch-list was refused.
    not_before: AtomicU64,
}

impl WatchLists {
    /// Records that a list succeeded where a watch-list did not, so that lists are better for this long.
    pub(crate) fn avoid(&self, now: Time, duration: Duration) {
        let not_before = u64::try_from((now + duration).as_millis()).unwrap_or(u64::MAX);
        self.not_before.fetch_max(not_before, Ordering::Relaxed);
    }

    /// Whether to ask the server for a watch-list.
    pub(crate) fn should_try(&self, now: Time) -> bool {
        now.as_millis() >= u128::from(self.not_before.load(Ordering::Relaxed))
    }
}
