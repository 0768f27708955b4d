//! Metrics, by controller-runtime's names.
