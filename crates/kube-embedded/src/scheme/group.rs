//! API groups.

use std::cmp::Reverse;
use std::sync::Arc;

use super::custom::version_order;
use crate::resource::Resource;

/// The priority of `apiregistration.k8s.io`, higher than an APIService can have.
pub(super) const FIRST: i32 = 20_001;
/// The priority of the groups that CustomResourceDefinitions add.
pub(crate) const CUSTOM_GROUP: i32 = 1000;
/// The priority of their versions.
pub(crate) const CUSTOM_VERSION: i32 = 100;

/// An API group in discovery, its versions in order of preference.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Groups with a higher one are preferred: `groupPriorityMinimum` of an APIService.
    pub(crate) priority: i32,
    pub(crate) versions: Vec<GroupVersion>,
}

/// A version of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupVersion {
    pub(crate) name: String,
    /// `versionPriority` of its APIService.
    pub(crate) priority: i32,
    pub(crate) resources: Vec<Arc<Resource>>,
}

/// The key by which versions of a group are sorted: those with a higher priority first, and those with equal ones as Kubernetes
/// prefers their names.
pub(crate) fn by_preference<'a>(
    (a, a_priority): (&'a str, i32),
    (b, b_priority): (&'a str, i32),
) -> std::cmp::Ordering {
    Reverse(a_priority).cmp(&Reverse(b_priority)).then_with(|| version_order(a, b))
}
