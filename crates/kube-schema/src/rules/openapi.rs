//! The rules for each schema on its own: supported fields, list and map types, the form of CEL rules.

use std::collections::BTreeSet;

use kube_validation::{FieldError, FieldPath};
use serde_json::{Value, json};

use crate::{
    field_path,
    json::{Json, flag, is_empty, is_set, list, object, properties, schemas, text},
    metadata, read,
};

/// The context of a schema.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    is_root: bool,
    /// Inside `apiVersion`, `kind` or `metadata` of a resource.
    inside_meta: bool,
    /// The reason why defaults are forbidden, if they are.
    no_defaults: Option<&'a str>,
    /// The number of schemas around it.
    depth: usize,
}

/// The errors of a schema of a whole object.
#[derive(Default)]
pub(crate) struct Unsupported {
    pub(crate) errors: Vec<FieldError>,
    /// The paths of the schemas with errors in them or inside: kube-apiserver does not report their rules.
    pub(crate) places: BTreeSet<String>,
}

/// Returns the errors of the schema of a whole object.
pub(crate) fn check(schema: &Json, path: &FieldPath<'_>) -> Unsupported {
    let mut found = Unsupported::default();
    walk(schema, path, Around { is_root: true, ..Around::default() }, &mut found);
    found
}

fn walk(schema: &Json, path: &FieldPath<'_>, around: Around<'_>, found: &mut Unsupported) {
    let known = found.errors.len();
    supported(schema, path, around, &mut found.errors);
    inside(schema, path, around, found);
    extensions(schema, path, &mut found.errors);
    if found.errors.len() > known {
        found.places.insert(path.to_string());
    }
}

/// Checks the schemas inside a schema.
fn inside(schema: &Json, path: &FieldPath<'_>, around: Around<'_>, found: &mut Unsupported) {
    // Only inside what is refused, such as definitions, can schemas be deeper.
    if around.depth > read::MAX_DEPTH {
        return;
    }
    let inner = Around { is_root: false, depth: around.depth + 1, ..around };
    if let Some(values) = object(schema, "additionalProperties") {
        let reason = "inside additionalProperties applying to object metadata";
        let no_defaults = if around.inside_meta { Some(reason) } else { around.no_defaults };
        walk(values, &path.child("additionalProperties"), Around { no_defaults, ..inner }, found);
    }
    let below = path.child("properties");
    for (name, property) in properties(schema) {
        let is_meta = (around.is_root || flag(schema, "x-kubernetes-embedded-resource"))
            && metadata::is_type_or_object_meta(name);
        let reason = format!("in top-level {name}");
        let no_defaults = if is_meta && around.is_root { Some(reason.as_str()) } else { around.no_defaults };
        let inside_meta = around.inside_meta || is_meta;
        walk(property, &below.key(name), Around { inside_meta, no_defaults, ..inner }, found);
    }
    if let Some(not) = object(schema, "not") {
        walk(not, &path.child("not"), inner, found);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        let below = path.child(junctor);
        for (index, part) in schemas(schema, junctor) {
            walk(part, &below.index(index), inner, found);
        }
    }
    for field in ["definitions", "dependencies"] {
        let below = path.child(field);
        for (name, schema) in object(schema, field).into_iter().flatten() {
            if let Some(schema) = schema.as_object() {
                walk(schema, &below.key(name), inner, found);
            }
        }
    }
    let below = path.child("items");
    if let Some(items) = object(schema, "items") {
        walk(items, &below, inner, found);
    }
    for (index, items) in schemas(schema, "items") {
        walk(items, &below.index(index), inner, found);
    }
}

fn extensions(schema: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
        let path = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(path, &false.into(), "must be true or undefined"));
    }
    map_type(schema, path, errors);
    list_type(schema, path, errors);
    rules(schema, path, errors);
}

fn supported(schema: &Json, path: &FieldPath<'_>, around: Around<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    let types = ["array", "boolean", "integer", "number", "object", "string"];
    if !kind.is_empty() && !types.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("type"), &kind.into(), &types));
    }
    if let (true, Some(reason)) = (is_set(schema, "default"), around.no_defaults) {
        errors.push(FieldError::forbidden(path.child("default"), &format!("must not be set {reason}")));
    }
    // Of the others, kube-apiserver tells an empty value from an absent one.
    let counts_if_empty = |field| !matches!(field, "id" | "patternProperties" | "definitions");
    for field in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if is_set(schema, field) && (counts_if_empty(field) || !is_empty(schema, field)) {
            errors.push(FieldError::forbidden(path.child(field), &format!("{field} is not supported")));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(path.child("type"), detail));
    }
    if !list(schema, "items").is_empty() {
        let detail = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(path.child("items"), detail));
    }
    if around.inside_meta && flag(schema, "x-kubernetes-embedded-resource") {
        let detail = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(path.child("x-kubernetes-embedded-resource"), detail));
    }
    if flag(schema, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(path.child("uniqueItems"), detail));
    }
    if properties(schema).next().is_some()
        && is_set(schema, "additionalProperties")
        && schema.get("additionalProperties") != Some(&json!(true))
    {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), detail));
    }
}

/// Checks the type of a schema with an extension that only one type can have.
fn needs_type(
    schema: &Json,
    wanted: &str,
    extension: &str,
    path: &FieldPath<'_>,
    errors: &mut Vec<FieldError>,
) -> bool {
    let kind = text(schema, "type");
    if kind == wanted {
        return true;
    }
    let detail = format!("must be {wanted} if {extension} is specified");
    errors.push(if kind.is_empty() {
        FieldError::required(path.child("type"), &detail)
    } else {
        FieldError::invalid(path.child("type"), &kind.into(), &detail)
    });
    false
}

