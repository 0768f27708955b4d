//! The key of an object within one resource: its namespace and name.
//!
//! Short keys are stored inline, longer ones share an allocation. A cache holds one key per object and a lookup
//! compares many of them, so following a pointer for each would be slow.

use std::{borrow::Borrow, fmt, ops::Bound, str::FromStr};

use imbl::OrdMap;
use kube::Resource;
use serde::{Serialize, Serializer};
use smol_str::SmolStr;

/// Separates namespace and name. It sorts before every character that either may contain, so ordering by the text is
/// ordering by (namespace, name).
const DIVIDER: char = '\0';

/// The namespace and name of an object, ordered by namespace and then by name.
///
/// Cloning allocates nothing; at most it increments a reference count. As text, and serialized, it is `namespace/name`,
/// or `name` without a namespace, as client-go's `MetaNamespaceKeyFunc` writes it:
///
/// ```
/// use kube_informer::ObjectKey;
///
/// let key: ObjectKey = "default/web".parse()?;
/// assert_eq!(key, ObjectKey::new("default", "web"));
/// assert_eq!(key.to_string(), "default/web");
/// # Ok::<(), kube_informer::InvalidObjectKey>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(SmolStr);

impl ObjectKey {
    /// Returns the key of the object `name`, in `namespace` or, for a cluster-scoped resource, without one.
    pub fn new<'a>(namespace: impl Into<Option<&'a str>>, name: &str) -> Self {
        with_text(namespace.into(), name, |text| Self(text.into()))
    }

    /// Returns the namespace, or `None` for an object of a cluster-scoped resource.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.split().0
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (Option<&str>, &str) {
        match self.0.split_once(DIVIDER) {
            Some(("", name)) => (None, name),
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, &self.0),
        }
    }
}

/// Calls `give` with the text of a key, which maps are ordered by and searched for. The text is built on the stack: a
/// namespace has at most 63 bytes and a name at most 253.
pub(crate) fn with_text<T>(namespace: Option<&str>, name: &str, give: impl FnOnce(&str) -> T) -> T {
    let mut buffer = [0; 63 + DIVIDER.len_utf8() + 253];
    let namespace = namespace.unwrap_or_default();
    let (start, end) =
        (namespace.len() + DIVIDER.len_utf8(), namespace.len() + DIVIDER.len_utf8() + name.len());
    if let Some(text) = buffer.get_mut(..end) {
        text[..namespace.len()].copy_from_slice(namespace.as_bytes());
        DIVIDER.encode_utf8(&mut text[namespace.len()..start]);
        text[start..].copy_from_slice(name.as_bytes());
        if let Ok(text) = str::from_utf8(text) {
            return give(text);
        }
    }
    give(&format!("{namespace}{DIVIDER}{name}"))
}

/// Iterates over the entries of a namespace, ordered by name. `None` stands for all namespaces.
pub(crate) fn of_namespace<'a, V>(
    map: &'a OrdMap<ObjectKey, V>,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = (&'a ObjectKey, &'a V)> {
    with_text(namespace, "", |start| map.range::<_, str>((Bound::Included(start), Bound::Unbounded)))
        .take_while(move |(key, _)| namespace.is_none() || key.namespace() == namespace)
}

/// A text is not an [`ObjectKey`]: it is not `name` or `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the key of an object: expected a name, or a namespace and a name with a slash between them"
)]
pub struct InvalidObjectKey(String);

impl FromStr for ObjectKey {
    type Err = InvalidObjectKey;

    fn from_str(text: &str) -> Result<Self, InvalidObjectKey> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let is_valid = |part: &str| !part.is_empty() && !part.contains(['/', DIVIDER]);
        if is_valid(name) && namespace.is_none_or(is_valid) {
            Ok(Self::new(namespace, name))
        } else {
            Err(InvalidObjectKey(text.to_owned()))
        }
    }
}

/// The key of an object. Without a name, as before it was created, the name is empty.
impl<K: Resource> From<&K> for ObjectKey {
    fn from(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "runtime")]
impl<K: kube::runtime::reflector::Lookup> From<kube::runtime::reflector::ObjectRef<K>> for ObjectKey {
    fn from(reference: kube::runtime::reflector::ObjectRef<K>) -> Self {
        Self::new(reference.namespace.as_deref(), &reference.name)
    }
}

#[cfg(feature = "runtime")]
impl ObjectKey {
    /// Returns kube's reference to the object of type `K` that has this key.
    #[must_use]
    pub fn to_object_ref<K: kube::runtime::reflector::Lookup>(
        &self,
        dynamic_type: K::DynamicType,
    ) -> kube::runtime::reflector::ObjectRef<K> {
        let reference = kube::runtime::reflector::ObjectRef::new_with(self.name(), dynamic_type);
        match self.namespace() {
            Some(namespace) => reference.within(namespace),
            None => reference,
        }
    }
}

impl Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    /// Formats as `namespace/name`, or as `name` if there is no namespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.split() {
            (Some(namespace), name) => write!(f, "{namespace}/{name}"),
            (None, name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_without_namespace_is_its_name() {
        let key = ObjectKey::new(None, "node-1");
        assert_eq!((key.namespace(), key.name(), key.to_string().as_str()), (None, "node-1", "node-1"));
    }

    #[test]
    fn text_is_a_key_or_is_refused() {
        for text in ["node-1", "default/web"] {
            let key: ObjectKey = text.parse().unwrap();
            assert_eq!((key.to_string(), serde_json::json!(key)), (text.to_owned(), serde_json::json!(text)));
        }
        for text in ["", "/", "/web", "default/", "a/b/c", "a\0b"] {
            assert!(text.parse::<ObjectKey>().is_err(), "{text:?}");
        }
    }

    #[cfg(feature = "runtime")]
    #[test]
    fn a_key_and_an_object_ref_are_the_same() {
        use k8s_openapi::api::core::v1::{ConfigMap, Node};
        let (named, node) = (ObjectKey::new("default", "web"), ObjectKey::new(None, "node-1"));
        assert_eq!(ObjectKey::from(named.to_object_ref::<ConfigMap>(())), named);
        assert_eq!(ObjectKey::from(node.to_object_ref::<Node>(())), node);
        let object = ConfigMap {
            metadata: kube::api::ObjectMeta {
                name: Some("web".into()),
                namespace: Some("default".into()),
                ..Default::default()
            },
            ..Default::default()
        };
        assert_eq!(ObjectKey::from(&object), named);
    }

    proptest! {
        #[test]
        fn sorts_by_namespace_then_name(
            a in ("[a-c-]{1,3}", "[a-c.-]{1,3}"),
            b in ("[a-c-]{1,3}", "[a-c.-]{1,3}"),
        ) {
            let (x, y) = (ObjectKey::new(a.0.as_str(), &a.1), ObjectKey::new(b.0.as_str(), &b.1));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!((x.namespace(), x.name()), (Some(a.0.as_str()), a.1.as_str()));
        }
    }
}
