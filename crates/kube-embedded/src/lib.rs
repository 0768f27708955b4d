#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod cluster;
mod controllers;
#[cfg(feature = "listen")]
mod endpoint;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod json;
pub mod kubelet;
mod random;
mod resource;
mod scheme;
mod server;
mod status;
mod store;
mod strategy;
#[cfg(feature = "streams")]
mod streams;
mod user;
mod warnings;
mod webhook;

pub use clock::ManualClock;
#[cfg(feature = "listen")]
pub use endpoint::{Endpoint, RequestHeaders};
pub use error::Error;
pub use http::{Body, Service, faults};
pub use server::{Server, ServerBuilder};
