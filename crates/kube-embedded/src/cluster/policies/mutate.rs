//! Changes the objects that mutating policies are about: the dispatcher of apiserver's `pkg/admission/plugin/policy/mutating`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::matching::{is_exempt_from_policies, is_of_kind};
use super::super::patched::normalize;
use super::super::plugins::Plugin;
use super::super::state::Cluster;
use super::configured::{Binding, Policy};
use super::invocations::Invocation;
use super::mutator::{Mutation, Mutator, PatchType};
use crate::resource::api_version;
use crate::status::Status;

/// The policies that may change the object of one request, and what they did.
#[derive(Debug)]
pub(in super::super) struct Mutations {
    policies: Arc<Vec<Policy<Mutator>>>,
    /// Whether a mutation was applied.
    is_changed: bool,
    /// The invocations that want to see later changes.
    reinvocable: BTreeSet<Key>,
    /// The object as the policies have left it, if they have changed nothing.
    output: Option<Value>,
    is_second: bool,
}

/// What identifies an invocation: the names of the policy and of the binding, and the parameter's namespace and name.
type Key = [String; 4];

/// Why a request is denied.
struct Failure {
    reason: &'static str,
    message: String,
}

impl Mutations {
    /// Starts the second round, in which only policies that want to see later changes are invoked. Returns whether it is needed.
    pub(in super::super) fn start_second_round(&mut self) -> bool {
        self.is_second = true;
        self.is_changed
    }
}

impl Cluster {
    /// The policies that may change the object of a request. `None` if there are none.
    pub(in super::super) fn policy_mutations(&self, request: &AdmissionRequest<'_>) -> Option<Mutations> {
        let on = self.options.plugins.has(Plugin::MutatingAdmissionPolicy);
        if !on || is_exempt_from_policies(request.resource) {
            return None;
        }
        let policies = self.policies.mutating(&self.store);
        (!policies.is_empty()).then(|| Mutations {
            policies,
            is_changed: false,
            reinvocable: BTreeSet::new(),
            output: None,
            is_second: false,
        })
    }

    /// Lets policies change an object, one after the other. If one of them fails, the others run nevertheless.
    pub(in super::super) async fn mutate_by_policies(
        &self,
        request: &AdmissionRequest<'_>,
        mutations: &mut Mutations,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let policies = Arc::clone(&mutations.policies);
        let (invocations, misconfigured): (Vec<_>, Vec<_>) = self
            .invocations(&policies, request, Some(object), old)
            .await
            .into_iter()
            .partition(Result::is_ok);
        // If nothing has changed since the first round, nobody is invoked again.
        if mutations.is_second && !mutations.is_changed && mutations.output.as_ref() == Some(object) {
            mutations.reinvocable.clear();
        }
        let mut failures = Vec::new();
        for it in misconfigured.into_iter().filter_map(Result::err) {
            if !it.policy.ignores_failures {
                failures.push(failure("Forbidden", &it.policy.name, it.binding, &it.why));
            }
        }
        for invocation in invocations.iter().flatten() {
            let policy = invocation.policy;
            let mut fail = |why: &str| {
                if !policy.ignores_failures {
                    failures.push(failure("Invalid", &policy.name, Some(invocation.binding), why));
                }
            };
            let changed = self.invoke(invocation, request, mutations, object, old, &mut fail).await?;
            mutations.is_changed |= changed;
        }
        if !mutations.is_second && !mutations.is_changed && !mutations.reinvocable.is_empty() {
            mutations.output = Some(object.clone());
        }
        let Some(first) = failures.first() else { return Ok(()) };
        let name = request.name_of(object);
        let reason = first.reason;
        let messages = failures.into_iter().map(|failure| failure.message).collect();
        Err(Status::denied_by_mutating_policies(request.resource, name, reason, messages))
    }

