//! What a request asks for, in the words of RBAC: apiserver's `RequestInfo`.

/// A request for a resource, an object of it, or a part of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty: all namespaces, or none.
    pub(crate) namespace: String,
    /// In the plural.
    pub(crate) resource: String,
    /// Empty: the collection.
    pub(crate) name: String,
    /// Empty: the object itself.
    pub(crate) subresource: String,
}
