#![doc = include_str!("../README.md")]

mod addresses;
mod base64;
mod convert;
mod decode;
mod defaults;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod malformed;
mod messages;
pub mod objects;
mod ordered;
pub mod protobuf;
pub mod resources;
pub mod schemas;
mod time;
mod totals;
pub mod validate;
pub mod warnings;
mod wire;

pub use addresses::canonical_address;
pub use base64::base64_error;
pub use convert::{convert, storage_group, storage_version, versions};
pub use decode::{Decoded, TypeMismatch, decode, decode_metadata, zero_status};
pub use defaults::{apply_defaults, apply_whole_pod_defaults};
pub use ordered::Ordered;
pub use totals::is_resource_of_pods;
