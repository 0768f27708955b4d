//! What makes a schema one that kube-apiserver takes: apiextensions-apiserver's `ValidateStructural`, `ValidateDefaults`
//! and `ValidateCustomResourceDefinitionOpenAPISchema`, over the JSON of the schema.
//!
//! What has the wrong JSON type counts as absent here: reading the schema has refused it before.

mod defaults;
mod openapi;
mod structural;

pub(super) use self::structural::check as check_structure;
pub(super) use self::{defaults::check as check_defaults, openapi::check as check_openapi};
