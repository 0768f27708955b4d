//! Structural schemas: each value has a type, and the schemas under `allOf`, `anyOf`, `oneOf` and `not` only validate.

use kube_validation::{FieldError, FieldPath};
use serde_json::{Value, json};

use crate::{
    json::{Json, flag, is_empty, is_set, list, object, properties, schemas, text},
    read::Patterns,
};

/// Returns the reason why a schema cannot be converted to a structural one, if there is one: it has fields that structural
/// schemas do not have. Then kube-apiserver does not check whether it is structural.
pub(crate) fn unconvertible(schema: &Json) -> Option<String> {
    const UNSUPPORTED: [(&str, &str); 7] = [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("additionalItems", "additionalItems"),
        ("definitions", "definitions"),
    ];
    let is_used =
        |field| !is_empty(schema, field) || field == "additionalItems" && is_set(schema, "additionalItems");
    if let Some((_, name)) = UNSUPPORTED.iter().find(|(field, _)| is_used(field)) {
        return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
        return Some(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned(),
        );
    }
    if !list(schema, "items").is_empty() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    let single =
        ["not", "items", "additionalProperties"].into_iter().filter_map(|field| object(schema, field));
    let listed = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .flat_map(|field| schemas(schema, field).map(|(_, part)| part));
    let named = properties(schema).map(|(_, property)| property);
    single.chain(listed).chain(named).find_map(unconvertible)
}

/// The position of a schema.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Returns the errors of a schema that is not structural, sorted by message.
pub(crate) fn check(schema: &Json, path: &FieldPath<'_>, patterns: &mut Patterns) -> Vec<FieldError> {
    let mut errors = Vec::new();
    invariants(schema, Level::Root, path, patterns, &mut errors);
    junctors_complete(schema, schema, path, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn invariants(
    schema: &Json,
    level: Level,
    path: &FieldPath<'_>,
    patterns: &mut Patterns,
    errors: &mut Vec<FieldError>,
) {
    let kind = text(schema, "type");
    if kind == "array" && !is_set(schema, "items") {
        errors.push(FieldError::required(path.child("items"), "must be specified"));
    }
    if let Some(items) = object(schema, "items") {
        invariants(items, Level::Item, &path.child("items"), patterns, errors);
    }
    let below = path.child("properties");
    for (name, property) in properties(schema) {
        invariants(property, Level::Field, &below.key(name), patterns, errors);
    }
    let additional = path.child("additionalProperties");
    if is_set(schema, "additionalProperties") && level == Level::Root {
        errors.push(FieldError::forbidden(additional, "must not be used at the root"));
    }
    if let Some(schema) = object(schema, "additionalProperties") {
        invariants(schema, Level::Field, &additional, patterns, errors);
    }
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    for (is_set, name) in
        [(preserves, "x-kubernetes-preserve-unknown-fields"), (embedded, "x-kubernetes-embedded-resource")]
    {
        if int_or_string && is_set {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(path.child(name), &true.into(), detail));
        }
    }
    values(schema, int_or_string_in(schema, "anyOf"), path, patterns, errors);

    let at_type = path.child("type");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            FieldError::required(at_type, detail)
        } else {
            FieldError::invalid(at_type, &kind.into(), detail)
        });
    } else if kind.is_empty() && !int_or_string && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(at_type, detail));
    }
    if embedded && is_set(schema, "additionalProperties") {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(additional, detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(at_type, &kind.into(), "must be object at the root"));
    }
    let is_resource = level == Level::Root || embedded;
    for (name, property) in properties(schema) {
        let path = below.key(name);
        let kind = text(property, "type");
        match name {
            "kind" | "apiVersion" if is_resource && kind != "string" => {
                errors.push(FieldError::invalid(path.child("type"), &kind.into(), "must be string"));
            }
            "metadata" => metadata(property, is_resource, level, &path, errors),
            _ => {}
        }
    }
    if embedded && !preserves && properties(schema).next().is_none() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(below, detail));
    }
}

/// Checks the schema of `metadata`, which at the root may restrict only the names.
fn metadata(
    schema: &Json,
    is_resource: bool,
    level: Level,
    path: &FieldPath<'_>,
    errors: &mut Vec<FieldError>,
) {
    let kind = text(schema, "type");
    if is_resource && kind != "object" {
        errors.push(FieldError::invalid(path.child("type"), &kind.into(), "must be object"));
    }
    if level != Level::Root {
        return;
    }
    let only_names = properties(schema).all(|(name, _)| matches!(name, "name" | "generateName"));
    let other = |(field, value): (&String, &Value)| {
        let is_zero = value.is_null() || *value == json!(false) || *value == json!("") || *value == json!([]);
        !is_zero && !matches!(field.as_str(), "type" | "properties" | "default")
    };
    if !only_names || schema.iter().any(other) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(path, detail));
    }
}

