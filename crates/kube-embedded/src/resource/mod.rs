//! Resources: their names, their types, and how their objects are stored. Depends on the store's objects, but not on
//! requests.

mod conversion;
mod names;
#[expect(clippy::module_inception, reason = "the resource itself, next to its parts")]
mod resource;
mod schemas;
mod versions;

pub(crate) use self::conversion::to_json;
#[cfg(feature = "listen")]
pub(crate) use self::names::CONFIG_MAPS;
pub(crate) use self::names::{
    API_SERVICES, CERTIFICATE_SIGNING_REQUEST, CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES, CLUSTER_TRUST_BUNDLES, CUSTOM_RESOURCE_DEFINITION, CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENT, ENDPOINT_SLICES, ENDPOINTS, EVENTS, GroupKind, GroupResource, INGRESS_CLASSES, INGRESSES,
    LIMIT_RANGES, MUTATING_ADMISSION_POLICY_BINDINGS, MUTATING_WEBHOOK_CONFIGURATIONS, NAMESPACE, NAMESPACES,
    NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, POD, POD_DISRUPTION_BUDGETS, PODS, PRIORITY_CLASSES,
    RESOURCE_QUOTAS, ROLE_BINDINGS, ROLES, RUNTIME_CLASSES, SECRETS, SERVICE, SERVICE_ACCOUNTS, SERVICES,
    STORAGE_CLASSES, VALIDATING_ADMISSION_POLICY_BINDINGS, VALIDATING_WEBHOOK_CONFIGURATIONS,
    VOLUME_ATTRIBUTES_CLASSES, api_version, qualified,
};
#[cfg(feature = "cel")]
pub(crate) use self::names::{MUTATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICIES};
pub(crate) use self::resource::{Custom, Resource, Subresource};
pub(crate) use self::schemas::Schemas;
pub(crate) use self::versions::{Versions, empty_metadata, remove_empty_metadata};
