#![doc = include_str!("../README.md")]
// Until the HTTP layer calls them.
#![allow(dead_code)]

mod apply;
mod field;
mod patch;
mod schema;
pub mod selector;
pub mod table;
