//! The types of built-in kinds: how their fields merge, both in server-side apply and in strategic merge patches.
//!
//! They are cut from the schemas in [`crate::builtin::schemas`].

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::types::Relation;
use crate::builtin::schemas;

/// The fields of a struct.
pub(crate) type Fields = BTreeMap<&'static str, Field>;

/// The type of a field.
#[derive(Debug)]
pub(crate) enum Field {
    /// One without parts of its own.
    Simple(Simple),
    /// A struct that has a name.
    Ref {
        /// Its name.
        name: &'static str,
        /// `x-kubernetes-map-type`, where the field has its own.
        atomic: Option<bool>,
        /// `x-kubernetes-patch-strategy`
        patch: &'static str,
        /// The field is a struct in Go, and no pointer to one: it is always there.
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
        atomic: bool,
    },
}

/// A struct.
#[derive(Debug)]
pub(crate) struct Struct {
    /// By name.
    pub(crate) fields: Fields,
    /// `x-kubernetes-map-type: atomic`
    pub(super) atomic: bool,
    /// What is always there: lists, null at first, and scalars that Go never leaves out.
    zero: BTreeMap<&'static str, Value>,
    /// What strings are when they are left out.
    pub(super) defaults: BTreeMap<&'static str, &'static str>,
}

/// A type without parts that are known.
#[derive(Clone, Copy, Debug)]
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
#[derive(Debug)]
pub(crate) struct List {
    /// The type of its items.
    pub(crate) list: Box<Field>,
    /// `x-kubernetes-list-type`
    list_type: Option<&'static str>,
    /// `x-kubernetes-list-map-keys`
    keys: Vec<String>,
    /// `x-kubernetes-patch-strategy`
    pub(crate) patch: &'static str,
    /// `x-kubernetes-patch-merge-key`: one, or none.
    merge_key: Vec<String>,
}

impl List {
    /// How its items merge in an apply: as the list type says, else as the patch strategy does.
    pub(super) fn relation(&self) -> Relation<'_> {
        match self.list_type {
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

static TYPES: LazyLock<HashMap<&str, Field>> =
    LazyLock::new(|| schemas::all().iter().map(|(name, schema)| (name.as_str(), field(schema))).collect());

static ANYTHING: Field = Field::Simple(Simple::Any);

/// The type of a built-in kind.
pub(crate) fn kind(api_version: &str, kind: &str) -> Option<&'static Field> {
    named(schemas::name(api_version, kind)?)
}

/// A type by the name of its schema.
pub(crate) fn named(name: &str) -> Option<&'static Field> {
    TYPES.get(name)
}

/// A value of a type before anything is written to it: what Go has there already is nobody's when it is written.
pub(super) fn zero(field: &Field) -> Value {
    match field {
        Field::Ref { name, .. } => named(name).map_or(Value::Null, zero),
        Field::Struct(kind) => {
            let embedded =
                kind.fields.iter().filter(|(_, field)| matches!(field, Field::Ref { embedded: true, .. }));
            let embedded = embedded.map(|(name, field)| ((*name).to_owned(), zero(field)));
            let always = kind.zero.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
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
        if !members.contains_key(*name) {
            members.insert((*name).to_owned(), zero(field));
        }
    }
    Value::Object(members)
}

/// apimachinery's ObjectMeta.
pub(super) fn object_meta() -> &'static Field {
    named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap_or(&ANYTHING)
}

/// How what a schema describes merges.
fn field(schema: &'static Value) -> Field {
    let text = |key: &str| schema[key].as_str();
    let map_type = text("x-kubernetes-map-type").map(|it| it == "atomic");
    let patch = text("x-kubernetes-patch-strategy").unwrap_or_default();
    if let Some(name) = text("$ref") {
        return match name.trim_start_matches("io.k8s.apimachinery.pkg.") {
            "api.resource.Quantity" | "apis.meta.v1.MicroTime" | "apis.meta.v1.Time" => {
                Field::Simple(Simple::Scalar)
            }
            "runtime.RawExtension" => Field::Simple(Simple::Atomic),
            _ => Field::Ref {
                name,
                atomic: map_type,
                patch,
                embedded: schema["default"].as_object().is_some_and(Map::is_empty),
            },
        };
    }
    if text("type") == Some("array") {
        let list_type = text("x-kubernetes-list-type").filter(|it| *it != "atomic" || !patch.is_empty());
        let texts = |value: &Value| match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::String(text) => vec![text.clone()],
            _ => Vec::new(),
        };
        return Field::List(List {
            list: Box::new(field(&schema["items"])),
            list_type,
            keys: texts(&schema["x-kubernetes-list-map-keys"]),
            patch,
            merge_key: texts(&schema["x-kubernetes-patch-merge-key"]),
        });
    }
    if let Some(properties) = schema["properties"].as_object() {
        return Field::Struct(structure(schema, properties, map_type == Some(true)));
    }
    if schema["additionalProperties"].is_object() {
        let map = Box::new(field(&schema["additionalProperties"]));
        return Field::Map { map, atomic: map_type == Some(true) };
    }
    Field::Simple(match (text("type"), text("format").unwrap_or_default()) {
        (None | Some("object"), _) => Simple::Any,
        (Some("integer" | "number"), _) => Simple::Number,
        (Some("boolean"), _) => Simple::Boolean,
        (Some("string"), "" | "byte") => Simple::String,
        _ => Simple::Scalar,
    })
}

fn structure(schema: &'static Value, properties: &'static Map<String, Value>, atomic: bool) -> Struct {
    let mut zero = BTreeMap::new();
    let mut defaults = BTreeMap::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if properties.get(name).is_some_and(|property| property["type"] == "array") {
            zero.insert(name, Value::Null);
        }
    }
    for (name, property) in properties {
        match &property["default"] {
            Value::String(text) if !text.is_empty() => _ = defaults.insert(name.as_str(), text.as_str()),
            default if *default == "" || *default == 0 || *default == false => {
                zero.insert(name, default.clone());
            }
            _ => {}
        }
    }
    let fields = properties.iter().map(|(name, property)| (name.as_str(), field(property)));
    Struct { fields: fields.collect(), atomic, zero, defaults }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_are_whole() {
        assert!(kind("v1", "Pod").is_some() && kind("apps/v1", "Deployment").is_some());
        assert!(kind("apiextensions.k8s.io/v1", "CustomResourceDefinition").is_some());
        assert!(kind("example.com/v1", "Pod").is_none());
        assert!(matches!(object_meta(), Field::Struct(_)));
        let mut fields: Vec<_> = TYPES.values().collect();
        while let Some(field) = fields.pop() {
            match field {
                Field::Simple(_) => {}
                Field::Ref { name, .. } => {
                    let target = named(name).unwrap_or_else(|| panic!("{name}"));
                    assert!(!matches!(target, Field::Ref { .. }), "{name}");
                }
                Field::List(list) => fields.push(&list.list),
                Field::Struct(kind) => fields.extend(kind.fields.values()),
                Field::Map { map, .. } => fields.push(map),
            }
        }
    }
}
