//! Admission: checks and changes of a write that depend on the cluster, not only on the object's type: the server's own
//! plugins, policies and webhooks.
//!
//! The steps are asynchronous, because webhooks are other services. Each consumes some of tokio's
//! task budget, so that a client that writes without a pause does not starve the others.

use serde_json::Value;
use tokio::task::coop::consume_budget;

use super::admission_request::AdmissionRequest;
use super::state::Cluster;
use super::webhooks::Mutations;
use crate::status::Status;
use crate::strategy::{self, scale};

/// The subresource whose requests are about a Scale rather than the whole object.
const SCALE: &str = "scale";

impl Cluster {
    /// Changes or refuses an object before its strategy prepares it: by the plugins, then the webhooks. If one of those has
    /// changed the object, all plugins run once more, and so do webhooks that asked for it. `old`: what it replaces.
    pub(super) async fn mutate(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.mutate_by_plugins(request, object, old)?;
        if let Some(mut webhooks) = self.mutations(request) {
            let managed_fields = object["metadata"]["managedFields"].clone();
            self.mutate_by_webhooks(request, &mut webhooks, object, old).await?;
            if webhooks.run_again {
                let before = object.clone();
                self.mutate_by_plugins(request, object, old)?;
                webhooks.again(*object != before);
                self.mutate_by_webhooks(request, &mut webhooks, object, old).await?;
            }
            keep_valid(managed_fields, object, request);
        }
        consume_budget().await;
        Ok(())
    }

    async fn mutate_by_webhooks(
        &self,
        request: &AdmissionRequest<'_>,
        webhooks: &mut Mutations,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let (SCALE, Some(old)) = (request.subresource, old) else {
            return self.call_mutating(request, webhooks, Some(object), old).await;
        };
        let (mut scale, old_scale) = (scale_of(request, object)?, scale_of(request, old)?);
        let before = scale.clone();
        self.call_mutating(request, webhooks, Some(&mut scale), Some(&old_scale)).await?;
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
        if let Some(mut webhooks) = self.mutations(request) {
            self.call_mutating(request, &mut webhooks, Some(object), None).await?;
        }
        self.judge(request, Some(object), None).await
    }

    /// Refuses a deletion.
    pub(super) async fn admit_delete(
        &self,
        request: &AdmissionRequest<'_>,
        old: &Value,
    ) -> Result<(), Status> {
        if let Some(mut webhooks) = self.mutations(request) {
            self.call_mutating(request, &mut webhooks, None, Some(old)).await?;
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

/// Gives an object its former managed fields, if webhooks have made them invalid:
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
