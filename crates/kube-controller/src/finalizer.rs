//! When a finalizer is added and removed, as patches that test the version.
