//! What a cache can hold, and in which form.

use std::sync::Arc;

use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Any Kubernetes type that can be read from JSON.
pub trait Object: Resource + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource + DeserializeOwned + Send + Sync + 'static> Object for K {}

/// What an informer can hold: a Kubernetes type `K`, each object as an `Arc<K>`, or [`Compact<K>`](crate::Compact), each
/// object as bytes.
///
/// It cannot be implemented outside of this crate.
pub trait Cached: Sealed + Sized + Send + Sync + 'static {
    /// How one object is held and handed out. Cloning costs a reference count.
    type Stored: Clone + Send + Sync + 'static;

    /// The type that the server has.
    type Object: Object;

    /// The identity of the object: another object may have had the same name before.
    #[doc(hidden)]
    fn uid(stored: &Self::Stored) -> Option<&str>;

    /// Whether both are the same allocation.
    #[doc(hidden)]
    fn same(a: &Self::Stored, b: &Self::Stored) -> bool;

    /// How many bytes it takes, without the key by which it is found; none where that is not known.
    #[doc(hidden)]
    #[cfg(feature = "metrics")]
    fn bytes(stored: &Self::Stored) -> Option<usize>;

    /// An object in the form in which it is held, out of the object, the JSON that it was decoded from, and how the JSON of
    /// most objects of its type begins.
    #[doc(hidden)]
    fn to_stored(
        object: Self::Object,
        json: &str,
        opening: &Arc<Opening>,
    ) -> Result<Self::Stored, serde_json::Error>;
}

/// Keeps [`Cached`] to this crate.
pub trait Sealed {}

impl<K: Object> Sealed for K {}

impl<K: Object> Cached for K {
    type Stored = Arc<K>;
    type Object = K;

    fn uid(stored: &Arc<K>) -> Option<&str> {
        stored.meta().uid.as_deref()
    }

    fn same(a: &Arc<K>, b: &Arc<K>) -> bool {
        Arc::ptr_eq(a, b)
    }

    #[cfg(feature = "metrics")]
    fn bytes(_: &Arc<K>) -> Option<usize> {
        None
    }

    fn to_stored(object: K, _: &str, _: &Arc<Opening>) -> Result<Arc<K>, serde_json::Error> {
        Ok(Arc::new(object))
    }
}

/// How a server begins the JSON of an object: `{"apiVersion":"v1","kind":"Pod",`.
#[derive(Debug)]
pub struct Opening(String);

impl Opening {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let (api_version, kind) = (Value::from(api_version), Value::from(kind));
        Self(format!(r#"{{"apiVersion":{api_version},"kind":{kind},"#))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
