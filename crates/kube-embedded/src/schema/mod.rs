//! Structural schemas of custom resources: what they prune, default and refuse.

use serde_json::Value;

use crate::field::FieldError;

/// A structural schema, parsed from `spec.versions[*].schema.openAPIV3Schema`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {}

impl Schema {
    /// Parses a schema; the errors are those with which kube-apiserver refuses a CRD, below `path`.
    pub(crate) fn parse(_openapi: &Value, _path: &str) -> Result<Self, Vec<FieldError>> {
        unimplemented!()
    }

    /// Removes what the schema does not know; returns the paths removed, for `fieldValidation`.
    pub(crate) fn prune(&self, _object: &mut Value) -> Vec<String> {
        unimplemented!()
    }

    /// Fills in defaults.
    pub(crate) fn default(&self, _object: &mut Value) {
        unimplemented!()
    }

    /// What is wrong with `new`; with `old`, what it already had wrong is ratcheted.
    pub(crate) fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        unimplemented!()
    }
}
