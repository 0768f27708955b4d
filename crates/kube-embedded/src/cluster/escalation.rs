//! Keeps users from granting permissions that they do not have: writes of roles and bindings, and decisions about
//! CertificateSigningRequests.

use std::collections::BTreeSet;

use kube_validation::go::{aggregate, quote, quote_all};
use kube_validation::names::path_segment;
use serde_json::Value;

use super::cover::{Uncovered, covers, full_authority};
use super::rbac::Policy;
use super::rule::{Attributes, Rule};
use super::state::Cluster;
use super::target::Target;
use crate::resource::{
    CERTIFICATE_SIGNING_REQUEST, CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES,
    ROLE_BINDINGS, ROLES, Resource,
};
use crate::status::Status;
use crate::strategy;
use crate::user::User;

const RBAC: &str = "rbac.authorization.k8s.io";

impl Cluster {
    /// Refuses a write of a role with rules that its user does not have, and of a binding to such a role. Writes of
    /// other resources pass.
    ///
    /// The rules are those of `policybased.Storage` in kube-apiserver's `pkg/registry/rbac`. The verb `escalate` on the
    /// role, or `bind` on the role that is bound, replaces the permissions. `system:masters` may do everything.
    ///
    /// `target.name` is the name in the object, and empty if it will be generated; `path_name` is the one in the
    /// request's path, and empty for a POST.
    ///
    /// # Errors
    /// Fails with 403; with 404, 400 or 500 if the role that is bound does not exist, or a reference to it is malformed.
    pub(super) fn confirm_grant(
        &self,
        user: &User,
        target: Target<'_>,
        path_name: &str,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let resource = target.resource;
        let is_role = match resource.stored_as() {
            ROLES | CLUSTER_ROLES => true,
            ROLE_BINDINGS | CLUSTER_ROLE_BINDINGS => false,
            _ => return Ok(()),
        };
        if user.is_master() || old.is_some_and(|old| changes_only_what_collection_needs(new, old)) {
            return Ok(());
        }
        let allows = |verb, group, resource, name| {
            let namespace = target.namespace;
            let wanted = Attributes { verb, group, resource, namespace, name, ..Attributes::default() };
            self.rbac.allows(&self.store, user, &wanted)
        };
        if is_role {
            if allows("escalate", RBAC, &resource.plural, path_name) {
                return Ok(());
            }
            let policy = self.rbac.policy(&self.store);
            confirm(&policy, user, target, &[&Rule::parse_all(&new["rules"])])?;
            if resource.stored_as() == CLUSTER_ROLES
                && (aggregates(new) || old.is_some_and(aggregates))
                && confirm(&policy, user, target, &[&full_authority()]).is_err()
            {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(Status::forbidden(&resource.group, &resource.plural, target.name, why));
            }
            return Ok(());
        }
        let text = |field: &str| new["roleRef"][field].as_str().unwrap_or_default();
        let (group, kind, name) = (text("apiGroup"), text("kind"), text("name"));
        let plural = match kind {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            _ => return Err(Status::internal(format!("unsupported role reference kind: {}", quote(kind)))),
        };
        if allows("bind", group, plural, name) {
            return Ok(());
        }
        if kind == "Role" && target.namespace.is_empty() {
            return Err(Status::bad_request("Namespace parameter required."));
        }
        if name.is_empty() {
            return Err(Status::bad_request("Name parameter required."));
        }
        let malformed = path_segment(name);
        if !malformed.is_empty() {
            let why = malformed.join(";");
            return Err(Status::bad_request(format!("Name parameter invalid: {}: {why}", quote(name))));
        }
        let policy = self.rbac.policy(&self.store);
        let rules = match kind {
            "Role" => policy.role(target.namespace, name),
            _ => policy.cluster_role(name),
        };
        // kube-apiserver names the resource of the request, too.
        let rules = rules.ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))?;
        confirm(&policy, user, target, &rules.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    /// Refuses a decision about a CertificateSigningRequest by a user who may not decide for its signer: the admission
    /// plugins `CertificateApproval` and `CertificateSigning`. They look at the signer that was asked, not at the one in
    /// the request.
    pub(super) fn confirm_signer(
        &self,
        user: &User,
        target: Target<'_>,
        subresource: &str,
        new: &Value,
        old: &Value,
    ) -> Result<(), Status> {
        let resource = target.resource;
        if resource.stored_as() != CERTIFICATE_SIGNING_REQUESTS {
            return Ok(());
        }
        let verb = match subresource {
            "approval" => "approve",
            "status"
                if ["certificate", "conditions"].iter().any(|it| new["status"][it] != old["status"][it]) =>
            {
                "sign"
            }
            _ => return Ok(()),
        };
        let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
        if self.may_use_signer(user, verb, signer) {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {}", quote(signer));
        Err(Status::forbidden(&resource.group, &resource.plural, target.name, &why))
    }

    /// Whether a user has permission for a signer, or for all of its domain.
    pub(super) fn may_use_signer(&self, user: &User, verb: &str, signer: &str) -> bool {
        let domain = signer.split('/').next().unwrap_or_default();
        [signer, &format!("{domain}/*")].into_iter().any(|name| {
            let wanted = Attributes {
                verb,
                group: CERTIFICATE_SIGNING_REQUEST.group,
                resource: "signers",
                name,
                ..Attributes::default()
            };
            self.rbac.allows(&self.store, user, &wanted)
        })
    }
}

/// Refuses to grant rules that a user does not have: `ConfirmNoEscalation` of kube-apiserver's
/// `pkg/registry/rbac/validation`.
fn confirm(policy: &Policy, user: &User, target: Target<'_>, wanted: &[&[Rule]]) -> Result<(), Status> {
    let Target { resource, namespace, name } = target;
    let owned: Vec<&Rule> = policy.rules(user, namespace).collect();
    let Err(uncovered) = covers(&owned, wanted) else { return Ok(()) };
    let uncovered = match uncovered {
        Uncovered::Permissions(uncovered) => uncovered.into_iter().collect::<Vec<_>>().join("\n"),
        Uncovered::TooMany => "too many to compare them one by one".to_owned(),
    };
    let missing = policy.missing(user, namespace);
    let missing: Vec<String> = missing
        .iter()
        .map(|role| not_found(resource, &role.name))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let unresolved = match missing.is_empty() {
        true => String::new(),
        false => format!("; resolution errors: [{}]", aggregate(&missing)),
    };
    let why = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{uncovered}{unresolved}",
        quote(&user.name),
        quote_all(&user.groups)
    );
    Err(Status::forbidden(&resource.group, &resource.plural, name, &why))
}

fn not_found(resource: &Resource, role: &str) -> String {
    Status::not_found(&resource.group, &resource.plural, role).message
}

fn aggregates(role: &Value) -> bool {
    role["aggregationRule"]["clusterRoleSelectors"].as_array().is_some_and(|selectors| !selectors.is_empty())
}

/// Whether a write only changes what garbage collection needs: `IsOnlyMutatingGCFields` of kube-apiserver's
/// `pkg/registry/rbac`.
pub(super) fn changes_only_what_collection_needs(new: &Value, old: &Value) -> bool {
    let mut copied = new.clone();
    for field in ["ownerReferences", "finalizers", "selfLink", "managedFields"] {
        match old["metadata"].get(field) {
            Some(value) => _ = strategy::metadata(&mut copied).insert(field.to_owned(), value.clone()),
            None => _ = strategy::metadata(&mut copied).remove(field),
        }
    }
    copied == *old
}
