//! What would have been written.