fn map_type(schema: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let name = "x-kubernetes-map-type";
    let Some(map_type) = schema.get(name).filter(|value| value.is_string()) else { return };
    needs_type(schema, "object", name, path, errors);
    let types = ["atomic", "granular"];
    if !types.iter().any(|supported| map_type == supported) {
        errors.push(FieldError::not_supported(path.child(name), map_type, &types));
    }
}

fn list_type(schema: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let name = "x-kubernetes-list-type";
    let list_type = schema.get(name).and_then(Value::as_str);
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let items = object(schema, "items");
    let at_items = path.child("items");
    if let Some(list_type) = list_type {
        let is_array = needs_type(schema, "array", name, path, errors);
        if let (true, "set", Some(items)) = (is_array, list_type, items) {
            let item_list_type = items.get(name).unwrap_or(&Value::Null);
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            match text(items, "type") {
                "array" if item_list_type.is_string() && item_list_type != "atomic" => {
                    errors.push(FieldError::invalid(at_items.child(name), item_list_type, detail));
                }
                "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
                    let path = at_items.child("x-kubernetes-map-type");
                    errors.push(FieldError::invalid(path, item_list_type, detail));
                }
                _ => {}
            }
        }
        let types = ["atomic", "set", "map"];
        if !types.contains(&list_type) {
            errors.push(FieldError::not_supported(path.child(name), &list_type.into(), &types));
        }
    }
    if !keys.is_empty() && list_type != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list_type {
            None => FieldError::required(path.child(name), detail),
            Some(other) => FieldError::invalid(path.child(name), &other.into(), detail),
        });
    }
    if list_type == Some("map") {
        map_keys(schema, keys, path, errors);
    }
    if let (Some(list_type @ ("set" | "map")), Some(items)) = (list_type, items)
        && flag(items, "nullable")
    {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(FieldError::forbidden(at_items.child("nullable"), &detail));
    }
    if let (Some("map"), Some(items)) = (list_type, items) {
        keys_present(items, keys, &at_items, errors);
    }
}

fn map_keys(schema: &Json, keys: &[Value], path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let at_keys = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.push(FieldError::required(at_keys, "must not be empty if x-kubernetes-list-type is map"));
    }
    let at_items = path.child("items");
    let Some(items) = object(schema, "items") else {
        errors.push(FieldError::required(at_items, "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    let kind = text(items, "type");
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at_items.child("type"), &kind.into(), detail));
        return;
    }
    let below = at_items.child("properties");
    let mut seen = BTreeSet::new();
    for key in keys.iter().filter_map(Value::as_str) {
        match object(items, "properties").and_then(|properties| object(properties, key)) {
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(below.key(key).child("type"), &kind.into(), detail));
            }
            Some(_) => {}
            None => {
                let detail = "entries must all be names of item properties";
                errors.push(FieldError::invalid(at_keys, &keys.into(), detail));
            }
        }
        if !seen.insert(key) {
            errors.push(FieldError::invalid(at_keys, &keys.into(), "must not contain duplicate entries"));
        }
    }
}

/// Checks that each item of a list of type map has a value for each key.
fn keys_present(items: &Json, keys: &[Value], path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let below = path.child("properties");
    for key in keys.iter().filter_map(Value::as_str) {
        let Some(property) = object(items, "properties").and_then(|properties| object(properties, key))
        else {
            continue;
        };
        let path = below.key(key);
        if !list(items, "required").iter().any(|required| required == key) && !is_set(property, "default") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                          property";
            errors.push(FieldError::required(path.child("default"), detail));
        }
        if flag(property, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(path.child("nullable"), detail));
        }
    }
}

fn rules(schema: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let below = path.child("x-kubernetes-validations");
    for (index, rule) in schemas(schema, "x-kubernetes-validations") {
        rule_form(rule, schema, &below.index(index), errors);
    }
}

fn rule_form(rule: &Json, schema: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let has_newline = |text: &str| text.contains(['\n', '\r']);
    let (source, message) = (text(rule, "rule").trim(), text(rule, "message"));
    let at_message = path.child("message");
    if source.is_empty() {
        errors.push(FieldError::required(path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(at_message, &message.into(), "must be non-empty if specified"));
    } else if has_newline(message.trim()) {
        errors.push(FieldError::invalid(at_message, &message.into(), "must not contain line breaks"));
    } else if has_newline(source) && message.trim().is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(at_message, detail));
    }
    let expression = text(rule, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let detail = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(path.child("messageExpression"), detail));
    }
    let reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    if let Some(Value::String(reason)) = rule.get("reason")
        && !reasons.contains(&reason.as_str())
    {
        errors.push(FieldError::not_supported(path.child("reason"), &reason.as_str().into(), &reasons));
    }
    let field = text(rule, "fieldPath");
    if field.is_empty() {
        return;
    }
    let at_field = path.child("fieldPath");
    let mut invalid = |detail: &str| errors.push(FieldError::invalid(at_field, &field.into(), detail));
    if field.trim().is_empty() {
        invalid("must be non-empty if specified");
    }
    if has_newline(field) {
        invalid("must not contain line breaks");
    }
    if field_path::resolve(field, &read::lenient(schema), true).is_err() {
        invalid("must be a valid path");
    }
}
