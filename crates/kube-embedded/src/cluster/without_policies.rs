//! Policies in a server that is built without CEL: none can be evaluated, so while one is bound, every write that it may be about
//! is refused.

use serde_json::Value;

use super::admission_request::{AdmissionRequest, Operation};
use super::matching::is_exempt_from_policies;
use super::plugins::Plugin;
use super::state::Cluster;
use crate::resource::{
    GroupResource, MUTATING_ADMISSION_POLICY_BINDINGS, VALIDATING_ADMISSION_POLICY_BINDINGS,
};
use crate::status::Status;
use crate::store::Store;

/// Nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Policies;

impl Policies {
    fn are_bound(&self, store: &Store, bindings: GroupResource<'_>) -> bool {
        store.count(bindings.collection(), "") > 0
    }
}

/// There are none.
#[derive(Debug)]
pub(super) enum Mutations {}

impl Mutations {
    pub(super) fn start_second_round(&mut self) -> bool {
        match *self {}
    }
}

impl Cluster {
    pub(super) fn policy_mutations(&self, _: &AdmissionRequest<'_>) -> Option<Mutations> {
        None
    }

    pub(super) async fn mutate_by_policies(
        &self,
        _: &AdmissionRequest<'_>,
        mutations: &mut Mutations,
        _: &mut Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        match *mutations {}
    }

    /// Refuses a request if there is a policy.
    pub(super) async fn enforce_policies(
        &self,
        request: &AdmissionRequest<'_>,
        _: Option<&Value>,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        let is_bound = |plugin: Plugin, of: GroupResource<'_>| {
            self.options.plugins.has(plugin) && self.policies.are_bound(&self.store, of)
        };
        let bound = match request.operation {
            _ if is_exempt_from_policies(request.resource) => None,
            _ if is_bound(Plugin::ValidatingAdmissionPolicy, VALIDATING_ADMISSION_POLICY_BINDINGS) => {
                Some("ValidatingAdmissionPolicy")
            }
            Operation::Delete => None,
            _ if is_bound(Plugin::MutatingAdmissionPolicy, MUTATING_ADMISSION_POLICY_BINDINGS) => {
                Some("MutatingAdmissionPolicy")
            }
            _ => None,
        };
        match bound {
            None => Ok(()),
            Some(kind) => Err(Status::internal_error(format!(
                "a {kind} is bound, and the server is built without the feature `cel`"
            ))),
        }
    }
}
