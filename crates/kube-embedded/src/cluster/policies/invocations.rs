//! Which policies a request concerns, by which bindings and with which parameters: the policy dispatcher of apiserver.

use std::sync::Arc;

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::expressions::Inputs;
use super::super::request_variables::requested;
use super::super::state::Cluster;
use super::compiled::Evaluator;
use super::configured::{Binding, Policy};
use crate::resource::{NAMESPACES, Resource};

/// A policy that a request concerns, with a binding and one of its parameters.
pub(super) struct Invocation<'a, E> {
    pub(super) policy: &'a Policy<E>,
    pub(super) binding: &'a Binding,
    /// The version in which the policy sees the request.
    pub(super) matched: Arc<Resource>,
    /// Null: none.
    pub(super) param: Value,
}

/// A policy or a binding that cannot be used.
pub(super) struct Misconfigured<'a, E> {
    pub(super) policy: &'a Policy<E>,
    pub(super) binding: Option<&'a Binding>,
    pub(super) why: String,
}

/// What policies see beside the objects and the parameters.
pub(super) struct Context {
    /// By the version that a policy is about.
    pub(super) request: Value,
    pub(super) namespace_object: Value,
}

impl Cluster {
    /// The invocations for a request, and what cannot be invoked although it may concern it, in the order of the policies.
    pub(super) async fn invocations<'a, E: Evaluator>(
        &self,
        policies: &'a [Policy<E>],
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Vec<Result<Invocation<'a, E>, Misconfigured<'a, E>>> {
        let mut invocations = Vec::new();
        for policy in policies {
            let wrong = |binding: Option<&'a Binding>, why: &str| {
                let what = if binding.is_some() { "binding" } else { "policy" };
                let why = format!("failed to configure {what}: {why}");
                Err(Misconfigured { policy, binding, why })
            };
            let matched = match self.matched(&policy.criteria, request, object, old) {
                Ok(Some(matched)) => matched,
                Ok(None) => continue,
                Err(error) => {
                    invocations.push(wrong(None, &error.message));
                    continue;
                }
            };
            let kind = policy.param_kind.as_ref();
            if let Some(kind) = kind
                && self.scheme().by_kind(&kind.api_version, &kind.kind).is_none()
            {
                invocations.push(wrong(None, &kind.unknown()));
                continue;
            }
            for binding in &policy.bindings {
                if let Some(criteria) = &binding.criteria {
                    match self.matched(criteria, request, object, old) {
                        Ok(Some(_)) => {}
                        Ok(None) => continue,
                        Err(error) => {
                            invocations.push(wrong(Some(binding), &error.message));
                            continue;
                        }
                    }
                }
                match self.params(kind, binding, request, E::TYPES_PARAMS).await {
                    Ok(params) => invocations.extend(params.into_iter().map(|param| {
                        Ok(Invocation { policy, binding, matched: Arc::clone(&matched), param })
                    })),
                    Err(why) => invocations.push(wrong(Some(binding), &why)),
                }
            }
        }
        invocations
    }

    /// What an invocation sees of a request whose objects are in the version that its policy is about.
    pub(super) fn inputs<'a, E>(
        &self,
        invocation: &'a Invocation<'_, E>,
        request: &AdmissionRequest<'_>,
        context: &'a Context,
        object: &'a Value,
        old_object: &'a Value,
    ) -> Inputs<'a> {
        Inputs {
            object,
            old_object,
            request: &context.request,
            namespace_object: &context.namespace_object,
            params: invocation.policy.param_kind.as_ref().map(|_| &invocation.param),
            authorizer: self.caller(request.user),
            resource: requested(request),
        }
    }

    /// What an invocation sees of a request beside its objects.
    pub(super) fn context<E>(
        &self,
        invocation: &Invocation<'_, E>,
        request: &AdmissionRequest<'_>,
    ) -> Context {
        Context {
            request: request.to_value(&invocation.matched),
            namespace_object: self.namespace_object(request),
        }
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
