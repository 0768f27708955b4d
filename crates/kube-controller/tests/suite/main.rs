//! Controllers against an API server in the process.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod outside;
mod rules;
mod sharded;
mod signals;
mod support;
