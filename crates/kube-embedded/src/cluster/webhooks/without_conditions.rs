//! Match conditions in a server that is built without CEL: they have no value.

use serde_json::Value;

/// The conditions of a webhook.
#[derive(Debug)]
pub(super) struct Conditions {
    are_empty: bool,
}

impl Conditions {
    pub(super) fn new(conditions: &Value) -> Self {
        Self { are_empty: conditions.as_array().is_none_or(Vec::is_empty) }
    }

    /// Whether there are none.
    pub(super) fn are_empty(&self) -> bool {
        self.are_empty
    }
}
