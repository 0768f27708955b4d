//! Denies the requests that policies deny: the dispatcher of apiserver.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::expressions::Inputs;
use super::super::matching::is_exempt;
use super::super::plugins::Plugin;
use super::super::request_variables::requested;
use super::super::state::Cluster;
use super::compiled::Denial;
use super::configured::{Binding, Policy};
use crate::resource::{NAMESPACES, Resource};
use crate::status::Status;

impl Cluster {
    /// Refuses a request that a policy denies, and warns about what it only warns of.
    pub(in super::super) async fn enforce_policies(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let policies = self.policies.current(&self.store);
        let on = self.options.plugins.has(Plugin::ValidatingAdmissionPolicy);
        if !on || policies.is_empty() || is_exempt(request.resource) {
            return Ok(());
        }
        let mut first = None;
        for policy in policies.iter() {
            let mut deny = |binding: Option<&Binding>, denial: Denial| {
                first.get_or_insert_with(|| (denial.reason, denied(policy, binding, &denial.message)));
            };
            let misconfigured = |what: &str, why: &str| {
                let message = format!("failed to configure {what}: {why}");
                (!policy.ignores_failures).then(|| Denial {
                    message,
                    reason: String::new(),
                    by_action: false,
                })
            };
            let matched = match self.matched(&policy.criteria, request, object, old) {
                Ok(Some(matched)) => matched,
                Ok(None) => continue,
                Err(error) => {
                    misconfigured("policy", &error.message).into_iter().for_each(|denial| deny(None, denial));
                    continue;
                }
            };
            let kind = policy.param_kind.as_ref();
            if let Some(kind) = kind
                && self.scheme().by_kind(&kind.api_version, &kind.kind).is_none()
            {
                misconfigured("policy", &kind.unknown()).into_iter().for_each(|denial| deny(None, denial));
                continue;
            }
            for binding in &policy.bindings {
                let denials = self.denials(policy, binding, request, &matched, object, old).await;
                let denials =
                    denials.unwrap_or_else(|why| misconfigured("binding", &why).into_iter().collect());
                for denial in denials {
                    match denial.by_action {
                        true => act(policy, binding, request, &denial, &mut deny),
                        false => deny(Some(binding), denial),
                    }
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

    /// Why a policy denies a request by one of its bindings.
    ///
    /// # Errors
    /// Fails if the binding cannot be used.
    async fn denials(
        &self,
        policy: &Policy,
        binding: &Binding,
        request: &AdmissionRequest<'_>,
        matched: &Resource,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Vec<Denial>, String> {
        let message = |error: Status| error.message;
        if let Some(criteria) = &binding.criteria
            && self.matched(criteria, request, object, old).map_err(message)?.is_none()
        {
            return Ok(Vec::new());
        }
        let params = self.params(policy.param_kind.as_ref(), binding, request).await?;
        if params.is_empty() {
            return Ok(Vec::new());
        }
        let seen = self.seen_as(matched, request, object).await.map_err(message)?.unwrap_or_default();
        let old = self.seen_as(matched, request, old).await.map_err(message)?.unwrap_or_default();
        let namespace_object = self.namespace_object(request);
        let request_value = request.to_value(matched);
        let mut denials = Vec::new();
        for param in &params {
            let inputs = Inputs {
                object: &seen,
                old_object: &old,
                request: &request_value,
                namespace_object: &namespace_object,
                params: policy.param_kind.as_ref().map(|_| param),
                authorizer: self.caller(request.user),
                resource: requested(request),
            };
            denials.extend(policy.compiled().denials(&inputs, policy.ignores_failures));
        }
        Ok(denials)
    }

    /// The variable `namespaceObject`: null for what is in no namespace.
    fn namespace_object(&self, request: &AdmissionRequest<'_>) -> Value {
        let name = match request.resource.stored_as() {
            NAMESPACES => "",
            _ => request.namespace(),
        };
        let Some(namespace) = self.store.get(NAMESPACES.collection(), name) else { return Value::Null };
        let mut namespace = namespace.value();
        if let Some(members) = namespace.as_object_mut() {
            members.retain(|member, _| matches!(member.as_str(), "metadata" | "spec" | "status"));
        }
        if let Some(metadata) = namespace["metadata"].as_object_mut() {
            metadata.retain(|member, _| !matches!(member.as_str(), "managedFields" | "ownerReferences"));
        }
        namespace
    }
}

/// Does what a binding wants if its policy is violated.
fn act(
    policy: &Policy,
    binding: &Binding,
    request: &AdmissionRequest<'_>,
    denial: &Denial,
    deny: &mut dyn FnMut(Option<&Binding>, Denial),
) {
    for action in &binding.actions {
        match action.as_str() {
            "Deny" => deny(Some(binding), denial.clone()),
            "Warn" => request.warnings.extend([format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                policy.name, binding.name, denial.message
            )]),
            // There is no audit.
            _ => {}
        }
    }
}

fn denied(policy: &Policy, binding: Option<&Binding>, why: &str) -> String {
    let name = &policy.name;
    match binding {
        Some(binding) => {
            format!(
                "ValidatingAdmissionPolicy '{name}' with binding '{}' denied request: {why}",
                binding.name
            )
        }
        None => format!("ValidatingAdmissionPolicy '{name}' denied request: {why}"),
    }
}
