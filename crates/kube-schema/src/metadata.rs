//! `ObjectMeta`: its fields and their validation, at the root of an object and in embedded ones.

use kube_validation::{FieldError, FieldPath, go::quote, names};
use serde_json::{Map, Value};

use crate::schema::Schema;

const OBJECT_META: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
const OWNER_REFERENCE: [&str; 6] = ["apiVersion", "blockOwnerDeletion", "controller", "kind", "name", "uid"];
const MANAGED_FIELDS_ENTRY: [&str; 7] =
    ["apiVersion", "fieldsType", "fieldsV1", "manager", "operation", "subresource", "time"];
/// The maximum size of all annotations of an object together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Returns whether a resource has the field regardless of its schema.
pub(super) fn is_type_or_object_meta(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind" | "metadata")
}

/// Removes the fields that `ObjectMeta` does not have from the metadata at `path`. Returns the removed paths.
pub(super) fn prune(metadata: &mut Value, path: &FieldPath<'_>) -> Vec<String> {
    let mut removed = Vec::new();
    let Value::Object(metadata) = metadata else { return removed };
    retain(metadata, &OBJECT_META, path, &mut removed);
    for (list, known) in [("ownerReferences", &OWNER_REFERENCE[..]), ("managedFields", &MANAGED_FIELDS_ENTRY)]
    {
        let Some(Value::Array(items)) = metadata.get_mut(list) else { continue };
        let path = path.child(list);
        for (index, item) in items.iter_mut().enumerate() {
            if let Value::Object(item) = item {
                retain(item, known, &path.index(index), &mut removed);
            }
        }
    }
    removed
}

/// Returns the errors of an object's metadata when it is created, after its name was generated.
pub fn validate(object: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = object_meta(object);
    create(
        metadata,
        namespaced,
        names::dns1123_subdomain,
        &FieldPath::Child(&FieldPath::Root(""), "metadata"),
        &mut errors,
    );
    errors
}

/// Returns those errors of an object's metadata when it replaces another one that do not depend on the other one. Its name
/// may be any that a path can have.
pub fn validate_replacing(object: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = FieldPath::Child(&FieldPath::Root(""), "metadata");
    create(object_meta(object), namespaced, names::path_segment, &path, &mut errors);
    errors
}

/// Returns the errors of an object's metadata when it is replaced; `old` is the stored object.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let root = FieldPath::Root("");
    let path = root.child("metadata");
    let mut errors = Vec::new();
    let (new, old) = (object_meta(new), object_meta(old));
    if old.contains_key("deletionTimestamp") {
        let known = strings(old, "finalizers");
        let mut added: Vec<_> =
            strings(new, "finalizers").into_iter().filter(|finalizer| !known.contains(finalizer)).collect();
        added.sort_unstable();
        if !added.is_empty() {
            let added: Vec<_> = added.into_iter().map(quote).collect();
            errors.push(FieldError::forbidden(
                path.child("finalizers"),
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers \
                     []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    if text(new, "resourceVersion").is_empty() {
        let detail = "must be specified for an update";
        errors.push(FieldError::invalid(path.child("resourceVersion"), &"".into(), detail));
    }
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let value = |map: &Map<String, Value>| map.get(field).filter(|value| !value.is_null()).cloned();
        if value(new) != value(old) {
            let absent = if matches!(field, "name" | "namespace" | "uid") { "".into() } else { Value::Null };
            let shown = value(new).unwrap_or(absent);
            errors.push(FieldError::invalid(path.child(field), &shown, "field is immutable"));
        }
    }
    common(new, &path, &mut errors);
    errors
}

/// Validates the embedded resources inside `value`.
pub(super) fn validate_embedded(
    value: &Value,
    schema: &Schema,
    path: &FieldPath<'_>,
    errors: &mut Vec<FieldError>,
) {
    match value {
        Value::Object(map) => {
            if schema.embedded_resource {
                embedded(map, path, errors);
            }
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    validate_embedded(value, property, &path.child(name), errors);
                } else if let Some(property) = schema.property(name) {
                    validate_embedded(value, property, &path.key(name), errors);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return };
            for (index, item) in list.iter().enumerate() {
                validate_embedded(item, items, &path.index(index), errors);
            }
        }
        _ => {}
    }
}

fn embedded(map: &Map<String, Value>, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    for field in ["apiVersion", "kind"] {
        let path = path.child(field);
        match map.get(field) {
            None => errors.push(FieldError::required(path, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(path, &"".into(), "must not be empty"));
            }
            Some(value @ Value::String(text)) if field == "apiVersion" => {
                if let Err(error) = names::group_version(text) {
                    errors.push(FieldError::invalid(path, value, &error));
                }
            }
            Some(value @ Value::String(text)) => {
                let wrong = names::dns1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let detail =
                        format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    errors.push(FieldError::invalid(path, value, &detail));
                }
            }
            Some(value) => errors.push(FieldError::invalid(path, value, "must be a string")),
        }
    }
    match map.get("metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(metadata)) => {
            let mut metadata = metadata.clone();
            // Only the form is checked: a template has no name.
            if text(&metadata, "name").is_empty() {
                metadata.insert("name".to_owned(), "fakename".into());
            }
            let namespaced = !text(&metadata, "namespace").is_empty();
            create(&metadata, namespaced, names::path_segment, &path.child("metadata"), errors);
        }
        Some(value) => errors.push(FieldError::invalid(path.child("metadata"), value, "must be an object")),
    }
}

