//! Controllers against an API server in the process.

mod outside;
mod rules;
mod support;
