//! The one status write that follows a run.
