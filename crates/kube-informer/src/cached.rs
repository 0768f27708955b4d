//! What a cache can hold, and in which form.

use std::sync::Arc;

use kube::Resource;
use serde::de::DeserializeOwned;

/// Any Kubernetes type that can be read from JSON.
pub trait Object: Resource + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource + DeserializeOwned + Send + Sync + 'static> Object for K {}

/// What an informer can hold: a Kubernetes type `K`, each object as an `Arc<K>`, or [`Compact<K>`](crate::Compact), each
/// object as bytes.
///
/// It cannot be implemented outside of this crate.
pub trait Cached: Sealed + Sized + Send + Sync + 'static {
    /// How one object is held and handed out. Cloning costs a reference count.
    type Held: Clone + Send + Sync + 'static;

    /// The type that the server has.
    type Object: Object;

    /// The identity of the object: another object may have had the same name before.
    #[doc(hidden)]
    fn uid(held: &Self::Held) -> Option<&str>;

    /// Whether both are the same allocation.
    #[doc(hidden)]
    fn same(a: &Self::Held, b: &Self::Held) -> bool;

    /// An object in the form in which it is held, and the JSON that it was decoded from.
    #[doc(hidden)]
    fn hold(object: Self::Object, json: &str) -> Result<Self::Held, serde_json::Error>;
}

/// Keeps [`Cached`] to this crate.
pub trait Sealed {}

impl<K: Object> Sealed for K {}

impl<K: Object> Cached for K {
    type Held = Arc<K>;
    type Object = K;

    fn uid(held: &Arc<K>) -> Option<&str> {
        held.meta().uid.as_deref()
    }

    fn same(a: &Arc<K>, b: &Arc<K>) -> bool {
        Arc::ptr_eq(a, b)
    }

    fn hold(object: K, _: &str) -> Result<Arc<K>, serde_json::Error> {
        Ok(Arc::new(object))
    }
}
