//! The variables of a request, for the expressions of match conditions and policies.

use std::sync::Arc;

use k8s_cel::ResourceAttributes;
use serde_json::{Value, json};

use super::admission_request::AdmissionRequest;
use super::expressions::Caller;
use super::state::Cluster;
use crate::resource::Resource;
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

/// The variable `request`. `matched` is the resource that a rule is about, perhaps in another version.
pub(super) fn request(request: &AdmissionRequest<'_>, matched: &Resource) -> Value {
    let kind = |resource: &Resource| {
        let (group, version, kind) = resource.kind_of(request.subresource);
        json!({"group": group, "version": version, "kind": kind})
    };
    let resource = |it: &Resource| json!({"group": it.group, "version": it.version, "resource": it.plural});
    let mut variable = json!({
        "kind": kind(matched),
        "resource": resource(matched),
        "requestKind": kind(request.resource),
        "requestResource": resource(request.resource),
        "operation": request.operation.as_str(),
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": request.options(),
    });
    // Go omits these if they are empty.
    for (field, text) in [
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", request.name),
        ("namespace", request.namespace()),
    ] {
        if !text.is_empty() {
            variable[field] = text.into();
        }
    }
    variable
}
