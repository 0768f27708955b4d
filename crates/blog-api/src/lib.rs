#![doc = include_str!("../README.md")]

#[expect(unreachable_pub, reason = "KubeSchema repeats each type inside a function")]
mod blog;
mod url;

pub use blog::{Blog, BlogSpec, BlogStatus};
pub use url::{InvalidUrl, MAX_CHARS};