    /// Applies the mutations of a policy. Returns whether one could be applied.
    ///
    /// # Errors
    /// Fails if the request is refused whatever the policy wants in case of failures. Other errors go to `fail`.
    async fn invoke(
        &self,
        invocation: &Invocation<'_, Mutator>,
        request: &AdmissionRequest<'_>,
        mutations: &mut Mutations,
        object: &mut Value,
        old: Option<&Value>,
        fail: &mut (dyn FnMut(&str) + Send),
    ) -> Result<bool, Status> {
        let Invocation { policy, matched, .. } = invocation;
        let mutator = policy.evaluator();
        let seen = self.seen_as(matched, request, Some(object)).await?;
        let mut seen = seen.unwrap_or_default().into_owned();
        let old = self.seen_as(matched, request, old).await?.unwrap_or_default();
        let context = self.context(invocation, request);
        match mutator.matches(&self.inputs(invocation, request, &context, &seen, &old)) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                fail(&why);
                return Ok(false);
            }
        }
        let key = key(invocation);
        if mutations.is_second && !mutations.reinvocable.contains(&key) {
            return Ok(false);
        }
        let mut applied = false;
        for mutation in &mutator.mutations {
            let inputs = self.inputs(invocation, request, &context, &seen, &old);
            let kind = matched.merge_type_of(request.subresource);
            match mutator.mutated(mutation, &inputs, kind) {
                Ok(mut new) => match decode(invocation, request, mutation, &mut new)? {
                    Ok(()) => (seen, applied) = (new, true),
                    Err(why) => fail(&why),
                },
                Err(why) => fail(&why),
            }
        }
        if applied {
            *object = match is_of_kind(matched, request) {
                true => seen,
                false => {
                    let converted = self.conversions.converted(request.resource, seen).await;
                    converted.map_err(|error| {
                        Status::internal_error(format!("failed to convert object: {}", error.message))
                    })?
                }
            };
        }
        if policy.reinvoked {
            mutations.reinvocable.insert(key);
        }
        Ok(applied)
    }
}

/// Converts the result of a mutation to the form in which it is stored. Returns the error for the policy.
///
/// # Errors
/// What a JSON patch makes of an object must be one; its errors are not those of the policy.
fn decode(
    invocation: &Invocation<'_, Mutator>,
    request: &AdmissionRequest<'_>,
    mutation: &Mutation,
    object: &mut Value,
) -> Result<Result<(), String>, Status> {
    let matched = &invocation.matched;
    let (group, version, _) = matched.kind_of(request.subresource);
    if matched.custom.is_some() && (group, version) != (&*matched.group, &*matched.version) {
        let version = api_version(group, version);
        return Ok(Err(format!("request to convert CR to an invalid group/version: {version}")));
    }
    match (mutation.patch_type, normalize(matched, request.subresource, object)) {
        (PatchType::JsonPatch, Ok(unknown)) if matched.custom.is_none() && !unknown.is_empty() => {
            let unknown = unknown.iter().map(|field| format!("unknown field {field}"));
            let unknown = unknown.collect::<Vec<_>>().join(", ");
            Err(Status::internal_error(format!("strict decoding error: {unknown}")))
        }
        (_, Ok(_)) => Ok(Ok(())),
        (PatchType::JsonPatch, Err(why)) => Err(Status::internal_error(why)),
        (PatchType::ApplyConfiguration, Err(why)) => {
            let text = |field: &str| object[field].as_str().unwrap_or_default();
            let kind = format!("{}, Kind={}", text("apiVersion"), text("kind"));
            Ok(Err(format!("unable to convert unstructured object to {kind}: {why}")))
        }
    }
}

fn key(invocation: &Invocation<'_, Mutator>) -> Key {
    let text = |field: &str| invocation.param["metadata"][field].as_str().unwrap_or_default().to_owned();
    let Invocation { policy, binding, .. } = invocation;
    [policy.name.clone(), binding.name.clone(), text("namespace"), text("name")]
}

fn failure(reason: &'static str, policy: &str, binding: Option<&Binding>, why: &str) -> Failure {
    let message = match binding {
        Some(binding) => {
            format!("policy '{policy}' with binding '{}' denied request: {why}", binding.name)
        }
        None => format!("policy {policy:?} denied request: {why}"),
    };
    Failure { reason, message }
}
