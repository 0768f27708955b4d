#![doc = include_str!("../README.md")]

mod api;
mod apply;
mod auth;
mod authority;
mod builtin;
mod clock;
mod controllers;
mod endpoint;
mod error;
pub mod faults;
mod field;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod lifecycle;
mod patch;
mod protobuf;
mod rbac;
mod registry;
mod schema;
pub mod selector;
mod server;
mod service_account;
mod status;
mod store;
mod strategy;
pub mod table;

pub use clock::ManualClock;
pub use endpoint::Endpoint;
pub use error::Error;
pub use server::{Builder, Server};
