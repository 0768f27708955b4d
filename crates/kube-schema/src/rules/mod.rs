//! The rules by which kube-apiserver accepts a schema: apiextensions-apiserver's `ValidateStructural`, `ValidateDefaults`
//! and `ValidateCustomResourceDefinitionOpenAPISchema`, on the JSON of the schema.
//!
//! A value of the wrong JSON type counts as absent here: it was refused when the schema was read.

mod defaults;
mod openapi;
mod structural;

pub(super) use self::defaults::check as check_defaults;
pub(super) use self::openapi::check as check_openapi;
pub(super) use self::structural::{check as check_structure, unconvertible};
