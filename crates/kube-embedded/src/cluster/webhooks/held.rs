//! Whether the match conditions of a webhook hold for a request.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::expressions::Inputs;
use super::super::request_variables::requested;
use super::super::state::Cluster;
use super::conditions::Conditions;
use crate::resource::Resource;

/// [`Conditions::hold`] for a request whose objects are given in the matched version.
pub(super) fn hold(
    conditions: &Conditions,
    cluster: &Cluster,
    admission: &AdmissionRequest<'_>,
    matched: &Resource,
    object: &Value,
    old_object: &Value,
) -> Result<bool, String> {
    conditions.hold(&Inputs {
        object,
        old_object,
        request: &admission.to_value(matched),
        namespace_object: &Value::Null,
        params: None,
        authorizer: cluster.caller(admission.user),
        resource: requested(admission),
    })
}
