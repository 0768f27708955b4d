//! The fence: no request leaves after the lease has run out.
