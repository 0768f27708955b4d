#![doc = include_str!("../README.md")]

mod field;
pub mod go;
pub mod names;
mod quantity;

pub use field::{FieldError, FieldErrors, FieldPath, Reason};
pub use quantity::{ParseQuantityError, Quantity};
