//! The list and watch protocol as a state machine.
use std::time::Duration;

/// Where lists come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ListFrom {
    /// As new as the server's storage (a consistent read).
    #[default]
    Storage,
    /// From the server's memory, at least as new as what this informer has seen: cheaper for the server, and the first
    /// list may be a little old.
    Cache,
}

/// What a user chooses for one informer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(crate) list_from: ListFrom,
    pub(crate) keep_managed_fields: bool,
    pub(crate) stale_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            list_from: ListFrom::default(),
            keep_managed_fields: false,
            stale_after: Duration::from_secs(180),
        }
    }
}
