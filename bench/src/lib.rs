//! What the commands and `cargo bench` share: the objects, and a server from memory.

pub mod blogs;
pub mod feed;
