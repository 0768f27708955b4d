//! Whether match conditions hold, in a server that is built without CEL.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::conditions::Conditions;
use crate::resource::Resource;

/// Fails, because nothing can be evaluated.
pub(super) fn hold(
    _: &Conditions,
    _: &Cluster,
    _: &AdmissionRequest<'_>,
    _: &Resource,
    _: &Value,
    _: &Value,
) -> Result<bool, String> {
    Err("the server is built without the feature `cel`".to_owned())
}
