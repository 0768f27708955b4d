//! The variables of a request, for the expressions of match conditions and policies.

use std::sync::Arc;

use k8s_cel::ResourceAttributes;

use super::admission_request::AdmissionRequest;
use super::expressions::Caller;
use super::state::Cluster;
use crate::user::User;

impl Cluster {
    /// What the user of a request may do.
    pub(super) fn caller(&self, user: &User) -> Arc<Caller> {
        Arc::new(Caller {
            policy: (!self.rbac.always_allow).then(|| self.rbac.policy(&self.store)),
            user: user.clone(),
        })
    }
}

/// What a request does, for `authorizer.requestResource`.
pub(super) fn requested(request: &AdmissionRequest<'_>) -> ResourceAttributes {
    ResourceAttributes {
        group: request.resource.group.clone(),
        resource: request.resource.plural.clone(),
        subresource: request.subresource.to_owned(),
        namespace: request.namespace().to_owned(),
        name: request.name.to_owned(),
        ..ResourceAttributes::default()
    }
}
