//! A key waits until the caches have its own writes.
