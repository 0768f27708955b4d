#![doc = include_str!("../README.md")]

mod apply;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod json;
mod merge;
mod strategic;
mod types;

pub use apply::{
    ApplyError, Conflict, Convert, MergeError, Writer, apply, check_managed_fields, keep_times,
    merge_configuration, track, track_scale, wrong_type,
};
pub use error::PatchError;
pub use json::json_patch;
pub use merge::merge_patch;
pub use strategic::strategic_merge_patch;
pub use types::{Definitions, ObjectType, StructuralType};

#[cfg(test)]
mod tests;