fn create(
    metadata: &Map<String, Value>,
    namespaced: bool,
    check_name: fn(&str) -> Vec<String>,
    path: &FieldPath<'_>,
    errors: &mut Vec<FieldError>,
) {
    let generate_name = text(metadata, "generateName");
    for error in check_name(&without_trailing_dash(generate_name)) {
        if !generate_name.is_empty() {
            errors.push(FieldError::invalid(path.child("generateName"), &generate_name.into(), &error));
        }
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), "name or generateName is required"));
    } else {
        for error in check_name(name) {
            errors.push(FieldError::invalid(path.child("name"), &name.into(), &error));
        }
    }
    let namespace = text(metadata, "namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required(path.child("namespace"), "")),
        (true, false) => {
            for error in names::dns1123_label(namespace) {
                errors.push(FieldError::invalid(path.child("namespace"), &namespace.into(), &error));
            }
        }
        (false, true) => {}
        (false, false) => {
            errors.push(FieldError::forbidden(path.child("namespace"), "not allowed on this type"));
        }
    }
    common(metadata, path, errors);
    finalizers(metadata, &path.child("finalizers"), errors);
}

/// Validates labels, annotations and owner references, both on creation and on update.
fn common(metadata: &Map<String, Value>, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    labels(metadata, &path.child("labels"), errors);
    annotations(metadata, &path.child("annotations"), errors);
    owner_references(metadata, &path.child("ownerReferences"), errors);
}

/// Validates the labels of a `metadata`, whose errors have the given path.
pub fn labels(metadata: &Map<String, Value>, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    for (key, value) in entries(metadata, "labels") {
        for error in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, &key.into(), &error));
        }
        for error in names::label_value(value) {
            errors.push(FieldError::invalid(path, &value.into(), &error));
        }
    }
}

/// Validates the annotations of a `metadata`, whose errors have the given path.
pub fn annotations(metadata: &Map<String, Value>, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in entries(metadata, "annotations") {
        size += key.len() + value.len();
        for error in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, &key.into(), &error));
        }
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
}

fn owner_references(metadata: &Map<String, Value>, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let Some(references @ Value::Array(list)) = metadata.get("ownerReferences") else { return };
    let mut controller: Option<String> = None;
    for (index, reference) in list.iter().enumerate() {
        let Value::Object(reference) = reference else { continue };
        let path = path.index(index);
        let api_version = text(reference, "apiVersion");
        if api_version.is_empty() {
            errors.push(FieldError::required(path.child("apiVersion"), "must not be empty"));
        } else if names::group_version(api_version).is_ok_and(|(_, version)| version.is_empty())
            || names::group_version(api_version).is_err()
        {
            let detail = "must be <group>/<version> or <version>";
            errors.push(FieldError::invalid(path.child("apiVersion"), &api_version.into(), detail));
        }
        for field in ["kind", "name", "uid"] {
            if text(reference, field).is_empty() {
                errors.push(FieldError::required(path.child(field), "must not be empty"));
            }
        }
        if api_version == "v1" && text(reference, "kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, &reference.clone().into(), detail));
        }
    }
    for reference in list.iter().filter(|reference| reference["controller"] == true) {
        let Value::Object(reference) = reference else { continue };
        let name = format!("{}/{}", text(reference, "kind"), text(reference, "name"));
        match &controller {
            None => controller = Some(name),
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                     and {name}"
                );
                errors.push(FieldError::invalid(path, references, &detail));
            }
        }
    }
}

fn finalizers(metadata: &Map<String, Value>, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let finalizers = strings(metadata, "finalizers");
    for finalizer in &finalizers {
        for error in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(path, &(*finalizer).into(), &error));
        }
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, &finalizers.into(), detail));
    }
}

fn retain(map: &mut Map<String, Value>, known: &[&str], path: &FieldPath<'_>, removed: &mut Vec<String>) {
    map.retain(|key, _| {
        let keep = known.contains(&key.as_str());
        if !keep {
            removed.push(path.child(key).to_string());
        }
        keep
    });
}

fn object_meta(object: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    object.get("metadata").and_then(Value::as_object).unwrap_or(&EMPTY)
}

fn text<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn strings<'a>(map: &'a Map<String, Value>, field: &str) -> Vec<&'a str> {
    map.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn entries<'a>(map: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    map.get(field)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Masks the dash at the end of a `generateName`, where it is allowed.
fn without_trailing_dash(name: &str) -> String {
    match name.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut masked: String = rest.to_owned();
            masked.pop();
            masked.push('a');
            masked
        }
        _ => name.to_owned(),
    }
}
