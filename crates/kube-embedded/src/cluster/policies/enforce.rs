//! Denies the requests that validating policies deny: the dispatcher of apiserver.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::matching::is_exempt_from_policies;
use super::super::plugins::Plugin;
use super::super::state::Cluster;
use super::configured::{Binding, Policy};
use super::invocations::Invocation;
use super::validator::{Denial, Validator};
use crate::status::Status;

impl Cluster {
    /// Refuses a request that a policy denies, and warns about what it only warns of.
    pub(in super::super) async fn enforce_policies(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let on = self.options.plugins.has(Plugin::ValidatingAdmissionPolicy);
        if !on || is_exempt_from_policies(request.resource) {
            return Ok(());
        }
        let policies = self.policies.validating(&self.store);
        if policies.is_empty() {
            return Ok(());
        }
        let mut first = None;
        let mut deny = |policy: &Policy<Validator>, binding: Option<&Binding>, denial: Denial| {
            first.get_or_insert_with(|| (denial.reason, denied(&policy.name, binding, &denial.message)));
        };
        let failure = |message: String| Denial { message, reason: String::new(), by_action: false };
        for invocation in self.invocations(&policies, request, object, old).await {
            let invocation = match invocation {
                Ok(invocation) => invocation,
                Err(it) if it.policy.ignores_failures => continue,
                Err(it) => {
                    deny(it.policy, it.binding, failure(it.why));
                    continue;
                }
            };
            let Invocation { policy, binding, .. } = &invocation;
            let denials = match self.denials(&invocation, request, object, old).await {
                Ok(denials) => denials,
                Err(_) if policy.ignores_failures => continue,
                Err(why) => vec![failure(format!("failed to configure binding: {why}"))],
            };
            for denial in denials {
                if !denial.by_action || denies(policy, binding, request, &denial) {
                    deny(policy, Some(binding), denial);
                }
            }
        }
        match first {
            None => Ok(()),
            Some((reason, message)) => {
                Err(Status::denied_by_policy(request.resource, request.name, &reason, &message))
            }
        }
    }

    /// Why a policy denies a request.
    ///
    /// # Errors
    /// Fails if the request's objects have no version that the policy is about.
    async fn denials(
        &self,
        invocation: &Invocation<'_, Validator>,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Vec<Denial>, String> {
        let Invocation { policy, matched, .. } = invocation;
        let message = |error: Status| error.message;
        let object = self.seen_as(matched, request, object).await.map_err(message)?.unwrap_or_default();
        let old = self.seen_as(matched, request, old).await.map_err(message)?.unwrap_or_default();
        let context = self.context(invocation, request);
        let inputs = self.inputs(invocation, request, &context, &object, &old);
        Ok(policy.evaluator().denials(&inputs, policy.ignores_failures))
    }
}

/// Does what a binding wants if its policy is violated. Returns whether the request is denied.
fn denies(
    policy: &Policy<Validator>,
    binding: &Binding,
    request: &AdmissionRequest<'_>,
    denial: &Denial,
) -> bool {
    // There is no audit.
    let has = |action: &str| binding.actions.iter().any(|it| it == action);
    if has("Warn") {
        request.warnings.extend([format!(
            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
            policy.name, binding.name, denial.message
        )]);
    }
    has("Deny")
}

fn denied(policy: &str, binding: Option<&Binding>, why: &str) -> String {
    match binding {
        Some(binding) => {
            let binding = &binding.name;
            format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}")
        }
        None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {why}"),
    }
}
