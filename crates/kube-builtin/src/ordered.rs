//! The order of the fields in the JSON of the built-in kinds: that of their Go structs.

use std::iter;
use std::sync::{LazyLock, OnceLock};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::messages::{Field, FieldType, Messages, Shape};

/// A value whose fields are in the order in which kube-apiserver writes them. An object of a built-in kind has them as its Go
/// struct does, everything else by name.
///
/// It costs no copy: the order is looked up while the value is serialised.
#[derive(Clone, Copy, Debug)]
pub struct Ordered<'a> {
    value: &'a Value,
    order: Order,
}

/// The order of the members of an object, or of those of a list's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    ByName,
    /// Of the struct with this index.
    Struct(usize),
    /// By name, with structs as values.
    Map(usize),
    /// An object of any kind in a field: as its own kind says.
    OfKind,
}

/// The structs of the built-in kinds.
///
/// Each is made when it is first used. The index of a message is that of its struct; then come those of the lists of messages, and
/// [`TABLE`].
#[derive(Debug)]
struct Structs {
    messages: &'static Messages,
    /// Their fields, by name.
    fields: Vec<OnceLock<Vec<Member>>>,
}

/// A field of a struct in JSON.
#[derive(Clone, Debug)]
struct Member {
    name: &'static str,
    /// Its place among the others.
    place: usize,
    order: Order,
}

/// The version of the kinds that belong to all API groups, such as `Status`. They are also used as `v1`.
const META: &str = "meta.k8s.io/v1";

/// The structs of a `Table`, which is not among the messages because it has no protobuf. The last is that of the kind.
const TABLE: [&[(&str, &str)]; 3] = [
    &[("name", ""), ("type", ""), ("format", ""), ("description", ""), ("priority", "")],
    &[("cells", ""), ("conditions", ""), ("object", "object")],
    &[("metadata", "metadata"), ("columnDefinitions", "column"), ("rows", "row")],
];

impl<'a> Ordered<'a> {
    /// Orders an object by its `apiVersion` and `kind`.
    pub fn of(value: &'a Value) -> Self {
        Self { value, order: Structs::get().find(value).map_or(Order::ByName, Order::Struct) }
    }

    /// Returns the value, whose own order is by name.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Returns the members of an object in their order. Fields that its struct does not have are the last.
    pub fn members(&self) -> Vec<(&'a str, Self)> {
        let Some(object) = self.value.as_object() else { return Vec::new() };
        let members = object.iter();
        match self.order {
            Order::Struct(index) => {
                let fields = Structs::get().fields(index);
                let mut placed: Vec<_> = members
                    .map(|(name, value)| match find(fields, name) {
                        Some(field) => {
                            (field.place, name.as_str(), Self { value, order: field.order.of(value) })
                        }
                        None => (usize::MAX, name.as_str(), Self { value, order: Order::ByName }),
                    })
                    .collect();
                placed.sort_by_key(|(place, ..)| *place);
                placed.into_iter().map(|(_, name, member)| (name, member)).collect()
            }
            Order::Map(index) => {
                let order = Order::Struct(index);
                members.map(|(name, value)| (name.as_str(), Self { value, order })).collect()
            }
            Order::ByName | Order::OfKind => {
                members.map(|(name, value)| (name.as_str(), Self { value, order: Order::ByName })).collect()
            }
        }
    }

    /// Returns the items of a list.
    pub fn items(&self) -> impl Iterator<Item = Self> {
        let order = self.order;
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().map(move |value| Self { value, order: order.of(value) })
    }

    /// Whether a member of an object is before another, also if the object does not have them.
    pub fn precedes(&self, name: &str, other: &str) -> bool {
        let place = |name| match self.order {
            Order::Struct(index) => {
                find(Structs::get().fields(index), name).map_or(usize::MAX, |field| field.place)
            }
            _ => 0,
        };
        (place(name), name) < (place(other), other)
    }
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            value if self.order == Order::ByName => value.serialize(serializer),
            Value::Array(_) => serializer.collect_seq(self.items()),
            Value::Object(_) => serializer.collect_map(self.members()),
            scalar => scalar.serialize(serializer),
        }
    }
}

