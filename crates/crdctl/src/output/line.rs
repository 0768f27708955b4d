//! What there is to print.

use kube::core::DynamicObject;

/// One thing that happened, as `crdctl watch` tells it.
pub(crate) enum Line<'a> {
    /// An object is there: of the first list, or new.
    Added(&'a DynamicObject),
    /// An object changed.
    Modified {
        /// What the cache held before.
        old: &'a DynamicObject,
        new: &'a DynamicObject,
    },
    /// An object is gone; its last known state.
    Deleted(&'a DynamicObject),
    /// Every object of the first list was told.
    Synced { count: usize, resource_version: &'a str },
    /// What the cache holds.
    Cached(&'a [String]),
}

/// `CACHED  2  blog-sample, second`
pub(super) fn cached(names: &[String]) -> String {
    let list = if names.is_empty() { "(empty)".into() } else { names.join(", ") };
    format!("CACHED  {}  {list}", names.len())
}
