//! The counters of an informer, and their export to Prometheus.
//!
//! Occurrences are counted as they happen, with one relaxed atomic addition. State (objects, pending changes, ages)
//! is only read when the registry is encoded. Without the feature `metrics`, nothing is counted and no clock is read.

#[cfg(feature = "metrics")]
mod collector;

mod counters;

#[cfg(feature = "metrics")]
pub(crate) use self::collector::{Gauges, Measured, Metrics};
pub(crate) use self::counters::{Count, Counters};
