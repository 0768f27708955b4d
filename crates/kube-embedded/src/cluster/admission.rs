//! Admission: checks and changes of a write that depend on the cluster, not only on the object's type: the server's own
//! plugins, policies and webhooks.
//!
//! The steps are asynchronous, because webhooks are other services. Each consumes some of tokio's
//! task budget, so that a client that writes without a pause does not starve the others.

use serde_json::Value;
use tokio::task::coop::consume_budget;

use super::admission_request::AdmissionRequest;
use super::plugins::Plugin;
use super::policies;
use super::state::Cluster;
use super::webhooks;
use crate::resource::{
    GroupResource, MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_ADMISSION_POLICY_BINDINGS,
    VALIDATING_WEBHOOK_CONFIGURATIONS,
};
use crate::status::Status;
use crate::strategy::{self, scale};

/// The subresource whose requests are about a Scale rather than the whole object.
const SCALE: &str = "scale";

/// What may change the object of a request after the plugins: first policies, then webhooks.
struct Mutators {
    policies: Option<policies::Mutations>,
    webhooks: Option<webhooks::Mutations>,
}

impl Mutators {
    /// Starts the second round. Returns whether there is one.
    fn start_second_round(&mut self) -> bool {
        let policies = self.policies.as_mut().is_some_and(policies::Mutations::start_second_round);
        let webhooks = self.webhooks.as_mut().is_some_and(webhooks::Mutations::start_second_round);
        policies || webhooks
    }
}

impl Cluster {
    /// Changes or refuses an object before its strategy prepares it: by the plugins, then policies and webhooks. If one of those
    /// has changed the object, all plugins run once more, and so do those policies and webhooks that asked for it. `old`: what it
    /// replaces.
    pub(super) async fn mutate(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.mutate_by_plugins(request, object, old)?;
        if let Some(mut mutators) = self.mutators(request) {
            let managed_fields = object["metadata"]["managedFields"].clone();
            self.mutate_whole_or_scale(request, &mut mutators, object, old).await?;
            if mutators.start_second_round() {
                self.mutate_by_plugins(request, object, old)?;
                self.mutate_whole_or_scale(request, &mut mutators, object, old).await?;
            }
            keep_valid(managed_fields, object, request);
        }
        consume_budget().await;
        Ok(())
    }

    /// What may change the object of a request. `None` if nothing does.
    fn mutators(&self, request: &AdmissionRequest<'_>) -> Option<Mutators> {
        let (policies, webhooks) = (self.policy_mutations(request), self.webhook_mutations(request));
        (policies.is_some() || webhooks.is_some()).then_some(Mutators { policies, webhooks })
    }

    /// Lets policies and webhooks change an object. It is `None` in a deletion, which only webhooks see.
    async fn run_mutators(
        &self,
        request: &AdmissionRequest<'_>,
        mutators: &mut Mutators,
        mut object: Option<&mut Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if let (Some(policies), Some(object)) = (&mut mutators.policies, object.as_deref_mut()) {
            self.mutate_by_policies(request, policies, object, old).await?;
        }
        if let Some(webhooks) = &mut mutators.webhooks {
            self.call_mutating(request, webhooks, object, old).await?;
        }
        Ok(())
    }

    async fn mutate_whole_or_scale(
        &self,
        request: &AdmissionRequest<'_>,
        mutators: &mut Mutators,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let (SCALE, Some(old)) = (request.subresource, old) else {
            return self.run_mutators(request, mutators, Some(object), old).await;
        };
        let (mut scale, old_scale) = (scale_of(request, object)?, scale_of(request, old)?);
        let before = scale.clone();
        self.run_mutators(request, mutators, Some(&mut scale), Some(&old_scale)).await?;
        if scale != before {
            *object = scale::scaled(request.resource, &scale::of(request.resource), object, &scale)?;
        }
        Ok(())
    }

    /// Refuses an object that is about to be stored.
    pub(super) async fn admit_write(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.validate_by_plugins(request, new, old)?;
        match (request.subresource, old) {
            (SCALE, Some(old)) => {
                let (new, old) = (scale_of(request, new)?, scale_of(request, old)?);
                self.judge(request, Some(&new), Some(&old)).await?;
            }
            _ => self.judge(request, Some(new), old).await?,
        }
        consume_budget().await;
        Ok(())
    }

    /// Refuses what policies or webhooks deny.
    async fn judge(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.enforce_policies(request, object, old).await?;
        self.call_validating(request, object, old).await
    }

    /// Changes or refuses the object of a POST to a subresource that is not stored: an Eviction, for example.
    pub(crate) async fn admit_subresource(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        self.mutate_by_plugins(request, object, None)?;
        if let Some(mut mutators) = self.mutators(request) {
            self.run_mutators(request, &mut mutators, Some(object), None).await?;
            if mutators.start_second_round() {
                self.mutate_by_plugins(request, object, None)?;
                self.run_mutators(request, &mut mutators, Some(object), None).await?;
            }
        }
        self.judge(request, Some(object), None).await
    }

    /// Whether anything may refuse a deletion, or take its time.
    pub(crate) fn asks_about_deletions(&self) -> bool {
        let configurations = [
            MUTATING_WEBHOOK_CONFIGURATIONS,
            VALIDATING_WEBHOOK_CONFIGURATIONS,
            VALIDATING_ADMISSION_POLICY_BINDINGS,
        ];
        let are_configured = |of: &GroupResource<'_>| self.store.count(of.collection(), "") > 0;
        self.options.plugins.has(Plugin::AlwaysDeny) || configurations.iter().any(are_configured)
    }

    /// Refuses a deletion.
    pub(super) async fn admit_delete(
        &self,
        request: &AdmissionRequest<'_>,
        old: &Value,
    ) -> Result<(), Status> {
        self.deny_always(request, old)?;
        self.validate_deletion_by_plugins(request)?;
        if let Some(mut mutators) = self.mutators(request) {
            self.run_mutators(request, &mut mutators, None, Some(old)).await?;
        }
        self.judge(request, None, Some(old)).await?;
        consume_budget().await;
        Ok(())
    }
}

/// What admission sees of a write to `/scale`.
fn scale_of(request: &AdmissionRequest<'_>, object: &Value) -> Result<Value, Status> {
    let resource = request.resource;
    scale::shown(resource, &scale::of(resource), object).map_err(Status::internal)
}

/// Gives an object its former managed fields, if policies or webhooks have made them invalid:
/// `NewManagedFieldsValidatingAdmissionController` of kube-apiserver.
fn keep_valid(before: Value, object: &mut Value, request: &AdmissionRequest<'_>) {
    if object["metadata"]["managedFields"] == before {
        return;
    }
    let Err(why) = kube_patch::check_managed_fields(&object["metadata"]["managedFields"]) else { return };
    strategy::metadata(object).insert("managedFields".to_owned(), before);
    request.warnings.extend([format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating \
         admission controller; please fix your requests: {why}"
    )]);
}
