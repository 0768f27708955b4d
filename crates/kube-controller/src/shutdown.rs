//! When and why an operator stops.
