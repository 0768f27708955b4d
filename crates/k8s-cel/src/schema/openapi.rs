//! Declarations from OpenAPI schemas: apiserver's `pkg/cel/common/schemas.go`, with apiextensions' model of a schema, and with that
//! of built-in kinds: `pkg/cel/openapi`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value as Json;

use super::{Declaration, DefinitionsError, Field, ListKind, Node, Object, REQUEST_MAX, Shape, escape};

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
        Reader::default().declare_resolved(schema, is_resource)
    }

    /// Reads the schema with a name from the definitions of an OpenAPI document: its `components.schemas`, or `definitions` of
    /// version 2. References between them are followed, and end as in kube-apiserver: a definition inside of itself is an
    /// object without fields. With `is_resource`, the schema has what every resource has, as in [`Self::from_openapi`].
    ///
    /// kube-apiserver checks the types of policies against such declarations. A quantity, for example, is not exposed, because
    /// its schema has no type.
    ///
    /// The cost is linear in the sizes of the definitions that are reached, except for definitions inside of themselves.
    ///
    /// # Errors
    /// Fails if a definition does not exist, or if the schema becomes too large or too deep.
    pub fn from_definitions(
        name: &str,
        definitions: &serde_json::Map<String, Json>,
        is_resource: bool,
    ) -> Result<Self, DefinitionsError> {
        let Some((name, schema)) = definitions.get_key_value(name) else {
            return Err(DefinitionsError::Unresolved(name.to_owned()));
        };
        let mut reader = Reader { definitions: Some(definitions), open: vec![name], ..Reader::default() };
        let declaration = reader.declare_resolved(schema, is_resource);
        reader.error.map_or(Ok(declaration), Err)
    }
}

/// How deep schemas of definitions may be in one another, and how many there may be. Those of Kubernetes have some thousands.
const DEPTH_MAX: usize = 100;
const SCHEMAS_MAX: usize = 100_000;

/// Reads schemas, which may refer to definitions.
#[derive(Default)]
struct Reader<'j> {
    /// What references are resolved with, if at all.
    definitions: Option<&'j serde_json::Map<String, Json>>,
    /// The definitions around the schema.
    open: Vec<&'j str>,
    /// The declarations of definitions that are not inside of themselves.
    known: HashMap<&'j str, Declaration>,
    /// How many references led to a definition around them.
    circular: usize,
    depth: usize,
    count: usize,
    error: Option<DefinitionsError>,
}

impl<'j> Reader<'j> {
    /// A schema inside of another one.
    fn declare(&mut self, schema: &'j Json) -> Declaration {
        if self.definitions.is_none() {
            return self.declare_resolved(schema, flag(schema, "x-kubernetes-embedded-resource"));
        }
        let nothing = || Declaration::new(Shape::Object(Object::new([])), 2, 0);
        self.count += 1;
        if self.depth >= DEPTH_MAX || self.count >= SCHEMAS_MAX {
            self.error.get_or_insert(DefinitionsError::TooLarge);
        }
        if self.error.is_some() {
            return nothing();
        }
        let Some(name) = reference(schema) else {
            return self.declare_resolved(schema, flag(schema, "x-kubernetes-embedded-resource"));
        };
        if self.open.contains(&name) {
            self.circular += 1;
            return nothing();
        }
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let Some(schema) = self.definitions.and_then(|definitions| definitions.get(name)) else {
            self.error = Some(DefinitionsError::Unresolved(name.to_owned()));
            return nothing();
        };
        self.open.push(name);
        let circular = self.circular;
        let declaration = self.declare_resolved(schema, flag(schema, "x-kubernetes-embedded-resource"));
        self.open.pop();
        // Otherwise it depends on the definitions around it.
        if self.circular == circular {
            self.known.insert(name, declaration.clone());
        }
        declaration
    }

    fn declare_resolved(&mut self, schema: &'j Json, is_resource: bool) -> Declaration {
        self.depth += 1;
        let (shape, exposed, min_size, max_elements) = self.read(schema, is_resource);
        self.depth -= 1;
        let nullable = flag(schema, "nullable");
        Declaration(Arc::new(Node { shape, nullable, exposed, max_elements, min_size }))
    }

