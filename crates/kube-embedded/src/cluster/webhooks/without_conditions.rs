//! Match conditions in a server that is built without CEL: they have no value.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use crate::resource::Resource;

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

    /// Whether the webhook is called.
    ///
    /// # Errors
    /// Fails if there is a condition.
    pub(super) fn hold(
        &self,
        _: &Cluster,
        _: &AdmissionRequest<'_>,
        _: &Resource,
        _: &Value,
        _: &Value,
    ) -> Result<bool, String> {
        Err("the server is built without the feature `cel`".to_owned())
    }
}
