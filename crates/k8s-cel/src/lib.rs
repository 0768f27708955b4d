#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports, reason = "until the public API uses everything")]

mod check;
mod schema;
mod syntax;
mod types;

pub use schema::Declaration;
