//! The simulation: that it passes what is right, and finds what is wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod bugs;
mod checks;
mod support;
