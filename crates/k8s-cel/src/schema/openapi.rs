//! Declarations from OpenAPI schemas: apiserver's `pkg/cel/common/schemas.go`, with apiextensions' model of a schema.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::{Declaration, Field, ListKind, Node, Object, REQUEST_MAX, Shape, escape};

/// The longest `metadata.name`: a DNS subdomain.
const NAME_MAX: i64 = 253;
/// The longest and the shortest JSON texts of times, with quotation marks.
const DATETIME_MAX: i64 = 32;
const DATETIME_MIN: i64 = 21;
const DATE_SIZE: i64 = 12;
const DURATION_MAX: i64 = 32;
const DURATION_MIN: i64 = 3;

impl Declaration {
    /// Reads a structural schema, such as `openAPIV3Schema` of a CRD. With `is_resource`, the schema has `apiVersion`, `kind`
    /// and a `metadata` with `name` and `generateName`, whether they are written or not.
    ///
    /// The cost is linear in the size of the schema.
    #[must_use]
    pub fn from_openapi(schema: &Json, is_resource: bool) -> Self {
        let (shape, exposed, min_size, max_elements) = read(schema, is_resource);
        Self(Arc::new(Node { shape, nullable: flag(schema, "nullable"), exposed, max_elements, min_size }))
    }
}

/// The shape, whether it is exposed, the minimum size in JSON and the maximum number of elements.
fn read(schema: &Json, is_resource: bool) -> (Shape, bool, i64, i64) {
    let max_length = count(schema, "maxLength");
    if flag(schema, "x-kubernetes-int-or-string") {
        return (Shape::IntOrString, true, 1, max_length.map_or(REQUEST_MAX - 2, bytes));
    }
    let format = schema["format"].as_str().unwrap_or_default();
    match schema["type"].as_str().unwrap_or_default() {
        "array" => {
            let Some(items) = schema.get("items").filter(|items| items.is_object()) else {
                return (Shape::Untyped("array"), false, 2, 0);
            };
            let element = Declaration::from_openapi(items, flag(items, "x-kubernetes-embedded-resource"));
            let max = count(schema, "maxItems").unwrap_or((REQUEST_MAX - 2) / (element.min_size() + 1));
            let exposed = element.is_exposed();
            (Shape::List { element, kind: list_kind(schema) }, exposed, 2, max)
        }
        "object" => {
            if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
                let value = Declaration::from_openapi(values, flag(values, "x-kubernetes-embedded-resource"));
                let max =
                    count(schema, "maxProperties").unwrap_or((REQUEST_MAX - 2) / (value.min_size() + 6));
                let exposed = value.is_exposed();
                return (Shape::Map(value), exposed, 2, max);
            }
            let (object, min_size) = object(schema, is_resource);
            (Shape::Object(object), true, min_size, 0)
        }
        "string" => match format {
            "byte" => (Shape::Bytes, true, 2, max_length.unwrap_or(REQUEST_MAX - 2)),
            "duration" => (Shape::Duration, true, DURATION_MIN, DURATION_MAX),
            "date" => (Shape::Date, true, DATE_SIZE, DATE_SIZE),
            "date-time" => (Shape::DateTime, true, DATETIME_MIN, DATETIME_MAX),
            _ => {
                let values = schema["enum"].as_array().filter(|values| !values.is_empty());
                let longest = values
                    .map(|values| values.iter().filter_map(Json::as_str).map(str::len).max().unwrap_or(0));
                let longest = longest.map(|longest| i64::try_from(longest).unwrap_or(i64::MAX));
                (Shape::String, true, 2, max_length.map(bytes).or(longest).unwrap_or(REQUEST_MAX - 2))
            }
        },
        "boolean" => (Shape::Bool, true, 4, 0),
        "number" => (Shape::Double, true, 1, 0),
        "integer" => (Shape::Int, true, 1, 0),
        _ if flag(schema, "x-kubernetes-preserve-unknown-fields") => (Shape::Preserved, false, 1, 0),
        _ => (Shape::Untyped(""), false, 1, 0),
    }
}

