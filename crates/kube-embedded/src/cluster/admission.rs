//! Admission: checks and changes of a write that depend on the cluster, not only on the object's type. This implements
//! the plugins NamespaceLifecycle, Priority, DefaultTolerationSeconds, CertificateApproval and CertificateSigning;
//! CONFORMANCE.md lists the missing ones.
//!
//! The steps are asynchronous, because steps that call other services would have to be. Each consumes some of tokio's
//! task budget, so that a client that writes without a pause does not starve the others.

use serde_json::Value;
use tokio::task::coop::consume_budget;

use super::commit::Target;
use super::state::Cluster;
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, POD, PRIORITY_CLASSES, Resource};
use crate::status::{Cause, Status};
use crate::store::Range;
use crate::strategy;
use crate::user::User;

/// The namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

impl Cluster {
    /// Changes or refuses a new object, before its strategy prepares it.
    pub(super) async fn mutate_create(&self, target: Target<'_>, object: &mut Value) -> Result<(), Status> {
        self.admit_place(target)?;
        if target.resource.group_kind() == POD {
            let class = self.priority_class(target.resource, target.name, object)?;
            strategy::pod::set_priority(object, class.as_ref());
            strategy::pod::tolerate(&mut object["spec"]);
        }
        consume_budget().await;
        Ok(())
    }

    /// Changes an object that replaces another one, before its strategy prepares it.
    pub(super) async fn mutate_update(
        &self,
        target: Target<'_>,
        new: &mut Value,
        old: &Value,
    ) -> Result<(), Status> {
        if target.resource.group_kind() == POD {
            // A request that sets a different value is refused later.
            for field in ["priority", "preemptionPolicy"] {
                if new["spec"][field].is_null() && !old["spec"][field].is_null() {
                    new["spec"][field] = old["spec"][field].clone();
                }
            }
            strategy::pod::tolerate(&mut new["spec"]);
        }
        consume_budget().await;
        Ok(())
    }

    /// Refuses an object that is about to be stored: a decision about a certificate by a user without permission for
    /// its signer.
    pub(super) async fn admit_write(
        &self,
        user: &User,
        target: Target<'_>,
        subresource: &str,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if let Some(old) = old {
            self.confirm_signer(user, target, subresource, new, old)?;
        }
        consume_budget().await;
        Ok(())
    }

    /// Refuses a deletion.
    pub(super) async fn admit_delete(&self, target: Target<'_>) -> Result<(), Status> {
        if target.resource.stored_as() == NAMESPACES && PROTECTED.contains(&target.name) {
            return Err(Status::forbidden(
                "",
                "namespaces",
                target.name,
                "this namespace may not be deleted",
            ));
        }
        consume_budget().await;
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
