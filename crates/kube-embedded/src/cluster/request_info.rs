//! The attributes of a request, in RBAC's terms: apiserver's `RequestInfo`.

/// A request for a resource, one of its objects, or a subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty: all namespaces, or a cluster-scoped resource.
    pub(crate) namespace: String,
    /// The plural name.
    pub(crate) resource: String,
    /// Empty: the collection.
    pub(crate) name: String,
    /// Empty: the object itself.
    pub(crate) subresource: String,
    /// Whether something follows the subresource.
    pub(crate) has_more: bool,
    /// Whether the path is one of the deprecated ones that begin with `watch`.
    pub(crate) is_watch_path: bool,
}