fn object(schema: &Json, is_resource: bool) -> (Object, i64) {
    let mut properties: BTreeMap<&str, Declaration> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            (
                name.as_str(),
                Declaration::from_openapi(property, flag(property, "x-kubernetes-embedded-resource")),
            )
        })
        .collect();
    let adds = is_resource && !has_type_and_metadata(schema);
    if adds {
        let string = |max| Declaration::new(Shape::String, 2, max);
        properties.insert("apiVersion", string(REQUEST_MAX - 2));
        properties.insert("kind", string(REQUEST_MAX - 2));
        let capped = |name: &str, max: i64| {
            let declared = count(&schema["properties"]["metadata"]["properties"][name], "maxLength");
            string(bytes(declared.map_or(max, |declared| declared.min(max))))
        };
        let metadata = Object::new([
            ("name", capped("name", NAME_MAX)),
            // The generated suffix has at least one character.
            ("generateName", capped("generateName", NAME_MAX - 1)),
        ]);
        properties.insert("metadata", Declaration::new(Shape::Object(metadata), 2, 0));
    }
    // `{}`, and each required property that has no default, with quotation marks, a colon and a comma.
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let required: std::collections::BTreeSet<_> = required.collect();
    let sizes = required.into_iter().filter_map(|name| {
        let property = properties.get(name).filter(|property| property.is_exposed())?;
        let is_written = !(adds && ["apiVersion", "kind", "metadata"].contains(&name));
        let has_default = is_written && !schema["properties"][name]["default"].is_null();
        (!has_default).then(|| i64::try_from(name.len()).unwrap_or(0) + property.min_size() + 4)
    });
    let min_size = 2 + sizes.sum::<i64>();
    (Object::new(properties), min_size)
}

impl Object {
    fn new<'a>(properties: impl IntoIterator<Item = (&'a str, Declaration)>) -> Self {
        let names: BTreeMap<Arc<str>, _> = properties
            .into_iter()
            .map(|(name, declaration)| (name.into(), (escape(name).map(Arc::from), declaration)))
            .collect();
        let fields = names.iter().filter_map(|(name, (escaped, declaration))| {
            Some((escaped.clone()?, Field { name: Arc::clone(name), declaration: declaration.clone() }))
        });
        Self { fields: fields.collect(), names }
    }
}

/// Whether the schema itself declares what every resource has.
fn has_type_and_metadata(schema: &Json) -> bool {
    let properties = &schema["properties"];
    let metadata = &properties["metadata"];
    properties["kind"]["type"] == "string"
        && properties["apiVersion"]["type"] == "string"
        && metadata["type"] == "object"
        && metadata["properties"]["name"]["type"] == "string"
        && metadata["properties"]["generateName"]["type"] == "string"
}

fn list_kind(schema: &Json) -> ListKind {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str);
            ListKind::Map(keys.map(|key| escape(key).unwrap_or_else(|| key.to_owned())).collect())
        }
        _ => ListKind::Atomic,
    }
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// A declared maximum; negative ones are 0.
fn count(schema: &Json, name: &str) -> Option<i64> {
    Some(schema.get(name)?.as_i64()?.max(0))
}

