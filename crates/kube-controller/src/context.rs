//! What a reconciler is given.
