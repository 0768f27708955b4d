//! The plugins NamespaceAutoProvision, which makes namespaces as they are needed, and NamespaceExists, which does without.

use kube_validation::{FieldError, names};
use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use crate::resource::NAMESPACES;
use crate::status::Status;

/// Creates the namespace of a new object, if it does not exist.
pub(super) fn provision(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let namespace = request.namespace;
    if request.dry_run
        || old.is_some()
        || namespace.is_empty()
        || cluster.store.get(NAMESPACES.collection(), namespace).is_some()
    {
        return Ok(());
    }
    let wrong = names::dns1123_label(namespace);
    if !wrong.is_empty() {
        let name = namespace.into();
        let errors = wrong.iter().map(|why| FieldError::invalid("metadata.name", &name, why)).collect();
        let refused = Status::invalid("", "Namespace", namespace, errors);
        return Err(request.forbidden(object, &refused.message));
    }
    cluster.create_namespace(namespace);
    Ok(())
}

impl Cluster {
    /// Refuses requests about objects of a namespace that does not exist.
    pub(super) fn need_namespace(&self, request: &AdmissionRequest<'_>) -> Result<(), Status> {
        let namespace = request.namespace;
        match namespace.is_empty() || self.store.get(NAMESPACES.collection(), namespace).is_some() {
            true => Ok(()),
            false => Err(Status::not_found("", "namespaces", namespace)),
        }
    }
}
