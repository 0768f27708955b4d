#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports, reason = "until the public API uses everything")]

mod check;
mod eval;
mod functions;
mod go;
mod library;
mod schema;
mod syntax;
mod types;
mod value;

pub use schema::Declaration;
