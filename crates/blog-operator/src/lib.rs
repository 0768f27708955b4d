#![doc = include_str!("../README.md")]

mod address;
mod check;
mod http_check;
mod page;

pub use address::Reach;
pub use check::{Checks, Outcome};
pub use http_check::HttpCheck;
