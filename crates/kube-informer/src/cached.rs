//! The types that a cache can store, and their stored forms.

use std::sync::Arc;

use kube::Resource;
use serde::de::DeserializeOwned;

use crate::{compress::Compressor, uid::Uid};

/// Any Kubernetes type that can be deserialized from JSON. Implemented for all of them.
pub trait Object: Resource + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource + DeserializeOwned + Send + Sync + 'static> Object for K {}

/// What an informer can cache: a Kubernetes type `K`, each object as an `Arc<K>`, or [`Compact<K>`](crate::Compact),
/// each object as bytes.
///
/// This trait is sealed: it cannot be implemented outside of this crate.
pub trait Cached: Sealed + Sized + Send + Sync + 'static {
    /// The form in which an object is stored and handed out. Cloning it increments a reference count.
    type Stored: Clone + Send + Sync + 'static;

    /// The Kubernetes type that the server serves.
    type Object: Object;

    /// Whether the stored form is made from the JSON.
    #[doc(hidden)]
    const AS_JSON: bool;

    /// The uid of the object, which distinguishes it from another object that had the same name before.
    #[doc(hidden)]
    fn uid(stored: &Self::Stored) -> Option<Uid<'_>>;

    /// Whether `a` and `b` are the same allocation.
    #[doc(hidden)]
    fn same(a: &Self::Stored, b: &Self::Stored) -> bool;

    /// The size of the object in bytes without its key, or `None` where that is unknown.
    #[doc(hidden)]
    #[cfg(feature = "metrics")]
    fn bytes(stored: &Self::Stored) -> Option<usize>;

    /// Converts a decoded object to its stored form. `json` is what it was decoded from.
    #[doc(hidden)]
    fn to_stored(
        object: Self::Object,
        json: &str,
        compressor: &Compressor,
    ) -> Result<Self::Stored, serde_json::Error>;
}

/// Seals [`Cached`].
pub trait Sealed {}

impl<K: Object> Sealed for K {}

impl<K: Object> Cached for K {
    type Stored = Arc<K>;
    type Object = K;
    const AS_JSON: bool = false;

    fn uid(stored: &Arc<K>) -> Option<Uid<'_>> {
        stored.meta().uid.as_deref().map(Uid::Text)
    }

    fn same(a: &Arc<K>, b: &Arc<K>) -> bool {
        Arc::ptr_eq(a, b)
    }

    #[cfg(feature = "metrics")]
    fn bytes(_: &Arc<K>) -> Option<usize> {
        None
    }

    fn to_stored(object: K, _: &str, _: &Compressor) -> Result<Arc<K>, serde_json::Error> {
        Ok(Arc::new(object))
    }
}
