//! The events to print.

use kube::core::DynamicObject;

/// An event of `crdctl watch`.
pub(crate) enum Line<'a> {
    /// An object of the first list, or a new one.
    Added(&'a DynamicObject),
    /// An object changed.
    Modified {
        /// The object's previous state in the cache.
        old: &'a DynamicObject,
        new: &'a DynamicObject,
    },
    /// An object was deleted, or is no longer selected; its last known state.
    Deleted(&'a DynamicObject),
    /// Every object of the first list was reported.
    Synced { count: usize, resource_version: &'a str },
    /// The names in the cache.
    Cached(&'a [String]),
}

/// Returns a line such as `CACHED  2  blog-sample, second`.
pub(super) fn cached(names: &[String]) -> String {
    let list = if names.is_empty() { "(empty)".into() } else { names.join(", ") };
    format!("CACHED  {}  {list}", names.len())
}
