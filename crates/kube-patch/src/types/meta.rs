//! The types that are part of every set of types.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::node::TypeSet;
use super::openapi;

/// apimachinery's `ObjectMeta`, and the types that it refers to.
pub(super) static META: LazyLock<TypeSet> = LazyLock::new(|| {
    // A test checks that the committed file parses.
    let schemas: Map<String, Value> = serde_json::from_str(include_str!("meta.json")).unwrap_or_default();
    openapi::types(&schemas)
});
