//! Controllers against an API server in the process.

mod rules;
mod support;
