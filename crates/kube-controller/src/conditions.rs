//! Conditions of a status, merged by type.