/// The number of bytes of a number of characters, each of which takes up to four. Wraps around as Go does, which shows in
/// estimates.
fn bytes(characters: i64) -> i64 {
    characters.wrapping_mul(4)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::SelfTypes, *};
    use crate::types::{Provider, Type};

    /// Type, maximum number of elements and minimum size, by path.
    fn describe(
        types: &SelfTypes,
        declaration: &Declaration,
        kind: &Type,
        path: &str,
        out: &mut Vec<String>,
    ) {
        out.push(format!("{path} {kind} {} {}", declaration.max_elements(), declaration.min_size()));
        if let (Some(element), [.., inside]) = (declaration.element(), &kind.parameters()[..]) {
            describe(types, element, inside, &format!("{path}/*"), out);
        }
        for name in declaration.as_object().into_iter().flat_map(|object| object.fields.keys()) {
            let Some(kind) = types.field(kind.name(), name) else { continue };
            let field = &declaration.field(name).unwrap().declaration;
            describe(types, field, &kind, &format!("{path}.{name}"), out);
        }
    }

    #[test]
    fn types_and_sizes_are_kube_apiservers() {
        let schema = json!({"type": "object", "required": ["spec", "kind", "nothing", "withDefault"], "properties": {
            "withDefault": {"type": "string", "default": "x"},
            "nothing": {"x-kubernetes-preserve-unknown-fields": true},
            "kind": {"type": "string", "maxLength": 5, "default": "K"},
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string", "maxLength": 10}, "labels": {"type": "object"}}},
            "spec": {"type": "object", "required": ["a-b", "port"], "properties": {
                "a-b": {"type": "array", "items": {"type": "object", "properties": {
                    "namespace": {"type": "string", "enum": ["a", "éé"]}}}},
                "port": {"x-kubernetes-int-or-string": true},
                "1st": {"type": "string"},
                "at": {"type": "string", "format": "date-time"},
                "day": {"type": "string", "format": "date"},
                "wait": {"type": "string", "format": "duration", "maxLength": 3},
                "data": {"type": "string", "format": "byte", "maxLength": 30},
                "id": {"type": "string", "format": "uuid", "maxLength": 36},
                "map": {"type": "object", "additionalProperties": {
                    "type": "array", "maxItems": 7, "items": {"type": "boolean"}}},
                "hidden": {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "ratio": {"type": "number"},
                "nested": {"type": "object", "additionalProperties": {
                    "type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
            }},
        }});
        let root = Declaration::from_openapi(&schema, true);
        assert_eq!(root.max_cardinality(), 76_725);
        let types = SelfTypes::new("selfType".to_owned(), root.clone());
        let mut found = Vec::new();
        describe(&types, &root, &types.root_type(), "self", &mut found);
        let expected = [
            "self selfType 0 40",
            "self.apiVersion string 3145726 2",
            "self.kind string 3145726 2",
            "self.metadata selfType.metadata 0 2",
            "self.metadata.generateName string 1008 2",
            "self.metadata.name string 40 2",
            "self.spec selfType.spec 0 20",
            "self.spec.a__dash__b list(selfType.spec.a__dash__b.@idx) 1048575 2",
            "self.spec.a__dash__b/* selfType.spec.a__dash__b.@idx 0 2",
            "self.spec.a__dash__b/*.__namespace__ string 4 2",
            "self.spec.at timestamp 32 21",
            "self.spec.data bytes 30 2",
            "self.spec.day timestamp 12 12",
            "self.spec.id string 144 2",
            "self.spec.map map(string, list(bool)) 393215 2",
            "self.spec.map/* list(bool) 7 2",
            "self.spec.map/*/* bool 0 4",
            "self.spec.nested map(string, list(selfType.spec.nested.@elem.@idx)) 393215 2",
            "self.spec.nested/* list(selfType.spec.nested.@elem.@idx) 1048575 2",
            "self.spec.nested/*/* selfType.spec.nested.@elem.@idx 0 2",
            "self.spec.nested/*/*.x int 0 1",
            "self.spec.open selfType.spec.open 0 2",
            "self.spec.port dyn 3145726 1",
            "self.spec.ratio double 0 1",
            "self.spec.wait duration 32 3",
            "self.withDefault string 3145726 2",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_of_data_without_a_schema_is_not_exposed() {
        for (schema, exposed) in [
            (json!({"x-kubernetes-preserve-unknown-fields": true}), false),
            (json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}}), false),
            (json!({"type": "object", "additionalProperties": {"type": "array"}}), false),
            (json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), true),
            (json!({"type": "array", "items": {"x-kubernetes-int-or-string": true}}), true),
        ] {
            assert_eq!(Declaration::from_openapi(&schema, false).is_exposed(), exposed, "{schema}");
        }
    }
}
