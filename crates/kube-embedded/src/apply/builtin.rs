//! The types of built-in kinds: how their fields merge, both in server-side apply and in strategic merge patches.
//!
//! `builtin.json` is cut by `builtin.jq` from kube-apiserver's OpenAPI document, 1.37's now. To write it again:
//! `kubectl get --raw /openapi/v2 | jq -S -r -f builtin.jq >builtin.json`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use super::types::Relation;

/// The fields of a struct.
pub(crate) type Fields = BTreeMap<String, Field>;

/// The type of a field.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Field {
    /// One without parts of its own.
    Simple(Simple),
    /// A struct of the document.
    Ref {
        /// Its name.
        r#ref: String,
        /// `x-kubernetes-map-type`, where the field has its own.
        atomic: Option<bool>,
        /// `x-kubernetes-patch-strategy`
        #[serde(default)]
        patch: String,
    },
    /// A list.
    List(List),
    /// A struct.
    Struct {
        /// By name.
        fields: Fields,
        /// `x-kubernetes-map-type: atomic`
        #[serde(default)]
        atomic: bool,
    },
    /// A map from strings.
    Map {
        /// The type of its values.
        map: Box<Field>,
        /// `x-kubernetes-map-type: atomic`
        #[serde(default)]
        atomic: bool,
    },
}

/// A type without parts that are known.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Simple {
    /// Anything: its maps merge by key.
    Any,
    /// Anything, as one.
    Atomic,
    Boolean,
    Number,
    /// Any scalar: a time, a quantity, an integer or a string.
    Scalar,
    String,
}

/// A list.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    /// The type of its items.
    pub(crate) list: Box<Field>,
    /// `x-kubernetes-list-type`
    list_type: Option<String>,
    /// `x-kubernetes-list-map-keys`
    #[serde(default)]
    keys: Vec<String>,
    /// `x-kubernetes-patch-strategy`
    #[serde(default)]
    pub(crate) patch: String,
    /// `x-kubernetes-patch-merge-key`: one, or none.
    #[serde(default, deserialize_with = "one")]
    merge_key: Vec<String>,
}

impl List {
    /// How its items merge in an apply: as the list type says, else as the patch strategy does.
    pub(super) fn relation(&self) -> Relation<'_> {
        match self.list_type.as_deref() {
            Some("map") => Relation::Map(&self.keys),
            Some("set") => Relation::Set,
            None if self.patch.starts_with("merge") && self.merge_key.is_empty() => Relation::Set,
            None if self.patch.starts_with("merge") => Relation::Map(&self.merge_key),
            _ => Relation::Atomic,
        }
    }

    /// The field by which a strategic merge patch knows an item.
    pub(crate) fn merge_key(&self) -> Option<&str> {
        self.merge_key.first().map(String::as_str)
    }
}

#[derive(Deserialize)]
struct Document {
    kinds: HashMap<String, String>,
    types: HashMap<String, Field>,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    // A test reads it: what is committed parses.
    serde_json::from_str(include_str!("builtin.json"))
        .unwrap_or_else(|_| Document { kinds: HashMap::new(), types: HashMap::new() })
});

static ANYTHING: Field = Field::Simple(Simple::Any);

/// The type of a built-in kind.
pub(crate) fn kind(api_version: &str, kind: &str) -> Option<&'static Field> {
    named(DOCUMENT.kinds.get(&format!("{api_version}/{kind}"))?)
}

/// A type by its name in the document.
pub(crate) fn named(name: &str) -> Option<&'static Field> {
    DOCUMENT.types.get(name)
}

/// apimachinery's ObjectMeta.
pub(super) fn object_meta() -> &'static Field {
    named("apis.meta.v1.ObjectMeta").unwrap_or(&ANYTHING)
}

fn one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(vec![String::deserialize(deserializer)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_whole() {
        assert!(kind("v1", "Pod").is_some() && kind("apps/v1", "Deployment").is_some());
        assert!(kind("apiextensions.k8s.io/v1", "CustomResourceDefinition").is_some());
        assert!(kind("example.com/v1", "Pod").is_none());
        assert!(matches!(object_meta(), Field::Struct { .. }));
        for name in DOCUMENT.kinds.values() {
            assert!(named(name).is_some(), "{name}");
        }
        let mut fields: Vec<_> = DOCUMENT.types.values().collect();
        while let Some(field) = fields.pop() {
            match field {
                Field::Simple(_) => {}
                Field::Ref { r#ref, .. } => {
                    let target = named(r#ref).unwrap_or_else(|| panic!("{}", r#ref));
                    assert!(!matches!(target, Field::Ref { .. }), "{}", r#ref);
                }
                Field::List(list) => fields.push(&list.list),
                Field::Struct { fields: more, .. } => fields.extend(more.values()),
                Field::Map { map, .. } => fields.push(map),
            }
        }
    }
}
