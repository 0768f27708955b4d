//! How long a key waits after failures.
