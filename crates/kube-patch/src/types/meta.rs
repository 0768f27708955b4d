//! The types that every set of types has.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::node::TypeSet;
use super::openapi;

/// apimachinery's `ObjectMeta`, and what it refers to, which every set of types has.
pub(super) static META: LazyLock<TypeSet> = LazyLock::new(|| {
    // A test reads the committed file.
    let schemas: Map<String, Value> = serde_json::from_str(include_str!("meta.json")).unwrap_or_default();
    openapi::types(&schemas)
});
