//! The served resources: built-in ones, and those that CustomResourceDefinitions add.
//!
//! A [`Scheme`] is immutable. Adding or removing a definition creates a new one, so the holder of a scheme has a
//! consistent view.

mod builtin;
mod custom;
mod group;
#[expect(clippy::module_inception, reason = "the scheme itself, next to its parts")]
mod scheme;

pub(crate) use self::custom::{Defined, defined};
pub(crate) use self::group::{CUSTOM_GROUP, CUSTOM_VERSION, Group, GroupVersion, by_preference};
pub(crate) use self::scheme::Scheme;
