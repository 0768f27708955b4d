#![doc = include_str!("../README.md")]

mod error;
mod field;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod json_path;
mod label;

pub use error::ParseError;
pub use field::FieldSelector;
pub use json_path::{EvaluateError, JsonPath, JsonPathTemplate};
pub use label::{LabelSelector, Labels};
