//! Tests of the public API, in one program so that it is linked only once.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but clippy does not take the helpers of an integration test for tests"
)]

mod client;
mod errors;
mod flags;
mod properties;
mod report;
mod rules;
mod sandbox;
mod server;
mod tls;
mod view;
