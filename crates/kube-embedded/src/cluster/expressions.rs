//! What expressions of match conditions and policies see of a request.

use std::sync::Arc;

use k8s_cel::{Authorizer, Check, Decision, Declaration, ResourceAttributes, Target, Variables};
use serde_json::{Value, json};

use super::admission_request::AdmissionRequest;
use super::rbac::Policy;
use super::rule::Attributes;
use super::state::Cluster;
use crate::resource::Resource;
use crate::user::User;

/// The version of kube-apiserver whose functions expressions have.
pub(super) const MINOR: u32 = 37;

/// The variables of an expression, except for those of policies.
pub(super) struct Inputs<'a> {
    pub(super) object: &'a Value,
    pub(super) old_object: &'a Value,
    /// From [`request`].
    pub(super) request: &'a Value,
    pub(super) authorizer: Arc<Caller>,
    pub(super) resource: ResourceAttributes,
}

/// What the user of a request may do.
#[derive(Debug)]
pub(super) struct Caller {
    /// `None`: everything.
    policy: Option<Arc<Policy>>,
    user: User,
}

impl Inputs<'_> {
    /// The variables, read as data without a schema.
    pub(super) fn variables<'a>(&'a self, dynamic: &'a Declaration) -> Variables<'a> {
        let authorizer = || Arc::clone(&self.authorizer) as Arc<dyn Authorizer>;
        Variables::new()
            .with("object", self.object, dynamic)
            .with("oldObject", self.old_object, dynamic)
            .with("request", self.request, dynamic)
            .with_authorizer("authorizer", authorizer())
            .with_resource_check("authorizer.requestResource", authorizer(), self.resource.clone())
    }
}

impl Cluster {
    /// What the user of a request may do.
    pub(super) fn caller(&self, user: &User) -> Arc<Caller> {
        Arc::new(Caller { policy: self.rbac.policy_for(&self.store, user), user: user.clone() })
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
    json!({
        "kind": kind(matched),
        "resource": resource(matched),
        "subResource": request.subresource,
        "requestKind": kind(request.resource),
        "requestResource": resource(request.resource),
        "requestSubResource": request.subresource,
        "name": request.name,
        "namespace": request.namespace(),
        "operation": request.operation.as_str(),
        "userInfo": request.user.info(),
        "dryRun": request.dry_run,
        "options": request.options(),
    })
}

impl Authorizer for Caller {
    fn authorize(&self, check: &Check) -> Decision {
        let Some(policy) = &self.policy else { return Decision { allowed: true, ..Decision::default() } };
        let other =
            check.user.as_ref().map(|account| User::service_account(&account.namespace, &account.name));
        let user = other.as_ref().unwrap_or(&self.user);
        let verb = &*check.verb;
        let wanted = match &check.target {
            Target::Path(path) => Attributes { verb, path: Some(path), ..Attributes::default() },
            Target::Resource(target) => Attributes {
                verb,
                group: &target.group,
                resource: &target.resource,
                subresource: &target.subresource,
                namespace: &target.namespace,
                name: &target.name,
                path: None,
            },
        };
        Decision { allowed: policy.decide(user, &wanted).is_ok(), ..Decision::default() }
    }
}
