//! Reads the JSON of a schema, and refuses values of the wrong type. [`crate::rules`] checks whether the schema makes sense.

use std::collections::BTreeMap;

use kube_validation::{FieldError, FieldPath, go};
use serde_json::{Map, Value};

use crate::schema::{AdditionalProperties, Checks, ListType, Pattern, RuleDefinition, Schema, SchemaType};

/// The maximum nesting depth of schemas: far more than any CRD has, far less than the stack can hold.
pub(crate) const MAX_DEPTH: usize = 128;

/// Reads the schema at `path`, and compiles its patterns. Values of the wrong type count as absent; returns their errors.
pub(crate) fn schema(
    openapi: &Value,
    path: &FieldPath<'_>,
    patterns: &mut Patterns,
) -> (Schema, Vec<FieldError>) {
    let mut reader = Reader { errors: Vec::new(), patterns: Some(patterns) };
    let schema = reader.schema(openapi, path, 0);
    (schema, reader.errors)
}

/// Reads a schema whose errors are reported elsewhere, without its patterns.
pub(crate) fn lenient(openapi: &Map<String, Value>) -> Schema {
    Reader { errors: Vec::new(), patterns: None }.object(openapi, &FieldPath::Root(""), 0)
}

/// The patterns of a schema, by their texts: each is compiled once, and many fields have the same one.
#[derive(Default)]
pub(crate) struct Patterns(BTreeMap<String, Result<go::regex::Pattern, String>>);

impl Patterns {
    /// Compiles a pattern, unless that was done before.
    pub(crate) fn compile(&mut self, source: &str) -> Result<&go::regex::Pattern, &str> {
        if !self.0.contains_key(source) {
            self.0.insert(source.to_owned(), go::regex::Pattern::new(source));
        }
        self.0[source].as_ref().map_err(String::as_str)
    }
}

/// Reads JSON leniently: a value of the wrong type is an error and counts as absent.
struct Reader<'a> {
    errors: Vec<FieldError>,
    patterns: Option<&'a mut Patterns>,
}

