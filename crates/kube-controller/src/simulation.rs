//! Plays every fault against a reconciler.
