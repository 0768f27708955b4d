//! A cache on disk, from which the next start of the program resumes.

#[allow(dead_code, reason = "informers do not use it yet")]
mod format;
