//! One run of a reconciler, from the finalizer to the status.
