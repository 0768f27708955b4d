//! Admission: checks and changes of a write that depend on the cluster, not only on the object's type: webhooks, and
//! the plugins NamespaceLifecycle, Priority, DefaultTolerationSeconds, CertificateApproval and CertificateSigning;
//! CONFORMANCE.md lists the missing ones.
//!
//! The steps are asynchronous, because webhooks are other services. Each consumes some of tokio's
//! task budget, so that a client that writes without a pause does not starve the others.

use serde_json::Value;
use tokio::task::coop::consume_budget;

use super::admission_request::AdmissionRequest;
use super::commit::Target;
use super::state::Cluster;
use super::webhooks::Mutations;
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, POD, PRIORITY_CLASSES, Resource};
use crate::status::{Cause, Status};
use crate::store::Range;
use crate::strategy::{self, scale};

/// The subresource whose requests are about a Scale rather than the whole object.
const SCALE: &str = "scale";
/// The namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

impl Cluster {
    /// Changes or refuses an object before its strategy prepares it: by the plugins, then the webhooks. If one of those has
    /// changed the object, all plugins run once more, and so do webhooks that asked for it. `old`: what it replaces.
    pub(super) async fn mutate(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.run_plugins(request, object, old)?;
        if let Some(mut webhooks) = self.mutations(request) {
            let managed_fields = object["metadata"]["managedFields"].clone();
            self.mutate_by_webhooks(request, &mut webhooks, object, old).await?;
            if webhooks.run_again {
                let before = object.clone();
                self.run_plugins(request, object, old)?;
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

    fn run_plugins(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let Some(old) = old else {
            self.admit_place(request.target())?;
            if request.resource.group_kind() == POD {
                let class = self.priority_class(request.resource, request.name, object)?;
                strategy::pod::set_priority(object, class.as_ref());
                strategy::pod::tolerate(&mut object["spec"]);
            }
            return Ok(());
        };
        if request.resource.group_kind() == POD {
            // A request that sets a different value is refused later.
            for field in ["priority", "preemptionPolicy"] {
                if object["spec"][field].is_null() && !old["spec"][field].is_null() {
                    object["spec"][field] = old["spec"][field].clone();
                }
            }
            strategy::pod::tolerate(&mut object["spec"]);
        }
        Ok(())
    }

    /// Refuses an object that is about to be stored: a decision about a certificate by a user without permission for
    /// its signer, or what a webhook denies.
    pub(super) async fn admit_write(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if let Some(old) = old {
            self.confirm_signer(request.user, request.target(), request.subresource, new, old)?;
        }
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

    /// Refuses the deletion of a namespace that cannot be deleted.
    pub(super) fn protect(&self, target: Target<'_>) -> Result<(), Status> {
        if target.resource.stored_as() == NAMESPACES && PROTECTED.contains(&target.name) {
            return Err(Status::forbidden(
                "",
                "namespaces",
                target.name,
                "this namespace may not be deleted",
            ));
        }
        Ok(())
    }

    /// Refuses a new object whose namespace or definition does not exist, or is being deleted.
    pub(super) fn admit_place(&self, target: Target<'_>) -> Result<(), Status> {
        let Target { resource, namespace, name } = target;
        if let Some(custom) = &resource.custom {
            let definition = self.store.get(CUSTOM_RESOURCE_DEFINITIONS.collection(), &custom.definition);
            match definition {
                None => return Err(Status::no_such_path()),
                Some(definition) if definition.deleted => {
                    let why = "create not allowed while custom resource definition is terminating";
                    return Err(Status::forbidden(&resource.group, &resource.plural, name, why));
                }
                Some(_) => {}
            }
        }
        if !resource.namespaced {
            return Ok(());
        }
        let Some(stored) = self.store.get(NAMESPACES.collection(), namespace) else {
            return Err(Status::not_found("", "namespaces", namespace));
        };
        if !stored.deleted {
            return Ok(());
        }
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        Err(Status::forbidden(&resource.group, &resource.plural, name, &why).with_causes(vec![cause]))
    }

    /// The PriorityClass of a new pod: the one that it names, or the global default.
    fn priority_class(&self, resource: &Resource, name: &str, pod: &Value) -> Result<Option<Value>, Status> {
        let classes = PRIORITY_CLASSES.collection();
        let Some(class) = pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty()) else {
            let all = self.store.list(classes, Range::default(), None).unwrap_or_default();
            let mut all = all.objects.iter().map(|class| class.value());
            return Ok(all.find(|class| class["globalDefault"] == true));
        };
        let stored = self.store.get(classes, class).ok_or_else(|| {
            let why = format!("no PriorityClass with name {class} was found");
            Status::forbidden(&resource.group, &resource.plural, name, &why)
        })?;
        Ok(Some(stored.value()))
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