    /// The shape, whether it is exposed, the minimum size in JSON and the maximum number of elements.
    fn read(&mut self, schema: &'j Json, is_resource: bool) -> (Shape, bool, i64, i64) {
        let max_length = count(schema, "maxLength");
        let format = schema["format"].as_str().unwrap_or_default();
        // Built-in kinds have the format.
        let is_format = self.definitions.is_some() && format == "int-or-string";
        if is_format || flag(schema, "x-kubernetes-int-or-string") {
            return (Shape::IntOrString, true, 1, max_length.map_or(REQUEST_MAX - 2, bytes));
        }
        match schema["type"].as_str().unwrap_or_default() {
            "array" => {
                let Some(items) = schema.get("items").filter(|items| items.is_object()) else {
                    return (Shape::Untyped("array"), false, 2, 0);
                };
                let element = self.declare(items);
                let max = count(schema, "maxItems").unwrap_or((REQUEST_MAX - 2) / (element.min_size() + 1));
                let exposed = element.is_exposed();
                (Shape::List { element, kind: list_kind(schema) }, exposed, 2, max)
            }
            "object" => {
                if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
                    let value = self.declare(values);
                    let max =
                        count(schema, "maxProperties").unwrap_or((REQUEST_MAX - 2) / (value.min_size() + 6));
                    let exposed = value.is_exposed();
                    return (Shape::Map(value), exposed, 2, max);
                }
                let (object, min_size) = self.object(schema, is_resource);
                (Shape::Object(object), true, min_size, 0)
            }
            "string" => match format {
                "byte" => (Shape::Bytes, true, 2, max_length.unwrap_or(REQUEST_MAX - 2)),
                "duration" => (Shape::Duration, true, DURATION_MIN, DURATION_MAX),
                "date" => (Shape::Date, true, DATE_SIZE, DATE_SIZE),
                "date-time" => (Shape::DateTime, true, DATETIME_MIN, DATETIME_MAX),
                _ => {
                    let values = schema["enum"].as_array().filter(|values| !values.is_empty());
                    let longest = values.map(|values| {
                        values.iter().filter_map(Json::as_str).map(str::len).max().unwrap_or(0)
                    });
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

    fn object(&mut self, schema: &'j Json, is_resource: bool) -> (Object, i64) {
        let mut properties: BTreeMap<&str, Declaration> = schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, property)| (name.as_str(), self.declare(property)))
            .collect();
        let adds = is_resource && !self.has_type_and_metadata(schema);
        if adds {
            let string = |max| Declaration::new(Shape::String, 2, max);
            properties.insert("apiVersion", string(REQUEST_MAX - 2));
            properties.insert("kind", string(REQUEST_MAX - 2));
            let capped = |name: &str, max: i64| {
                // Only structural schemas have a maximum.
                if self.definitions.is_some() {
                    return string(REQUEST_MAX - 2);
                }
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
            let has_default = is_written && !self.resolved(&schema["properties"][name])["default"].is_null();
            (!has_default).then(|| i64::try_from(name.len()).unwrap_or(0) + property.min_size() + 4)
        });
        let min_size = 2 + sizes.sum::<i64>();
        (Object::new(properties), min_size)
    }

    /// Whether the schema itself declares what every resource has.
    fn has_type_and_metadata(&self, schema: &Json) -> bool {
        let properties = &schema["properties"];
        let metadata = self.resolved(&properties["metadata"]);
        let is = |schema: &Json, expected: &str| self.resolved(schema)["type"] == expected;
        is(&properties["kind"], "string")
            && is(&properties["apiVersion"], "string")
            && metadata["type"] == "object"
            && is(&metadata["properties"]["name"], "string")
            && is(&metadata["properties"]["generateName"], "string")
    }

    /// What a reference stands for: it replaces all that is written beside it.
    fn resolved<'s>(&self, schema: &'s Json) -> &'s Json
    where
        'j: 's,
    {
        let Some(definitions) = self.definitions else { return schema };
        reference(schema).and_then(|name| definitions.get(name)).unwrap_or(schema)
    }
}

/// The name of the definition that a schema refers to, by itself or in `allOf`, where references may have a description.
fn reference(schema: &Json) -> Option<&str> {
    let target = schema
        .get("$ref")
        .or_else(|| schema.get("allOf")?.as_array()?.iter().find_map(|part| part.get("$ref")))?;
    let target = target.as_str()?;
    let prefixes = ["#/components/schemas/", "#/definitions/"];
    Some(prefixes.into_iter().find_map(|prefix| target.strip_prefix(prefix)).unwrap_or(target))
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

    fn definitions() -> serde_json::Map<String, Json> {
        serde_json::from_str(include_str!("../../tests/definitions.json")).unwrap()
    }

    #[test]
    fn definitions_have_kube_apiservers_types_and_sizes() {
        let expected = include_str!("../../tests/definitions.txt");
        for (name, expected) in ["Thing", "List", "Node"].into_iter().zip(expected.split("\n\n")) {
            let root = Declaration::from_definitions(name, &definitions(), true).unwrap();
            let types = SelfTypes::new("selfType".to_owned(), root.clone());
            let mut found = Vec::new();
            describe(&types, &root, &types.root_type(), "self", &mut found);
            assert_eq!(found, expected.trim().lines().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn definitions_that_are_missing_are_an_error() {
        let missing = |name: &str| Err(DefinitionsError::Unresolved(name.to_owned()));
        assert_eq!(Declaration::from_definitions("Missing", &definitions(), true), missing("Missing"));
        let mut definitions = definitions();
        definitions.remove("Time");
        assert_eq!(Declaration::from_definitions("Thing", &definitions, true), missing("Time"));
        assert_eq!(missing("x").unwrap_err().to_string(), "cannot resolve Ref \"x\": schema not found");
    }

    #[test]
    fn definitions_that_are_often_in_one_another_end() {
        let two = |left: String, right: String| {
            let reference = |name| json!({"$ref": format!("#/components/schemas/{name}")});
            json!({"type": "object", "properties": {"left": reference(left), "right": reference(right)}})
        };
        let chain = |length: usize| {
            let links = (0..length)
                .map(|link| (link.to_string(), two((link + 1).to_string(), (link + 1).to_string())));
            links.chain([(length.to_string(), json!({"type": "string"}))]).collect()
        };
        assert!(Declaration::from_definitions("0", &chain(50), false).is_ok());
        let too_large = Err(DefinitionsError::TooLarge);
        assert_eq!(Declaration::from_definitions("0", &chain(10_000), false), too_large);
        // All are in all others.
        let names: Vec<_> = (0..20).map(|name| name.to_string()).collect();
        let all = names.iter().map(|name| {
            let properties: serde_json::Map<_, _> = names
                .iter()
                .map(|name| (name.clone(), json!({"$ref": format!("#/definitions/{name}")})))
                .collect();
            (name.clone(), json!({"type": "object", "properties": properties}))
        });
        assert_eq!(Declaration::from_definitions("0", &all.collect(), false), too_large);
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
