//! What an informer counts, and how Prometheus is told.
//!
//! What happens is counted as it does, with one relaxed addition; what is (objects, pending changes, ages) is looked up when
//! somebody reads the registry. Without the feature `metrics` nothing is counted and no clock is read.

#[cfg(feature = "metrics")]
mod collector;

mod counters;

#[cfg(feature = "metrics")]
pub(crate) use self::collector::{Gauges, Measured, Metrics};
pub(crate) use self::counters::{Count, Counters};
