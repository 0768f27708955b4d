//! Keys that run again and again because of their own writes.
