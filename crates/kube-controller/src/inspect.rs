//! The state of a queue, as data.