impl Order {
    /// The order of a value in a field.
    fn of(self, value: &Value) -> Self {
        match (self, value) {
            (Self::OfKind, Value::Object(_)) => Ordered::of(value).order,
            (order, _) => order,
        }
    }

    /// The order of the values in a field.
    fn of_field(field: &Field, schema: Option<usize>) -> Self {
        let structs = if field.shape == Shape::Map { Self::Map } else { Self::Struct };
        match field.r#type {
            FieldType::Message(index) => structs(index),
            // Either a schema, or something without fields.
            FieldType::SchemaOrArray | FieldType::SchemaOrBool | FieldType::SchemaOrStrings => {
                schema.map_or(Self::ByName, structs)
            }
            FieldType::Json => Self::OfKind,
            _ => Self::ByName,
        }
    }
}

impl Structs {
    fn get() -> &'static Self {
        static STRUCTS: LazyLock<Structs> = LazyLock::new(|| {
            let messages = Messages::get();
            let count = 2 * messages.len() + TABLE.len();
            Structs { messages, fields: iter::repeat_with(OnceLock::new).take(count).collect() }
        });
        &STRUCTS
    }

    /// The struct of an object's kind.
    fn find(&self, object: &Value) -> Option<usize> {
        let kind = object.get("kind")?.as_str()?;
        // The kinds of early documents have no version.
        let api_version = object.get("apiVersion").map_or(Some("v1"), Value::as_str)?;
        match api_version {
            "v1" => self.of_kind("v1", kind).or_else(|| self.of_kind(META, kind)),
            "meta.k8s.io/v1beta1" => self.of_kind(META, kind),
            other => self.of_kind(other, kind),
        }
    }

    fn of_kind(&self, api_version: &str, kind: &str) -> Option<usize> {
        let messages = self.messages;
        if (api_version, kind) == (META, "Table") {
            return Some(2 * messages.len() + TABLE.len() - 1);
        }
        messages.index(api_version, kind).or_else(|| {
            let item = messages.index(api_version, kind.strip_suffix("List")?)?;
            has_metadata(messages, item).then_some(messages.len() + item)
        })
    }

    fn fields(&self, index: usize) -> &[Member] {
        let Some(fields) = self.fields.get(index) else { return &[] };
        fields.get_or_init(|| {
            let mut members = Vec::new();
            if let Some(message) = self.messages.at(index) {
                let schema = self.messages.index("apiextensions.k8s.io/v1", "JSONSchemaProps");
                flatten(self.messages, &message.fields, schema, &mut members);
            } else {
                let count = self.messages.len();
                let metadata = self.messages.index(META, "ListMeta").map_or(Order::ByName, Order::Struct);
                match TABLE.get(index.wrapping_sub(2 * count)) {
                    None => {
                        members.extend([("metadata", metadata), ("items", Order::Struct(index - count))]);
                    }
                    Some(table) => members.extend(table.iter().map(|(name, kind)| {
                        let order = match *kind {
                            "object" => Order::OfKind,
                            "metadata" => metadata,
                            "column" => Order::Struct(2 * count),
                            "row" => Order::Struct(2 * count + 1),
                            _ => Order::ByName,
                        };
                        (*name, order)
                    })),
                }
            }
            by_name(&members)
        })
    }
}

