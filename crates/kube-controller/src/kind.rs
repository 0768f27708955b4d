//! Types that controllers work with.

use std::any::TypeId;

use kube_informer::Object;
use serde::Serialize;

/// A Kubernetes type that is known at compile time, and can be read and written. Implemented for all of them: those of
/// `k8s-openapi`, those derived with `kube::CustomResource`, and the metadata of either
/// ([`PartialObjectMeta`](kube::core::PartialObjectMeta)).
pub trait Kind: Object<DynamicType = (), Scope: 'static> + Serialize {}

impl<K: Object<DynamicType = (), Scope: 'static> + Serialize> Kind for K {}

/// Whether objects of a type are in namespaces.
pub(crate) fn is_namespaced<K: Kind>() -> bool {
    TypeId::of::<K::Scope>() == TypeId::of::<kube::core::NamespaceResourceScope>()
}
