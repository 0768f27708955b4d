#![doc = include_str!("../README.md")]

#[expect(unreachable_pub, reason = "KubeSchema repeats each type inside a function")]
mod blog;
mod interval;
mod url;

pub use blog::{Blog, BlogSpec, BlogStatus, InvalidBlog};
pub use interval::{InvalidCheckInterval, MAX_CHECK_INTERVAL, MIN_CHECK_INTERVAL};
pub use url::{InvalidUrl, MAX_CHARS};
