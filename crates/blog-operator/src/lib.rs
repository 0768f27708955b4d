#![doc = include_str!("../README.md")]

mod address;
mod check;
mod http_check;
mod page;
mod reconcile;

pub use address::Reach;
pub use check::{Checks, Outcome};
pub use http_check::HttpCheck;
pub use reconcile::{State, controller};

/// The name of the operator: field manager, reporter of its Events, and the Lease of its leader.
pub const NAME: &str = "blog-operator";

/// The image of the servers unless another one is chosen.
pub const IMAGE: &str = "docker.io/nginxinc/nginx-unprivileged:stable-alpine";
