//! What expressions of match conditions and policies see of a request.

use std::sync::Arc;

use k8s_cel::{
    Authorizer, COST_LIMIT, Check, Decision, Declaration, Evaluation, Program, ResourceAttributes, Target,
    Variables,
};
use kube_validation::go::aggregate;
use serde_json::Value;

use super::rbac::Policy;
use super::rule::Attributes;
use crate::user::User;

/// What all match conditions of a webhook or a policy may cost.
const CONDITIONS_BUDGET: u64 = 2_500_000;
/// The error if expressions cost too much in all.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The variables of an expression, except for those of policies.
pub(super) struct Inputs<'a> {
    pub(super) object: &'a Value,
    pub(super) old_object: &'a Value,
    /// An `AdmissionRequest` without its objects.
    pub(super) request: &'a Value,
    /// Null for what is in no namespace, and for webhooks.
    pub(super) namespace_object: &'a Value,
    /// `None`: there is no such variable.
    pub(super) params: Option<&'a Value>,
    pub(super) authorizer: Arc<Caller>,
    pub(super) resource: ResourceAttributes,
}

/// What the user of a request may do.
#[derive(Debug)]
pub(super) struct Caller {
    /// `None`: everything.
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) user: User,
}

impl Inputs<'_> {
    /// The variables, read as data without a schema.
    pub(super) fn variables<'a>(&'a self, dynamic: &'a Declaration) -> Variables<'a> {
        let authorizer = || Arc::clone(&self.authorizer) as Arc<dyn Authorizer>;
        self.plain_variables(dynamic).with_authorizer("authorizer", authorizer()).with_resource_check(
            "authorizer.requestResource",
            authorizer(),
            self.resource.clone(),
        )
    }

    /// The variables but `authorizer`.
    pub(super) fn plain_variables<'a>(&'a self, dynamic: &'a Declaration) -> Variables<'a> {
        let variables = Variables::new()
            .with("object", self.object, dynamic)
            .with("oldObject", self.old_object, dynamic)
            .with("request", self.request, dynamic)
            .with("namespaceObject", self.namespace_object, dynamic);
        match self.params {
            Some(params) => variables.with("params", params, dynamic),
            None => variables,
        }
    }
}

/// Whether match conditions hold: none is false. `evaluate` gets the program and what it may cost.
///
/// # Errors
/// Fails if no condition is false, but some have no value, with their errors.
pub(super) fn all_hold<'a>(
    conditions: impl Iterator<Item = (&'a str, &'a Result<Program, String>)>,
    mut evaluate: impl FnMut(&'a Program, u64) -> Evaluation<'a>,
) -> Result<bool, String> {
    let mut errors = Vec::new();
    let mut left = CONDITIONS_BUDGET;
    for (text, program) in conditions {
        let program = match program {
            Ok(program) => program,
            Err(error) => {
                errors.push(failed(text, error));
                continue;
            }
        };
        let Evaluation { result, cost, .. } = evaluate(program, COST_LIMIT);
        left = left.checked_sub(cost).ok_or(OUT_OF_BUDGET)?;
        match result {
            Ok(value) if value.as_bool() == Some(false) => return Ok(false),
            Ok(_) => {}
            Err(error) => errors.push(failed(text, &error)),
        }
    }
    if errors.is_empty() { Ok(true) } else { Err(aggregate(&errors)) }
}

/// The error of an expression.
pub(super) fn failed(text: &str, why: &dyn std::fmt::Display) -> String {
    format!("expression '{text}' resulted in error: {why}")
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
