//! Names of groups, resources and kinds.

use std::fmt;

/// A resource in any version, which is how objects are stored. Borrows the store's name of the collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupResource<'a>(&'a str);

/// A kind in any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupKind<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
}

/// `CustomResourceDefinition`
pub(crate) const CUSTOM_RESOURCE_DEFINITION: GroupKind<'static> =
    GroupKind { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition" };
/// `CertificateSigningRequest`
pub(crate) const CERTIFICATE_SIGNING_REQUEST: GroupKind<'static> =
    GroupKind { group: "certificates.k8s.io", kind: "CertificateSigningRequest" };
/// `Deployment`
pub(crate) const DEPLOYMENT: GroupKind<'static> = GroupKind { group: "apps", kind: "Deployment" };
/// `Namespace`
pub(crate) const NAMESPACE: GroupKind<'static> = GroupKind { group: "", kind: "Namespace" };
/// `Pod`
pub(crate) const POD: GroupKind<'static> = GroupKind { group: "", kind: "Pod" };
/// `Service`
pub(crate) const SERVICE: GroupKind<'static> = GroupKind { group: "", kind: "Service" };

pub(crate) const API_SERVICES: GroupResource<'static> = GroupResource("apiregistration.k8s.io/apiservices");
#[cfg(feature = "listen")]
pub(crate) const CONFIG_MAPS: GroupResource<'static> = GroupResource("/configmaps");
pub(crate) const CUSTOM_RESOURCE_DEFINITIONS: GroupResource<'static> =
    GroupResource("apiextensions.k8s.io/customresourcedefinitions");
pub(crate) const CERTIFICATE_SIGNING_REQUESTS: GroupResource<'static> =
    GroupResource("certificates.k8s.io/certificatesigningrequests");
pub(crate) const CLUSTER_TRUST_BUNDLES: GroupResource<'static> =
    GroupResource("certificates.k8s.io/clustertrustbundles");
pub(crate) const CLUSTER_ROLES: GroupResource<'static> =
    GroupResource("rbac.authorization.k8s.io/clusterroles");
pub(crate) const CLUSTER_ROLE_BINDINGS: GroupResource<'static> =
    GroupResource("rbac.authorization.k8s.io/clusterrolebindings");
/// Includes the Events of `events.k8s.io`.
pub(crate) const EVENTS: GroupResource<'static> = GroupResource("/events");
pub(crate) const ENDPOINTS: GroupResource<'static> = GroupResource("/endpoints");
pub(crate) const ENDPOINT_SLICES: GroupResource<'static> = GroupResource("discovery.k8s.io/endpointslices");
pub(crate) const INGRESSES: GroupResource<'static> = GroupResource("networking.k8s.io/ingresses");
pub(crate) const INGRESS_CLASSES: GroupResource<'static> = GroupResource("networking.k8s.io/ingressclasses");
pub(crate) const LIMIT_RANGES: GroupResource<'static> = GroupResource("/limitranges");
#[cfg(feature = "cel")]
pub(crate) const MUTATING_ADMISSION_POLICIES: GroupResource<'static> =
    GroupResource("admissionregistration.k8s.io/mutatingadmissionpolicies");
pub(crate) const MUTATING_ADMISSION_POLICY_BINDINGS: GroupResource<'static> =
    GroupResource("admissionregistration.k8s.io/mutatingadmissionpolicybindings");
pub(crate) const MUTATING_WEBHOOK_CONFIGURATIONS: GroupResource<'static> =
    GroupResource("admissionregistration.k8s.io/mutatingwebhookconfigurations");
pub(crate) const NAMESPACES: GroupResource<'static> = GroupResource("/namespaces");
pub(crate) const NODES: GroupResource<'static> = GroupResource("/nodes");
pub(crate) const PERSISTENT_VOLUMES: GroupResource<'static> = GroupResource("/persistentvolumes");
pub(crate) const PERSISTENT_VOLUME_CLAIMS: GroupResource<'static> = GroupResource("/persistentvolumeclaims");
pub(crate) const PODS: GroupResource<'static> = GroupResource("/pods");
pub(crate) const POD_DISRUPTION_BUDGETS: GroupResource<'static> =
    GroupResource("policy/poddisruptionbudgets");
pub(crate) const PRIORITY_CLASSES: GroupResource<'static> =
    GroupResource("scheduling.k8s.io/priorityclasses");
pub(crate) const RESOURCE_QUOTAS: GroupResource<'static> = GroupResource("/resourcequotas");
pub(crate) const ROLES: GroupResource<'static> = GroupResource("rbac.authorization.k8s.io/roles");
pub(crate) const ROLE_BINDINGS: GroupResource<'static> =
    GroupResource("rbac.authorization.k8s.io/rolebindings");
pub(crate) const RUNTIME_CLASSES: GroupResource<'static> = GroupResource("node.k8s.io/runtimeclasses");
pub(crate) const SECRETS: GroupResource<'static> = GroupResource("/secrets");
pub(crate) const SERVICES: GroupResource<'static> = GroupResource("/services");
pub(crate) const SERVICE_ACCOUNTS: GroupResource<'static> = GroupResource("/serviceaccounts");
pub(crate) const STORAGE_CLASSES: GroupResource<'static> = GroupResource("storage.k8s.io/storageclasses");
pub(crate) const VOLUME_ATTRIBUTES_CLASSES: GroupResource<'static> =
    GroupResource("storage.k8s.io/volumeattributesclasses");

#[cfg(feature = "cel")]
pub(crate) const VALIDATING_ADMISSION_POLICIES: GroupResource<'static> =
    GroupResource("admissionregistration.k8s.io/validatingadmissionpolicies");
pub(crate) const VALIDATING_ADMISSION_POLICY_BINDINGS: GroupResource<'static> =
    GroupResource("admissionregistration.k8s.io/validatingadmissionpolicybindings");
pub(crate) const VALIDATING_WEBHOOK_CONFIGURATIONS: GroupResource<'static> =
    GroupResource("admissionregistration.k8s.io/validatingwebhookconfigurations");

impl<'a> GroupResource<'a> {
    /// The resource of a collection, as named by [`GroupResource::collection_of`].
    pub(crate) fn new(collection: &'a str) -> Self {
        Self(collection)
    }

    /// The store's name for the collection of a resource.
    pub(crate) fn collection_of(group: &str, plural: &str) -> String {
        format!("{group}/{plural}")
    }

    /// The store's name for its objects.
    pub(crate) const fn collection(self) -> &'a str {
        self.0
    }
}

/// `plural.group`, or `plural` in the core group.
impl fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('/') {
            Some(("", plural)) => f.write_str(plural),
            Some((group, plural)) => write!(f, "{plural}.{group}"),
            None => f.write_str(self.0),
        }
    }
}

/// `group/version`, or `version` in the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `name.group`, or `name` in the core group.
pub(crate) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
