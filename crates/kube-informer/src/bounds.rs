//! The bounds of durations that a program gives.

use std::time::Duration;

/// A year. Longer durations are taken for this one: it is as good as no end, and a time that far can be computed.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
