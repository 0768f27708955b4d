//! Types of built-in kinds, from the schemas that kube-apiserver publishes for its Go structs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::node::{ListType, MapType, Named, Node, OwnedRelation, PatchStrategy, Scalar, TypeSet};

/// Returns the types that the schemas of a document describe.
pub(super) fn types<'a>(schemas: impl IntoIterator<Item = (&'a String, &'a Value)>) -> TypeSet {
    let types = schemas.into_iter().map(|(name, schema)| {
        (name.clone().into(), Named { node: Box::new(node(schema)).into(), schema: "" })
    });
    TypeSet { types: types.collect() }
}

/// As [`types`], from the texts of the schemas.
pub(super) fn on_demand(schemas: impl IntoIterator<Item = (&'static str, &'static str)>) -> TypeSet {
    let types = schemas
        .into_iter()
        .map(|(name, schema)| (Cow::Borrowed(name), Named { node: OnceLock::new(), schema }));
    TypeSet { types: types.collect() }
}

impl Named {
    pub(super) fn node(&self) -> &Node {
        self.node.get_or_init(|| {
            let schema = serde_json::from_str(self.schema);
            Box::new(schema.map_or(Node::Deduced, |schema| node(&schema)))
        })
    }
}

/// Returns the type that a schema describes.
fn node(schema: &Value) -> Node {
    let text = |key: &str| schema[key].as_str();
    let map_type = text("x-kubernetes-map-type").map(|it| it == "atomic");
    let patch = PatchStrategy::parse(text("x-kubernetes-patch-strategy").unwrap_or_default());
    if let Some(name) = reference(schema) {
        return match name.trim_start_matches("io.k8s.apimachinery.pkg.") {
            "api.resource.Quantity" | "apis.meta.v1.MicroTime" | "apis.meta.v1.Time" => {
                Node::Scalar(Scalar::Any)
            }
            "runtime.RawExtension" => Node::Atomic,
            _ => Node::Reference {
                name: name.to_owned(),
                atomic: map_type,
                patch,
                embedded: schema["default"].as_object().is_some_and(Map::is_empty),
            },
        };
    }
    if text("type") == Some("array") {
        return Node::List(Box::new(list(schema, patch)));
    }
    if let Some(properties) = schema["properties"].as_object() {
        return Node::Map(structure(schema, properties, map_type == Some(true)));
    }
    if schema["additionalProperties"].is_object() {
        return Node::Map(MapType {
            atomic: map_type == Some(true),
            values: Some(Box::new(node(&schema["additionalProperties"]))),
            ..MapType::default()
        });
    }
    match (text("type"), text("format").unwrap_or_default()) {
        (None | Some("object"), _) => Node::Deduced,
        (Some("integer" | "number"), _) => Node::Scalar(Scalar::Number),
        (Some("boolean"), _) => Node::Scalar(Scalar::Boolean),
        (Some("string"), "" | "byte") => Node::Scalar(Scalar::String),
        _ => Node::Scalar(Scalar::Any),
    }
}

/// Returns the name that a schema refers to, directly or in an `allOf` next to a default.
fn reference(schema: &Value) -> Option<&str> {
    let target = schema["$ref"].as_str().or_else(|| match schema["allOf"].as_array()?.as_slice() {
        [only] => only["$ref"].as_str(),
        _ => None,
    })?;
    let prefixes = ["#/components/schemas/", "#/definitions/"];
    Some(prefixes.iter().find_map(|prefix| target.strip_prefix(prefix)).unwrap_or(target))
}

/// Reads a list. In an apply it merges according to its list type, or else according to its patch strategy.
fn list(schema: &Value, patch: PatchStrategy) -> ListType {
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    };
    let merge_keys = texts(&schema["x-kubernetes-patch-merge-key"]);
    let relation = match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => OwnedRelation::Map(texts(&schema["x-kubernetes-list-map-keys"])),
        Some("set") => OwnedRelation::Set,
        None if patch.merge && merge_keys.is_empty() => OwnedRelation::Set,
        None if patch.merge => OwnedRelation::Map(merge_keys.clone()),
        _ => OwnedRelation::Atomic,
    };
    ListType {
        relation,
        patch,
        merge_key: merge_keys.into_iter().next(),
        ..ListType::atomic(node(&schema["items"]))
    }
}

fn structure(schema: &Value, properties: &Map<String, Value>, atomic: bool) -> MapType {
    let mut zero = BTreeMap::new();
    let mut defaults = BTreeMap::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if properties.get(name).is_some_and(|property| property["type"] == "array") {
            zero.insert(name.to_owned(), Value::Null);
        }
    }
    for (name, property) in properties {
        match &property["default"] {
            Value::String(text) if !text.is_empty() => {
                defaults.insert(name.clone(), text.clone().into());
            }
            default if *default == "" || *default == 0 || *default == false => {
                zero.insert(name.clone(), default.clone());
            }
            _ => {}
        }
    }
    let fields = properties.iter().map(|(name, property)| (name.clone(), node(property)));
    MapType { atomic, fields: fields.collect(), values: None, defaults, zero }
}
