//! The types of built-in kinds: how their fields merge, both in server-side apply and in strategic merge patches.
//!
//! `builtin.json` is cut by `builtin.jq` from the OpenAPI documents in kubernetes' repository, 1.37.2's now. To write it again:
//! `jq -s -S -r -f builtin.jq kubernetes/api/openapi-spec/v3/*.json >builtin.json`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

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
        /// The field is a struct in Go, and no pointer to one: it is always there.
        #[serde(default)]
        embedded: bool,
    },
    /// A list.
    List(List),
    /// A struct.
    Struct(Struct),
    /// A map from strings.
    Map {
        /// The type of its values.
        map: Box<Field>,
        /// `x-kubernetes-map-type: atomic`
        #[serde(default)]
        atomic: bool,
    },
}

/// A struct.
#[derive(Debug, Deserialize)]
pub(crate) struct Struct {
    /// By name.
    pub(crate) fields: Fields,
    /// `x-kubernetes-map-type: atomic`
    #[serde(default)]
    pub(super) atomic: bool,
    /// What is always there: lists, null at first, and scalars that Go never leaves out.
    #[serde(default)]
    zero: BTreeMap<String, Value>,
    /// What strings are when they are left out.
    #[serde(default)]
    pub(super) defaults: BTreeMap<String, String>,
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

/// A value of a type before anything is written to it: what Go has there already is nobody's when it is written.
pub(super) fn zero(field: &Field) -> Value {
    match field {
        Field::Ref { r#ref, .. } => named(r#ref).map_or(Value::Null, zero),
        Field::Struct(kind) => {
            let embedded =
                kind.fields.iter().filter(|(_, field)| matches!(field, Field::Ref { embedded: true, .. }));
            let embedded = embedded.map(|(name, field)| (name.clone(), zero(field)));
            let always = kind.zero.iter().map(|(name, value)| (name.clone(), value.clone()));
            Value::Object(embedded.chain(always).collect())
        }
        _ => Value::Null,
    }
}

/// An object as Go has it decoded: its structs are there, and a null is what is not.
pub(super) fn decoded(field: &Field, object: &Value) -> Value {
    let (Field::Struct(kind), Value::Object(members)) = (field, object) else {
        return object.clone();
    };
    let mut members = members.clone();
    members.retain(|_, value| !value.is_null());
    for (name, field) in
        kind.fields.iter().filter(|(_, field)| matches!(field, Field::Ref { embedded: true, .. }))
    {
        if !members.contains_key(name) {
            members.insert(name.clone(), zero(field));
        }
    }
    Value::Object(members)
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
        assert!(matches!(object_meta(), Field::Struct(_)));
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
                Field::Struct(kind) => fields.extend(kind.fields.values()),
                Field::Map { map, .. } => fields.push(map),
            }
        }
    }
}