/// Checks the junctors and the pattern of a schema. `int_or_string` permits `anyOf: [{type: integer}, {type: string}]`.
fn values(
    schema: &Json,
    int_or_string: bool,
    path: &FieldPath<'_>,
    patterns: &mut Patterns,
    errors: &mut Vec<FieldError>,
) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        let below = path.child(junctor);
        for (index, part) in schemas(schema, junctor) {
            let skip_any_of = junctor == "allOf" && index == 0 && int_or_string_in(part, "anyOf");
            if !(junctor == "anyOf" && int_or_string) {
                nested(part, skip_any_of, &below.index(index), patterns, errors);
            }
        }
    }
    if let Some(not) = object(schema, "not") {
        nested(not, false, &path.child("not"), patterns, errors);
    }
    let source = text(schema, "pattern");
    if !source.is_empty()
        && let Err(error) = patterns.compile(source)
    {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(path.child("pattern"), &source.into(), &detail));
    }
}

fn nested(
    schema: &Json,
    int_or_string: bool,
    path: &FieldPath<'_>,
    patterns: &mut Patterns,
    errors: &mut Vec<FieldError>,
) {
    values(schema, int_or_string, path, patterns, errors);
    if let Some(items) = object(schema, "items") {
        nested(items, false, &path.child("items"), patterns, errors);
    }
    let below = path.child("properties");
    for (name, property) in properties(schema) {
        nested(property, false, &below.key(name), patterns, errors);
    }
    let empty = "must be empty to be structural";
    let undefined = "must be undefined to be structural";
    let unset = "must be false to be structural";
    let allows = is_set(schema, "additionalProperties") && schema["additionalProperties"] != json!(false);
    let forbidden = [
        ("type", !text(schema, "type").is_empty(), empty),
        ("additionalProperties", allows, undefined),
        ("default", is_set(schema, "default"), undefined),
        ("title", !text(schema, "title").is_empty(), empty),
        ("description", !text(schema, "description").is_empty(), empty),
        ("nullable", flag(schema, "nullable"), unset),
        ("x-kubernetes-preserve-unknown-fields", flag(schema, "x-kubernetes-preserve-unknown-fields"), unset),
        ("x-kubernetes-embedded-resource", flag(schema, "x-kubernetes-embedded-resource"), unset),
        ("x-kubernetes-int-or-string", flag(schema, "x-kubernetes-int-or-string"), unset),
        ("x-kubernetes-list-map-keys", !list(schema, "x-kubernetes-list-map-keys").is_empty(), empty),
        ("x-kubernetes-list-type", is_set(schema, "x-kubernetes-list-type"), undefined),
        ("x-kubernetes-map-type", is_set(schema, "x-kubernetes-map-type"), undefined),
        ("x-kubernetes-validations", !list(schema, "x-kubernetes-validations").is_empty(), empty),
    ];
    for (field, is_set, detail) in forbidden {
        if is_set {
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
    }
    if properties(schema).any(|(name, _)| name == "metadata") {
        errors
            .push(FieldError::forbidden(below.key("metadata"), "must not be specified in a nested context"));
    }
}

fn int_or_string_in(schema: &Json, junctor: &str) -> bool {
    list(schema, junctor) == [json!({"type": "integer"}), json!({"type": "string"})]
}

/// Checks that the schema specifies everything that its junctors validate. Like kube-apiserver, it starts at the root only.
fn junctors_complete(
    part: &Json,
    schema: &Json,
    schema_path: &FieldPath<'_>,
    path: &FieldPath<'_>,
    errors: &mut Vec<FieldError>,
) {
    if let Some(not) = object(part, "not") {
        complete(not, Some(schema), schema_path, &path.child("not"), errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        let below = path.child(junctor);
        for (index, part) in schemas(part, junctor) {
            complete(part, Some(schema), schema_path, &below.index(index), errors);
        }
    }
}

fn complete(
    part: &Json,
    schema: Option<&Json>,
    schema_path: &FieldPath<'_>,
    path: &FieldPath<'_>,
    errors: &mut Vec<FieldError>,
) {
    let Some(schema) = schema else {
        errors.push(FieldError::required(schema_path, &format!("because it is defined in {path}")));
        return;
    };
    junctors_complete(part, schema, schema_path, path, errors);
    if let Some(items) = object(part, "items") {
        complete(items, object(schema, "items"), &schema_path.child("items"), &path.child("items"), errors);
    }
    let (schema_below, below) = (schema_path.child("properties"), path.child("properties"));
    for (name, property) in properties(part) {
        let of_schema = object(schema, "properties").and_then(|properties| object(properties, name));
        complete(property, of_schema, &schema_below.key(name), &below.key(name), errors);
    }
}
