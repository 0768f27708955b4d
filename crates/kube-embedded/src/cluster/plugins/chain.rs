//! The plugins in kube-apiserver's order.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::plugin::Plugin;
use super::{
    affinity, certificates, images, ingress_class, limit_ranger, namespaces, nodes, priority, resize,
    runtime_class, service_account, services, storage, tolerations,
};
use crate::resource::PODS;
use crate::status::Status;
use crate::strategy;

/// Changes or refuses an object. The last argument is what it replaces.
type Mutate = fn(&Cluster, &AdmissionRequest<'_>, &mut Value, Option<&Value>) -> Result<(), Status>;
/// Refuses an object. The last argument is what it replaces.
type Validate = fn(&Cluster, &AdmissionRequest<'_>, &Value, Option<&Value>) -> Result<(), Status>;

const MUTATING: [(Plugin, Mutate); 17] = [
    (Plugin::NamespaceAutoProvision, namespaces::provision),
    (Plugin::NamespaceLifecycle, |cluster, request, object, old| match old {
        None => cluster.admit_namespace(request.target_named(object)),
        Some(_) => Ok(()),
    }),
    (Plugin::LimitRanger, limit_ranger::mutate),
    (Plugin::ServiceAccount, service_account::mutate),
    (Plugin::TaintNodesByCondition, nodes::taint),
    (Plugin::AlwaysPullImages, images::mutate),
    (Plugin::PodNodeSelector, nodes::select),
    (Plugin::Priority, priority::mutate),
    (Plugin::DefaultTolerationSeconds, |_, request, object, _| {
        if request.is_for(PODS) {
            strategy::pod::tolerate(&mut object["spec"]);
        }
        Ok(())
    }),
    (Plugin::PodTolerationRestriction, tolerations::restrict),
    (Plugin::ExtendedResourceToleration, tolerations::tolerate_extended_resources),
    (Plugin::DefaultStorageClass, storage::set_class),
    (Plugin::StorageObjectInUseProtection, storage::protect),
    (Plugin::RuntimeClass, runtime_class::mutate),
    (Plugin::DefaultIngressClass, ingress_class::set),
    (Plugin::PodTopologyLabels, nodes::label_pod),
    (Plugin::AlwaysDeny, |cluster, request, object, _| cluster.deny_always(request, object)),
];

const VALIDATING: [(Plugin, Validate); 19] = [
    (Plugin::NamespaceExists, |cluster, request, _, _| cluster.need_namespace(request)),
    (Plugin::LimitPodHardAntiAffinityTopology, affinity::validate),
    (Plugin::LimitRanger, limit_ranger::validate),
    (Plugin::ServiceAccount, service_account::validate),
    (Plugin::AlwaysPullImages, images::validate),
    (Plugin::PodSecurity, Cluster::check_pod_security),
    (Plugin::PodNodeSelector, nodes::validate_selector),
    (Plugin::Priority, priority::validate),
    (Plugin::PodTolerationRestriction, tolerations::validate),
    (Plugin::OwnerReferencesPermissionEnforcement, Cluster::check_owner_references),
    (Plugin::PersistentVolumeClaimResize, storage::validate_resize),
    (Plugin::RuntimeClass, runtime_class::validate),
    (Plugin::CertificateApproval, certificates::approve),
    (Plugin::CertificateSigning, certificates::sign),
    (Plugin::ClusterTrustBundleAttest, certificates::attest),
    (Plugin::CertificateSubjectRestriction, certificates::restrict_subject),
    (Plugin::DenyServiceExternalIPs, services::deny_external_ips),
    (Plugin::NodeDeclaredFeatureValidator, resize::validate_features),
    (Plugin::PodResizeValidator, resize::validate),
];

impl Cluster {
    /// Changes or refuses an object before webhooks see it. `old`: what it replaces.
    pub(in super::super) fn mutate_by_plugins(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if old.is_none() {
            self.admit_definition(request.target_named(object))?;
        }
        let mut on = MUTATING.iter().filter(|(plugin, _)| self.options.plugins.has(*plugin));
        on.try_for_each(|(_, mutate)| mutate(self, request, object, old))
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
        let mut on = VALIDATING.iter().filter(|(plugin, _)| self.options.plugins.has(*plugin));
        on.try_for_each(|(_, validate)| validate(self, request, new, old))
    }

    /// Refuses a deletion, as [`Self::validate_by_plugins`] does a write.
    pub(in super::super) fn validate_deletion_by_plugins(
        &self,
        request: &AdmissionRequest<'_>,
    ) -> Result<(), Status> {
        match self.options.plugins.has(Plugin::NamespaceExists) {
            true => self.need_namespace(request),
            false => Ok(()),
        }
    }
}
