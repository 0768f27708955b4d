//! What a successful run returns: when the object is to be looked at again.

use std::time::Duration;

/// When an object is to be looked at again after a successful run. The methods are named as those of kube's `Action`,
/// whose content is private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the controller acts on it only if it is returned"]
pub struct Action {
    requeue_after: Option<Duration>,
}

impl Action {
    /// The object runs again after this time, or earlier if something changes. It replaces an earlier timer.
    pub const fn requeue(after: Duration) -> Self {
        Self { requeue_after: Some(after) }
    }

    /// The object runs again when something changes.
    pub const fn await_change() -> Self {
        Self { requeue_after: None }
    }

    /// Returns the time after which the object runs again in any case.
    #[must_use]
    pub const fn requeue_after(self) -> Option<Duration> {
        self.requeue_after
    }
}
