//! The client of a run, which keeps account of its writes.
