//! Which resources are served: those that are built in, and those that CustomResourceDefinitions add.
//!
//! A [`Scheme`] does not change. A definition that comes or goes makes another one, so whoever holds one has a consistent view.

mod builtin;
mod custom;
mod group;
#[expect(clippy::module_inception, reason = "the scheme itself, beside its parts")]
mod scheme;

pub(crate) use self::custom::resources as custom_resources;
pub(crate) use self::group::Group;
pub(crate) use self::scheme::Scheme;
