//! The plugins in kube-apiserver's order.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::commit::Target;
use super::super::state::Cluster;
use super::plugin::Plugin;
use super::{limit_ranger, priority, storage};
use crate::resource::{PERSISTENT_VOLUME_CLAIMS, PODS, PRIORITY_CLASSES};
use crate::status::Status;
use crate::strategy::{self, is_deleted};

impl Cluster {
    /// Changes or refuses an object before webhooks see it. `old`: what it replaces.
    pub(in super::super) fn mutate_by_plugins(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let on = |plugin| self.options.plugins.has(plugin);
        let stored_as = request.resource.stored_as();
        self.deny_always(request, object)?;
        if old.is_none() {
            self.admit_place(Target { name: request.name_of(object), ..request.target() })?;
        }
        if stored_as == PODS && request.subresource.is_empty() {
            if old.is_none() && on(Plugin::LimitRanger) {
                limit_ranger::set_defaults(&self.store, request.namespace, object);
            }
            if on(Plugin::Priority) {
                match old {
                    None => {
                        priority::set(&self.store, object).map_err(|why| request.forbidden(object, &why))?;
                    }
                    Some(old) => priority::keep(object, old),
                }
            }
            if on(Plugin::DefaultTolerationSeconds) {
                strategy::pod::tolerate(&mut object["spec"]);
            }
        }
        if stored_as == PERSISTENT_VOLUME_CLAIMS && old.is_none() && on(Plugin::DefaultStorageClass) {
            storage::set_class(&self.store, object);
        }
        if let Some(finalizer) = storage::protection(stored_as)
            && old.is_none()
            && on(Plugin::StorageObjectInUseProtection)
        {
            storage::protect(object, finalizer);
        }
        Ok(())
    }

    /// Refuses every write, if the plugin AlwaysDeny is on.
    pub(in super::super) fn deny_always(
        &self,
        request: &AdmissionRequest<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        match self.options.plugins.has(Plugin::AlwaysDeny) {
            true => Err(request.forbidden(object, "admission control is denying all modifications")),
            false => Ok(()),
        }
    }

    /// Refuses an object that is about to be stored, before policies and webhooks see it.
    pub(in super::super) fn validate_by_plugins(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let on = |plugin| self.options.plugins.has(plugin);
        let forbidden = |why: String| request.forbidden(new, &why);
        let (stored_as, namespace) = (request.resource.stored_as(), request.namespace);
        if on(Plugin::LimitRanger) && request.subresource.is_empty() && !old.is_some_and(is_deleted) {
            match (stored_as, old) {
                (PODS, None) => limit_ranger::check_pod(&self.store, namespace, new).map_err(forbidden)?,
                (PERSISTENT_VOLUME_CLAIMS, _) => {
                    limit_ranger::check_claim(&self.store, namespace, new).map_err(forbidden)?;
                }
                _ => {}
            }
        }
        if on(Plugin::PodSecurity) {
            self.check_pod_security(request, new, old)?;
        }
        if on(Plugin::OwnerReferencesPermissionEnforcement) {
            self.check_owner_references(request, new, old).map_err(forbidden)?;
        }
        if stored_as == PRIORITY_CLASSES && request.subresource.is_empty() && on(Plugin::Priority) {
            priority::check_class(&self.store, new, old.is_none()).map_err(forbidden)?;
        }
        let Some(old) = old else { return Ok(()) };
        if stored_as == PERSISTENT_VOLUME_CLAIMS
            && request.subresource.is_empty()
            && on(Plugin::PersistentVolumeClaimResize)
        {
            storage::check_resize(&self.store, new, old).map_err(|why| request.forbidden(new, why))?;
        }
        let plugin = match request.subresource {
            "approval" => Some(Plugin::CertificateApproval),
            "status" => Some(Plugin::CertificateSigning),
            _ => None,
        };
        if plugin.is_some_and(on) {
            self.confirm_signer(request.user, request.target(), request.subresource, new, old)?;
        }
        Ok(())
    }
}
