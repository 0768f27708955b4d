//! Calls the webhooks that a request concerns: the dispatchers and `ShouldCallHook` of apiserver.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use kube_patch::PatchError;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::admission_request::AdmissionRequest;
use super::super::matching::{is_exempt, is_of_kind};
use super::super::patched::normalize;
use super::super::plugins::Plugin;
use super::super::state::Cluster;
use super::answer::{self, Answer, Wrong};
use super::configuration::{Configured, Webhook};
use super::held::hold;
use crate::resource::{Resource, to_json};
use crate::status::Status;

/// How large an answer may be.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// The webhooks that may change the object of one request, and what they did.
#[derive(Debug)]
pub(in super::super) struct Mutations {
    webhooks: Arc<Configured>,
    /// Whether one has changed the object.
    is_changed: bool,
    /// The webhooks that want to see later changes, and have not yet.
    called: BTreeSet<usize>,
    /// Those of them that are called again in the second round.
    again: BTreeSet<usize>,
    /// The object as the webhooks have left it, if one of them wants to see later changes.
    output: Option<Value>,
    is_second: bool,
}

/// A webhook that a request concerns, and the version in which it sees the object.
struct Invocation<'a> {
    webhook: &'a Webhook,
    resource: Arc<Resource>,
}

/// Why a webhook does not let a request pass.
enum Refusal {
    /// It did not answer, or not as it should. Its `failurePolicy` says what follows.
    Failure(String),
    Status(Status),
}

impl Mutations {
    /// Starts the second round, in which only webhooks that want to see later changes are called. Returns whether it is needed.
    pub(in super::super) fn start_second_round(&mut self) -> bool {
        self.is_second = true;
        self.is_changed
    }
}

impl Cluster {
    /// The webhooks that may change the object of a request. `None` if there are none.
    pub(in super::super) fn webhook_mutations(&self, request: &AdmissionRequest<'_>) -> Option<Mutations> {
        let webhooks = self.webhooks.current(&self.store);
        let on = self.options.plugins.has(Plugin::MutatingAdmissionWebhook);
        (on && !webhooks.mutating.is_empty() && !is_exempt(request.resource)).then(|| Mutations {
            webhooks,
            is_changed: false,
            called: BTreeSet::new(),
            again: BTreeSet::new(),
            output: None,
            is_second: false,
        })
    }

    /// Calls the webhooks that may change an object, one after the other. The object is `None` in a deletion.
    pub(in super::super) async fn call_mutating(
        &self,
        request: &AdmissionRequest<'_>,
        mutations: &mut Mutations,
        mut object: Option<&mut Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let webhooks = Arc::clone(&mutations.webhooks);
        // Also what is not a webhook may have changed it.
        if mutations.is_second && mutations.output.as_ref() != object.as_deref() {
            mutations.again.append(&mut mutations.called);
        }
        for webhook in &webhooks.mutating {
            let invocation = self.invocation(webhook, request, object.as_deref(), old).await?;
            let Some(invocation) = invocation else { continue };
            if mutations.is_second && !mutations.again.contains(&webhook.id) {
                continue;
            }
            let changed = match self.mutate_by(&invocation, request, object.as_deref_mut(), old).await {
                Ok(changed) => changed,
                Err(refusal) => {
                    refusal.unless_ignored(webhook)?;
                    false
                }
            };
            if changed {
                mutations.again.append(&mut mutations.called);
                mutations.is_changed = true;
            }
            if webhook.reinvoked {
                mutations.called.insert(webhook.id);
            }
        }
        if !mutations.is_second && !mutations.called.is_empty() {
            mutations.output = object.as_deref().cloned();
        }
        Ok(())
    }

