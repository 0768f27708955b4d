//! The caches of a program, found by type.
