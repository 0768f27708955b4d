//! Policies in a server that is built without CEL: none can be evaluated, so while one is bound, every write is refused.

use serde_json::Value;

use super::admission_request::AdmissionRequest;
use super::matching::is_exempt;
use super::plugins::Plugin;
use super::state::Cluster;
use crate::resource::VALIDATING_ADMISSION_POLICY_BINDINGS;
use crate::status::Status;
use crate::store::Store;

/// Nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Policies;

impl Policies {
    fn are_bound(&self, store: &Store) -> bool {
        store.count(VALIDATING_ADMISSION_POLICY_BINDINGS.collection(), "") > 0
    }
}

impl Cluster {
    /// Refuses a request if there is a policy.
    pub(super) async fn enforce_policies(
        &self,
        request: &AdmissionRequest<'_>,
        _: Option<&Value>,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        let on = self.options.plugins.has(Plugin::ValidatingAdmissionPolicy);
        if !on || !self.policies.are_bound(&self.store) || is_exempt(request.resource) {
            return Ok(());
        }
        let why = "a ValidatingAdmissionPolicy is bound, and the server is built without the feature `cel`";
        Err(Status::internal_error(why))
    }
}
