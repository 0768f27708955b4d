//! The plugins in kube-apiserver's order.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::commit::Target;
use super::super::state::Cluster;
use super::plugin::Plugin;
use super::priority;
use crate::resource::POD;
use crate::status::Status;
use crate::strategy;

impl Cluster {
    /// Changes or refuses an object before webhooks see it. `old`: what it replaces.
    pub(in super::super) fn mutate_by_plugins(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let plugins = &self.options.plugins;
        let is_pod = request.resource.group_kind() == POD;
        if old.is_none() {
            self.admit_place(Target { name: request.name_of(object), ..request.target() })?;
        }
        if is_pod && plugins.has(Plugin::Priority) {
            match old {
                None => priority::set(&self.store, object).map_err(|why| request.forbidden(object, &why))?,
                Some(old) => priority::keep(object, old),
            }
        }
        if is_pod && plugins.has(Plugin::DefaultTolerationSeconds) {
            strategy::pod::tolerate(&mut object["spec"]);
        }
        Ok(())
    }

    /// Refuses an object that is about to be stored, before policies and webhooks see it.
    pub(in super::super) fn validate_by_plugins(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let plugins = &self.options.plugins;
        let decides = match request.subresource {
            "approval" => plugins.has(Plugin::CertificateApproval),
            _ => plugins.has(Plugin::CertificateSigning),
        };
        if let Some(old) = old
            && decides
        {
            self.confirm_signer(request.user, request.target(), request.subresource, new, old)?;
        }
        Ok(())
    }
}