    /// Calls a webhook, and applies its patch. Returns whether that has changed the object.
    async fn mutate_by(
        &self,
        invocation: &Invocation<'_>,
        request: &AdmissionRequest<'_>,
        object: Option<&mut Value>,
        old: Option<&Value>,
    ) -> Result<bool, Refusal> {
        let webhook = invocation.webhook;
        let seen =
            self.seen_as(&invocation.resource, request, object.as_deref()).await.map_err(Refusal::Status)?;
        let old = self.seen_as(&invocation.resource, request, old).await.map_err(Refusal::Status)?;
        let answer = self.call(invocation, request, seen.as_deref(), old.as_deref(), true).await?;
        if answer.patch.is_empty() {
            return Ok(false);
        }
        let undecodable =
            |why| Refusal::Failure(format!("received undecodable patch in webhook response: {why}"));
        let patch = read_patch(&answer.patch).map_err(undecodable)?;
        if patch.is_empty() {
            return Ok(false);
        }
        let Some(seen) = seen else {
            return Err(Refusal::Status(Status::internal_error(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                webhook.name
            ))));
        };
        if answer.patch_type != "JSONPatch" {
            return Err(Refusal::Failure(format!("unsupported patch type {:?}", answer.patch_type)));
        }
        let internal = |why: String| Refusal::Status(Status::internal_error(why));
        let mut patched =
            kube_patch::json_patch(&seen, &Value::Array(patch)).map_err(|error| match error {
                PatchError::Inapplicable(why) | PatchError::TestFailed(why) => internal(why),
                other => internal(other.to_string()),
            })?;
        normalize(&invocation.resource, request.subresource, &mut patched).map_err(internal)?;
        let changed = patched != *seen;
        let patched = match is_of_kind(&invocation.resource, request) {
            true => patched,
            false => {
                let converted = self.conversions.converted(request.resource, patched).await;
                converted.map_err(|error| internal(error.message))?
            }
        };
        drop(seen);
        if let Some(object) = object {
            *object = patched;
        }
        Ok(changed)
    }

    /// Calls the webhooks that may refuse a request, all at once.
    pub(in super::super) async fn call_validating(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let webhooks = self.webhooks.current(&self.store);
        let on = self.options.plugins.has(Plugin::ValidatingAdmissionWebhook);
        if !on || webhooks.validating.is_empty() || is_exempt(request.resource) {
            return Ok(());
        }
        let mut invocations = Vec::new();
        for webhook in &webhooks.validating {
            invocations.extend(self.invocation(webhook, request, object, old).await?);
        }
        let calls = invocations.iter().map(|invocation| async move {
            let seen = self.seen_as(&invocation.resource, request, object).await?;
            let old = self.seen_as(&invocation.resource, request, old).await?;
            match self.call(invocation, request, seen.as_deref(), old.as_deref(), false).await {
                Ok(_) => Ok(()),
                Err(refusal) => refusal.unless_ignored(invocation.webhook),
            }
        });
        join_all(calls).await.into_iter().collect()
    }

    /// How a webhook is called for a request, if it is.
    async fn invocation<'a>(
        &self,
        webhook: &'a Webhook,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Option<Invocation<'a>>, Status> {
        let resource = self.matched(&webhook.criteria, request, object, old)?;
        let Some(resource) = resource else { return Ok(None) };
        let invocation = Invocation { webhook, resource };
        if !webhook.conditions.are_empty() {
            let object = self.seen_as(&invocation.resource, request, object).await?.unwrap_or_default();
            let old = self.seen_as(&invocation.resource, request, old).await?.unwrap_or_default();
            match hold(&webhook.conditions, self, request, &invocation.resource, &object, &old) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if webhook.ignores_failures => return Ok(None),
                Err(why) => {
                    let Resource { group, plural, .. } = &**request.resource;
                    return Err(Status::forbidden(group, plural, request.name, &why));
                }
            }
        }
        Ok(Some(invocation))
    }

    /// Sends a review to a webhook. The objects are in the version of the invocation.
    async fn call(
        &self,
        invocation: &Invocation<'_>,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
        mutating: bool,
    ) -> Result<Answer, Refusal> {
        let webhook = invocation.webhook;
        if request.dry_run && !webhook.allows_dry_run {
            let why = format!("admission webhook {:?} does not support dry run", webhook.name);
            return Err(Refusal::Status(Status::bad_request(why)));
        }
        let Some(version) = webhook.review_version else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(Refusal::Failure(why.to_owned()));
        };
        let uid = self.random.uuid().to_string();
        let mut asked = request.to_value(&invocation.resource);
        asked["uid"] = uid.as_str().into();
        asked["object"] = json!(object);
        asked["oldObject"] = json!(old);
        let mut review =
            json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}")});
        review["request"] = asked;
        let body = to_json(&review);
        let left = request.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refusal::Status(Status::timeout()));
        }
        let timeout = webhook.timeout.min(left);
        let location = webhook.client.location(&self.store);
        let sent = self.webhook_client.post(&location, body.into(), timeout, ANSWER_MAX).await;
        let body = sent.map_err(|error| Refusal::Failure(error.to_string()))?;
        let answer = answer::read(&body, version, &uid, mutating).map_err(|wrong| {
            Refusal::Failure(match wrong {
                Wrong::Undecodable(why) => format!("failed to call webhook: {why}"),
                Wrong::Invalid(why) => format!("received invalid webhook response: {why}"),
            })
        })?;
        request.warnings.extend(answer.warnings.iter().cloned());
        match answer.allowed {
            true => Ok(answer),
            false => Err(Refusal::Status(Status::denied_by(&webhook.name, &answer.status))),
        }
    }
}

impl Refusal {
    /// The error for the client, unless the webhook's failures are ignored, and it is one.
    fn unless_ignored(self, webhook: &Webhook) -> Result<(), Status> {
        match self {
            Self::Failure(why) if webhook.ignores_failures => {
                tracing::warn!(webhook = webhook.name, why, "a webhook failed and is ignored");
                Ok(())
            }
            Self::Failure(why) => {
                Err(Status::internal_error(format!("failed calling webhook {:?}: {why}", webhook.name)))
            }
            Self::Status(status) => Err(status),
        }
    }
}

fn read_patch(patch: &[u8]) -> Result<Vec<Value>, String> {
    match serde_json::from_slice(patch) {
        Ok(Value::Array(operations)) => Ok(operations),
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(other) => {
            let found = kube_validation::go::json_type(&other);
            Err(format!("json: cannot unmarshal {found} into Go value of type jsonpatch.Patch"))
        }
        Err(error) => Err(error.to_string()),
    }
}
