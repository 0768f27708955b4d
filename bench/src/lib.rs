//! Shared by the commands and `cargo bench`: the objects, and an in-memory server.

pub mod blogs;
pub mod feed;
pub mod kind;
pub mod pods;
