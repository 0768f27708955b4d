#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[allow(dead_code, unused_imports, reason = "until an evaluator uses it")]
mod check;
#[allow(dead_code, unused_imports, reason = "until the checker uses it")]
mod syntax;
#[allow(dead_code, reason = "until the checker uses them")]
mod types;