/// Whether a message is that of an object.
fn has_metadata(messages: &Messages, index: usize) -> bool {
    let object = messages.index(META, "ObjectMeta").map(FieldType::Message);
    let fields = messages.at(index).map_or(&[][..], |message| &message.fields);
    fields.iter().any(|field| Some(field.r#type) == object)
}

/// Adds the fields of a struct in Go's order, with those of embedded structs in their place.
fn flatten(
    messages: &'static Messages,
    fields: &'static [Field],
    schema: Option<usize>,
    members: &mut Vec<(&'static str, Order)>,
) {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|field| field.place);
    for field in fields {
        match (field.json, field.r#type) {
            (Some(name), _) => members.push((name, Order::of_field(field, schema))),
            (None, FieldType::Message(index)) => {
                if let Some(embedded) = messages.at(index) {
                    flatten(messages, &embedded.fields, schema, members);
                }
            }
            (None, _) => {}
        }
    }
}

/// The fields of a struct, given in their order. `kind` and `apiVersion` are the first of those structs in which messages do
/// not have them: they are embedded there.
fn by_name(members: &[(&'static str, Order)]) -> Vec<Member> {
    let has = |name: &str| members.iter().any(|(it, _)| *it == name);
    let embedded = ["kind", "apiVersion"].into_iter().filter(|name| !has(name));
    let all = embedded.map(|name| (name, Order::ByName)).chain(members.iter().copied()).enumerate();
    let mut all: Vec<_> = all.map(|(place, (name, order))| Member { name, place, order }).collect();
    all.sort_by_key(|member| member.name);
    all
}

fn find<'a>(fields: &'a [Member], name: &str) -> Option<&'a Member> {
    let place = fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
    fields.get(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        serde_json::to_string(&Ordered::of(value)).unwrap()
    }

    #[test]
    fn fields_of_built_in_kinds_are_as_in_go() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"annotations": {"b": "1", "a": "2"}, "name": "p", "uid": "u", "managedFields": [{
                "fieldsV1": {"f:b": {}, "f:a": {}}, "manager": "m",
            }]},
            "spec": {
                "unknown": 1, "nodeName": "n", "initContainers": [], "volumes": [{"emptyDir": {}, "name": "v"}],
                "containers": [{"readinessProbe": {"periodSeconds": 1, "exec": {}}, "image": "i", "name": "c"}],
            },
            "status": {},
        });
        let expected = concat!(
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","uid":"u","annotations":{"a":"2","b":"1"},"#,
            r#""managedFields":[{"manager":"m","fieldsV1":{"f:a":{},"f:b":{}}}]},"#,
            r#""spec":{"volumes":[{"name":"v","emptyDir":{}}],"initContainers":[],"#,
            r#""containers":[{"name":"c","image":"i","readinessProbe":{"exec":{},"periodSeconds":1}}],"#,
            r#""nodeName":"n","unknown":1},"status":{}}"#,
        );
        assert_eq!(text(&pod), expected);
        let list = json!({"apiVersion": "v1", "kind": "PodList", "items": [{"spec": {}, "metadata": {}}], "metadata": {}});
        let expected =
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{},"spec":{}}]}"#;
        assert_eq!(text(&list), expected);
    }

    #[test]
    fn others_are_ordered_by_name() {
        let blog =
            json!({"apiVersion": "web.helloworld/v1", "kind": "Pod", "metadata": {"uid": "u", "name": "n"}});
        let expected = r#"{"apiVersion":"web.helloworld/v1","kind":"Pod","metadata":{"name":"n","uid":"u"}}"#;
        assert_eq!(text(&blog), expected);
        assert!(
            Ordered::of(&blog).precedes("name", "uid") && !Ordered::of(&blog).precedes("kind", "apiVersion")
        );
    }

    #[test]
    fn objects_in_fields_are_ordered_by_their_kind() {
        let object =
            |kind: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"uid": "u", "name": "n"}});
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "1", "object": object("Secret"), "oldObject": object("Unknown"), "kind": {}},
        });
        let expected = concat!(
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","kind":{},"#,
            r#""object":{"kind":"Secret","apiVersion":"v1","metadata":{"name":"n","uid":"u"}},"#,
            r#""oldObject":{"apiVersion":"v1","kind":"Unknown","metadata":{"name":"n","uid":"u"}}}}"#,
        );
        assert_eq!(text(&review), expected);
        let table = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": {}, "rows": [{
                "object": {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {}}, "cells": [],
            }],
            "columnDefinitions": [{"type": "t", "name": "n", "format": ""}],
        });
        let expected = concat!(
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"#,
            r#""columnDefinitions":[{"name":"n","type":"t","format":""}],"rows":[{"cells":[],"#,
            r#""object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{}}}]}"#,
        );
        assert_eq!(text(&table), expected);
    }

    #[test]
    fn schemas_are_structs_wherever_they_are() {
        let schema = json!({"type": "t", "description": "d"});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"versions": [{"schema": {"openAPIV3Schema": {
                "properties": {"b": schema, "a": schema}, "items": schema, "additionalProperties": true,
            }}}]},
        });
        let expected =
            r#""items":{"description":"d","type":"t"},"properties":{"a":{"description":"d","type":"t"},"b":"#;
        assert!(text(&definition).contains(expected), "{}", text(&definition));
    }
}
