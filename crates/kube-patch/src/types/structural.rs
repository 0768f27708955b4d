//! Types of custom resources, as `k8s.io/kube-openapi/pkg/schemaconv` converts the schema of a CRD.

use std::collections::BTreeMap;

use serde_json::Value;

use super::node::{ListType, MapType, Node, OBJECT_META, OwnedRelation, PatchStrategy, Scalar};

/// Returns the type of whole objects, which have `apiVersion`, `kind` and `metadata` regardless of the schema.
pub(super) fn root(schema: &Value) -> Node {
    node(schema, false, true)
}

/// `preserve`: whether a schema above keeps unknown fields.
fn node(schema: &Value, preserve: bool, is_resource: bool) -> Node {
    let preserve = preserve || schema["x-kubernetes-preserve-unknown-fields"] == true;
    let scalar = Node::Scalar;
    match schema["type"].as_str() {
        Some("object") => Node::Map(map(schema, preserve, is_resource)),
        Some("array") => Node::List(Box::new(list(schema, preserve))),
        Some("boolean") => scalar(Scalar::Boolean),
        Some("integer" | "number") => scalar(Scalar::Number),
        Some("string") => match schema["format"].as_str() {
            None | Some("" | "byte") => scalar(Scalar::String),
            Some(_) => scalar(Scalar::Any),
        },
        _ => Node::Any(Box::new((list(schema, preserve), map(schema, preserve, is_resource)))),
    }
}

fn nested(schema: &Value, preserve: bool) -> Node {
    node(schema, preserve, schema["x-kubernetes-embedded-resource"] == true)
}

fn map(schema: &Value, preserve: bool, is_resource: bool) -> MapType {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut fields: BTreeMap<String, Node> = BTreeMap::new();
    let mut defaults = BTreeMap::new();
    for (name, property) in properties {
        fields.insert(name.clone(), nested(property, preserve));
        if !property["default"].is_null() {
            defaults.insert(name.clone(), property["default"].clone());
        }
    }
    let values = match &schema["additionalProperties"] {
        Value::Bool(true) => Some(Node::Deduced),
        Value::Bool(false) => None,
        Value::Null if preserve || (fields.is_empty() && !is_resource) => Some(Node::Deduced),
        Value::Null => None,
        values => Some(nested(values, preserve)),
    };
    if is_resource {
        fields.insert("apiVersion".to_owned(), Node::Scalar(Scalar::String));
        fields.insert("kind".to_owned(), Node::Scalar(Scalar::String));
        fields.insert("metadata".to_owned(), Node::reference(OBJECT_META));
    }
    MapType {
        atomic: schema["x-kubernetes-map-type"] == "atomic",
        fields,
        values: values.map(Box::new),
        defaults,
        zero: BTreeMap::new(),
    }
}

fn list(schema: &Value, preserve: bool) -> ListType {
    let keys = || {
        let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
        keys.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    ListType {
        items: match &schema["items"] {
            Value::Null => Node::Atomic,
            items => nested(items, preserve),
        },
        relation: match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => OwnedRelation::Set,
            Some("map") => OwnedRelation::Map(keys()),
            _ => OwnedRelation::Atomic,
        },
        patch: PatchStrategy::default(),
        merge_key: None,
    }
}