impl Reader<'_> {
    fn schema(&mut self, openapi: &Value, path: &FieldPath<'_>, depth: usize) -> Schema {
        if depth > MAX_DEPTH {
            self.errors.push(FieldError::forbidden(path, "schemas are nested too deeply"));
            return Default::default();
        }
        let Value::Object(map) = openapi else {
            self.errors.push(FieldError::type_invalid(path, openapi, "must be an object"));
            return Default::default();
        };
        self.object(map, path, depth)
    }

    fn object(&mut self, map: &Map<String, Value>, path: &FieldPath<'_>, depth: usize) -> Schema {
        Schema {
            kind: self.string(map, "type", path).and_then(|text| kind(&text)),
            nullable: self.boolean(map, "nullable", path),
            default: present(map, "default").cloned(),
            properties: self.properties(map, path, depth),
            additional_properties: self.additional_properties(map, path, depth),
            items: self.items(map, path, depth),
            preserve_unknown_fields: self.boolean(map, "x-kubernetes-preserve-unknown-fields", path),
            embedded_resource: self.boolean(map, "x-kubernetes-embedded-resource", path),
            int_or_string: self.boolean(map, "x-kubernetes-int-or-string", path),
            list_type: match self.string(map, "x-kubernetes-list-type", path).as_deref() {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map,
                // Other types are refused by the rules.
                _ => ListType::Atomic,
            },
            list_map_keys: self.strings(map, "x-kubernetes-list-map-keys", path),
            checks: self.checks(map, path, depth),
            definitions: self.rules(map, path),
            ..Default::default()
        }
    }

    fn checks(&mut self, map: &Map<String, Value>, path: &FieldPath<'_>, depth: usize) -> Checks {
        Checks {
            format: self.string(map, "format", path).filter(|format| !format.is_empty()),
            maximum: self.number(map, "maximum", path),
            exclusive_maximum: self.boolean(map, "exclusiveMaximum", path),
            minimum: self.number(map, "minimum", path),
            exclusive_minimum: self.boolean(map, "exclusiveMinimum", path),
            multiple_of: self.number(map, "multipleOf", path),
            max_length: self.integer(map, "maxLength", path),
            min_length: self.integer(map, "minLength", path),
            pattern: self.pattern(map, path),
            max_items: self.integer(map, "maxItems", path),
            min_items: self.integer(map, "minItems", path),
            max_properties: self.integer(map, "maxProperties", path),
            min_properties: self.integer(map, "minProperties", path),
            required: self.strings(map, "required", path),
            r#enum: self.array(map, "enum", path).map(<[Value]>::to_vec).unwrap_or_default(),
            all_of: self.schemas(map, "allOf", path, depth),
            any_of: self.schemas(map, "anyOf", path, depth),
            one_of: self.schemas(map, "oneOf", path, depth),
            not: present(map, "not").map(|not| Box::new(self.schema(not, &path.child("not"), depth + 1))),
        }
    }

    fn rules(&mut self, map: &Map<String, Value>, path: &FieldPath<'_>) -> Vec<RuleDefinition> {
        let list = path.child("x-kubernetes-validations");
        let mut definitions = Vec::new();
        for (index, rule) in
            self.array(map, "x-kubernetes-validations", path).unwrap_or_default().iter().enumerate()
        {
            let path = list.index(index);
            let Value::Object(rule) = rule else {
                self.errors.push(FieldError::type_invalid(path, rule, "must be an object"));
                continue;
            };
            definitions.push(RuleDefinition {
                rule: self.string(rule, "rule", &path).unwrap_or_default(),
                message: self.string(rule, "message", &path).unwrap_or_default(),
                message_expression: self.string(rule, "messageExpression", &path).unwrap_or_default(),
                reason: self.string(rule, "reason", &path),
                field_path: self.string(rule, "fieldPath", &path).unwrap_or_default(),
                optional_old_self: present(rule, "optionalOldSelf")
                    .map(|_| self.boolean(rule, "optionalOldSelf", &path)),
            });
        }
        definitions
    }

    fn pattern(&mut self, map: &Map<String, Value>, path: &FieldPath<'_>) -> Option<Pattern> {
        let source = self.string(map, "pattern", path).filter(|pattern| !pattern.is_empty())?;
        // A pattern that does not compile is refused by the rules.
        let regex = self.patterns.as_mut()?.compile(&source).ok()?.clone();
        Some(Pattern { source, regex })
    }

    fn properties(
        &mut self,
        map: &Map<String, Value>,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> BTreeMap<String, Schema> {
        let path = path.child("properties");
        match present(map, "properties") {
            None => BTreeMap::new(),
            Some(Value::Object(properties)) => properties
                .iter()
                .map(|(name, schema)| (name.clone(), self.schema(schema, &path.key(name), depth + 1)))
                .collect(),
            Some(other) => {
                self.errors.push(FieldError::type_invalid(path, other, "must be an object"));
                BTreeMap::new()
            }
        }
    }

    fn additional_properties(
        &mut self,
        map: &Map<String, Value>,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Option<AdditionalProperties> {
        Some(match present(map, "additionalProperties")? {
            Value::Bool(allows) => AdditionalProperties::Any(*allows),
            schema => AdditionalProperties::Schema(Box::new(self.schema(
                schema,
                &path.child("additionalProperties"),
                depth + 1,
            ))),
        })
    }

    fn items(&mut self, map: &Map<String, Value>, path: &FieldPath<'_>, depth: usize) -> Option<Box<Schema>> {
        match present(map, "items")? {
            // Refused by the rules.
            Value::Array(_) => None,
            schema => Some(Box::new(self.schema(schema, &path.child("items"), depth + 1))),
        }
    }

    fn schemas(
        &mut self,
        map: &Map<String, Value>,
        name: &str,
        path: &FieldPath<'_>,
        depth: usize,
    ) -> Vec<Schema> {
        let list = path.child(name);
        self.array(map, name, path)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(index, schema)| self.schema(schema, &list.index(index), depth + 1))
            .collect()
    }

    fn string(&mut self, map: &Map<String, Value>, name: &str, path: &FieldPath<'_>) -> Option<String> {
        let value = present(map, name)?;
        self.typed(value.as_str().map(str::to_owned), value, name, path, "a string")
    }

    fn boolean(&mut self, map: &Map<String, Value>, name: &str, path: &FieldPath<'_>) -> bool {
        present(map, name)
            .and_then(|value| self.typed(value.as_bool(), value, name, path, "a boolean"))
            .unwrap_or_default()
    }

    fn number(&mut self, map: &Map<String, Value>, name: &str, path: &FieldPath<'_>) -> Option<f64> {
        let value = present(map, name)?;
        self.typed(value.as_f64(), value, name, path, "a number")
    }

    fn integer(&mut self, map: &Map<String, Value>, name: &str, path: &FieldPath<'_>) -> Option<i64> {
        let value = present(map, name)?;
        self.typed(value.as_i64(), value, name, path, "an integer")
    }

    fn array<'v>(
        &mut self,
        map: &'v Map<String, Value>,
        name: &str,
        path: &FieldPath<'_>,
    ) -> Option<&'v [Value]> {
        let value = present(map, name)?;
        self.typed(value.as_array().map(Vec::as_slice), value, name, path, "an array")
    }

    fn strings(&mut self, map: &Map<String, Value>, name: &str, path: &FieldPath<'_>) -> Vec<String> {
        let list = path.child(name);
        let mut strings = Vec::new();
        for (index, value) in self.array(map, name, path).unwrap_or_default().iter().enumerate() {
            match value.as_str() {
                Some(text) => strings.push(text.to_owned()),
                None => {
                    self.errors.push(FieldError::type_invalid(list.index(index), value, "must be a string"));
                }
            }
        }
        strings
    }

    fn typed<T>(
        &mut self,
        typed: Option<T>,
        value: &Value,
        name: &str,
        path: &FieldPath<'_>,
        expected: &str,
    ) -> Option<T> {
        if typed.is_none() {
            self.errors.push(FieldError::type_invalid(
                path.child(name),
                value,
                &format!("must be {expected}"),
            ));
        }
        typed
    }
}

/// Returns the value of a field. As in Go, `null` counts as absent.
fn present<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).filter(|value| !value.is_null())
}

/// Returns the type. `None` for a type that the rules refuse.
fn kind(text: &str) -> Option<SchemaType> {
    Some(match text {
        "array" => SchemaType::Array,
        "boolean" => SchemaType::Boolean,
        "integer" => SchemaType::Integer,
        "number" => SchemaType::Number,
        "object" => SchemaType::Object,
        "string" => SchemaType::String,
        _ => return None,
    })
}
