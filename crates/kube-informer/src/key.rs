//! The key of an object within one resource: its namespace and its name, in one shared allocation.

use std::{borrow::Borrow, fmt, sync::Arc};

/// What divides namespace and name. It sorts before every character that either may have, so that the order of
/// the text is the order of (namespace, name).
const DIVIDER: char = '\0';

/// Namespace and name of an object, ordered by namespace and then by name. Cloning costs a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// The key of the object `name`, in `namespace` or without one.
    pub fn new<'a>(namespace: impl Into<Option<&'a str>>, name: &str) -> Self {
        Self(key_text(namespace.into(), name).into())
    }

    /// The namespace; none for an object of a cluster-scoped resource.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.split().0
    }

    /// The name.
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

/// The text that a key is ordered and found by.
pub(crate) fn key_text(namespace: Option<&str>, name: &str) -> String {
    let namespace = namespace.unwrap_or_default();
    let mut text = String::with_capacity(namespace.len() + DIVIDER.len_utf8() + name.len());
    text.push_str(namespace);
    text.push(DIVIDER);
    text.push_str(name);
    text
}

impl Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    /// `namespace/name`, or the name alone.
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
