//! The plugin NamespaceLifecycle: nothing is created where it could not stay, and some namespaces stay for ever.

use super::super::state::Cluster;
use super::super::target::Target;
use super::plugin::Plugin;
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES};
use crate::status::{Cause, Status};

/// The namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

impl Cluster {
    /// Refuses the deletion of a namespace that cannot be deleted.
    pub(in super::super) fn protect(&self, target: Target<'_>) -> Result<(), Status> {
        if target.resource.stored_as() == NAMESPACES
            && PROTECTED.contains(&target.name)
            && self.options.plugins.has(Plugin::NamespaceLifecycle)
        {
            return Err(Status::forbidden(
                "",
                "namespaces",
                target.name,
                "this namespace may not be deleted",
            ));
        }
        Ok(())
    }

    /// Refuses a new object whose namespace or definition does not exist, or is being deleted. Without the plugin, its namespace
    /// is not looked at.
    pub(in super::super) fn admit_place(&self, target: Target<'_>) -> Result<(), Status> {
        self.admit_definition(target)?;
        if self.needs_namespace(target) { self.admit_namespace(target) } else { Ok(()) }
    }

    /// Refuses a new custom resource whose definition does not exist, or is being deleted.
    pub(super) fn admit_definition(&self, target: Target<'_>) -> Result<(), Status> {
        let Target { resource, name, .. } = target;
        let Some(custom) = &resource.custom else { return Ok(()) };
        match self.store.get(CUSTOM_RESOURCE_DEFINITIONS.collection(), &custom.definition) {
            None => Err(Status::no_such_path()),
            Some(definition) if definition.deleted => {
                let why = "create not allowed while custom resource definition is terminating";
                Err(Status::forbidden(&resource.group, &resource.plural, name, why))
            }
            Some(_) => Ok(()),
        }
    }

    /// Refuses a new object whose namespace does not exist, or is being deleted.
    pub(super) fn admit_namespace(&self, target: Target<'_>) -> Result<(), Status> {
        let Target { resource, namespace, name } = target;
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

    /// Whether an object can only be created in a namespace that exists and is not being deleted.
    pub(in super::super) fn needs_namespace(&self, target: Target<'_>) -> bool {
        target.resource.namespaced && self.options.plugins.has(Plugin::NamespaceLifecycle)
    }
}
