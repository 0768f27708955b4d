//! StorageClasses and PersistentVolumeClaims: `pkg/apis/storage/validation` and `pkg/apis/core/validation`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::errors::{Errors, items, members, text};
use super::quantities::{amount, quantity};
use kube_validation::{FieldError, FieldPath, Quantity, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");
/// What a claim's class was before `storageClassName`.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The longest name of a driver.
pub(super) const MAX_DRIVER_NAME: usize = 63;

pub(super) fn class(object: &Value, errors: &mut Errors) {
    let provisioner = text(object, "provisioner");
    if !provisioner.is_empty() {
        errors.named(&provisioner.to_lowercase(), names::qualified_name, ROOT.child("provisioner"));
    }
    parameters(&object["parameters"], &ROOT.child("parameters"), errors);
    errors.one_of(&object["reclaimPolicy"], &["Delete", "Retain"], ROOT.child("reclaimPolicy"));
    let modes = ["Immediate", "WaitForFirstConsumer"];
    errors.one_of(&object["volumeBindingMode"], &modes, ROOT.child("volumeBindingMode"));
    topologies(object, errors);
    // kube-apiserver checks this rule, which is declared in a tag, after those that are implemented in code.
    errors.required(object, "provisioner", &ROOT, "");
}

pub(super) fn update_class(new: &Value, old: &Value, errors: &mut Errors) {
    class(new, errors);
    for field in ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] {
        errors.declared_immutable(&new[field], &old[field], ROOT.child(field));
    }
}

pub(super) fn parameters(parameters: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX: usize = 512;
    const MAX_SIZE: usize = 256 * 1024;
    if members(parameters).count() > MAX {
        errors.push(FieldError::too_long(path, MAX));
        return;
    }
    let mut size = 0;
    for (key, value) in members(parameters) {
        if key.is_empty() {
            errors.push(FieldError::invalid(path, &"".into(), "field can not be empty."));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_SIZE {
        errors.push(FieldError::too_long(path, MAX_SIZE));
    }
}

fn topologies(object: &Value, errors: &mut Errors) {
    errors.each(object, "allowedTopologies", &ROOT, |term, path, errors| {
        let mut keys = HashSet::new();
        errors.each(term, "matchLabelExpressions", path, |expression, path, errors| {
            topology(expression, path, errors);
            let key = text(expression, "key");
            if !keys.insert(key.to_owned()) {
                errors.push(FieldError::duplicate(path.child("key"), &key.into()));
            }
        });
    });
}

fn topology(expression: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if items(&expression["values"]).is_empty() {
        errors.push(FieldError::required(path.child("values"), ""));
    }
    let mut seen = HashSet::new();
    errors.each(expression, "values", path, |value, path, errors| {
        if !seen.insert(value.clone()) {
            errors.push(FieldError::duplicate(path, value));
        }
    });
    errors.named(text(expression, "key"), names::qualified_name, path.child("key"));
}

pub(super) fn claim(object: &Value, errors: &mut Errors) {
    claim_spec(&object["spec"], &ROOT.child("spec"), errors);
}

/// Checks the `spec` of a claim, also in a template.
pub(super) fn claim_spec(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    access_modes(spec, "at least 1 access mode is required", path, errors);
    let resources = path.child("resources");
    let storage = &spec["resources"]["requests"]["storage"];
    let field = resources.key("storage");
    match quantity(storage) {
        None if storage.is_null() => errors.push(FieldError::required(field, "")),
        Some(size) if size.is_negative() || size.is_zero() => {
            errors.push(FieldError::invalid(field, storage, "must be greater than zero"));
        }
        _ => amount("storage", storage, &field, errors),
    }
    class_name(spec, "storageClassName", path, errors);
    errors.one_of(&spec["volumeMode"], &["Block", "Filesystem"], path.child("volumeMode"));
    data_sources(spec, path, errors);
    class_name(spec, "volumeAttributesClassName", path, errors);
}

/// Checks how a claim or a volume can be mounted. `detail`: what to say if there are no modes.
pub(super) fn access_modes(spec: &Value, detail: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let (modes, field) = (items(&spec["accessModes"]), path.child("accessModes"));
    if modes.is_empty() {
        errors.push(FieldError::required(field, detail));
    }
    // A claim's selector is checked between its modes' number and their names. A volume has none.
    errors.selector(&spec["selector"], path.child("selector"));
    for mode in modes {
        errors.one_of(mode, &MODES, field);
    }
    let is_other = |mode: &Value| mode.as_str().is_some_and(|mode| MODES[..3].contains(&mode));
    if modes.iter().any(|mode| mode == "ReadWriteOncePod") && modes.iter().any(is_other) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(field, detail));
    }
}

pub(super) fn class_name(spec: &Value, field: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if !text(spec, field).is_empty() {
        errors.named(text(spec, field), names::dns1123_subdomain, path.child(field));
    }
}

fn data_sources(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in ["dataSource", "dataSourceRef"] {
        if spec[field].is_object() {
            data_source(&spec[field], &path.child(field), errors);
        }
    }
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    if source.is_null() || reference.is_null() {
        return;
    }
    let differs = ["apiGroup", "kind", "name"].iter().any(|field| source[*field] != reference[*field]);
    let detail = if !text(reference, "namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if differs {
        "must match dataSourceRef"
    } else {
        return;
    };
    // kube-apiserver shows a path as the value, whose Go struct has no public fields.
    errors.push(FieldError::invalid(path, &json!({}), detail));
}

fn data_source(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in ["name", "kind"] {
        errors.required(source, field, path, "");
    }
    let group = text(source, "apiGroup");
    if group.is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(path, &text(source, "kind").into(), detail));
    }
    if !group.is_empty() {
        errors.named(group, names::dns1123_subdomain, path.child("apiGroup"));
    }
    let namespace = text(source, "namespace");
    if !namespace.is_empty() {
        errors.named(namespace, names::dns1123_label, path.child("namespace"));
    }
}

pub(super) fn update_claim(new: &Value, old: &Value, errors: &mut Errors) {
    claim(new, errors);
    let annotation = |object: &Value| text(&object["metadata"]["annotations"], CLASS).to_owned();
    let (class, before) = (annotation(new), annotation(old));
    let moves_class = !before.is_empty()
        && old["spec"]["storageClassName"].is_null()
        && text(&new["spec"], "storageClassName") == before
        && (class.is_empty() || class == before);
    if class != before && !moves_class {
        let path = FieldPath::Root("metadata.annotations");
        errors.push(FieldError::invalid(path.child(CLASS), &class.into(), "field is immutable"));
    }
    if allowed_spec(new, old, &before) != old["spec"] {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                      claims";
        // A diff of the two follows on the next lines.
        errors.push(FieldError::forbidden("spec", &format!("{detail}\n")));
    }
    if shrinks_below_capacity(new, old) {
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", detail));
    }
    errors.immutable(&new["spec"]["volumeMode"], &old["spec"]["volumeMode"], ROOT.child("volumeMode"));
    attributes_class(new, old, errors);
}

/// Returns whether a claim asks for less than before, and for no more than it has.
fn shrinks_below_capacity(new: &Value, old: &Value) -> bool {
    let size = |value: &Value| quantity(&value["storage"]).or_else(|| "0".parse().ok());
    let now = size(&new["spec"]["resources"]["requests"]);
    now < size(&old["spec"]["resources"]["requests"]) && now <= size(&old["status"]["capacity"])
}

/// Returns the new `spec` with the old values of the fields that may change. `class`: the old annotation.
fn allowed_spec(new: &Value, old: &Value, class: &str) -> Value {
    let (mut spec, before) = (new["spec"].clone(), &old["spec"]);
    let mut keep = |field: &str| match before.get(field) {
        Some(value) => spec[field] = value.clone(),
        None => _ = spec.as_object_mut().and_then(|spec| spec.remove(field)),
    };
    let is_bound = old["status"]["phase"] == "Bound";
    if text(before, "volumeName").is_empty() {
        keep("volumeName");
    }
    let new_class = &new["spec"]["storageClassName"];
    if before["storageClassName"].is_null()
        && !new_class.is_null()
        && (class.is_empty() || new_class == class)
    {
        keep("storageClassName");
    }
    if is_bound {
        keep("volumeAttributesClassName");
    }
    let (size, old_size) =
        (&new["spec"]["resources"]["requests"]["storage"], &before["resources"]["requests"]["storage"]);
    let is_same = quantity(size).zip(quantity(old_size)).is_some_and(|(one, other)| one == other);
    if (is_bound || is_same) && size.is_string() {
        spec["resources"]["requests"]["storage"] = old_size.clone();
    }
    spec
}

fn attributes_class(new: &Value, old: &Value, errors: &mut Errors) {
    let field = "volumeAttributesClassName";
    let (class, before) = (&new["spec"][field], &old["spec"][field]);
    if class == before || old["status"]["currentVolumeAttributesClassName"].is_null() {
        return;
    }
    let what = match class.as_str() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let detail =
        format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.push(FieldError::forbidden("spec.volumeAttributesClassName", &detail));
}

/// Checks the name of a driver.
pub(super) fn driver_name(object: &Value, field: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if errors.required(object, field, path, "") {
        return;
    }
    let (name, path) = (text(object, field), path.child(field));
    if name.len() > MAX_DRIVER_NAME {
        errors.push(FieldError::too_long(path, MAX_DRIVER_NAME));
    }
    for why in names::dns1123_subdomain(&name.to_lowercase()) {
        errors.push(FieldError::invalid(path, &name.into(), &why));
    }
}

/// Checks the name of a driver, by a rule that is declared in tags. Its messages are other ones.
pub(super) fn caseless_name(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    const CASELESS: &str = "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and \
                            end with an alphanumeric character (e.g. 'Example.com', regex used for validation is \
                            '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if !names::dns1123_subdomain(&name.to_lowercase()).is_empty() {
        errors.push(FieldError::invalid(path, &name.into(), CASELESS));
    }
    if name.chars().count() > MAX_DRIVER_NAME {
        errors.push(FieldError::too_long_characters(path, MAX_DRIVER_NAME));
    }
}

/// Checks how large a claim's volume is, and how its growth goes on.
pub(super) fn claim_status(object: &Value, errors: &mut Errors) {
    const STATUSES: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let (status, root) = (&object["status"], FieldPath::Root("status"));
    let size = |value: &Value, path: FieldPath<'_>, errors: &mut Errors| {
        if quantity(value).is_some_and(Quantity::is_negative) {
            let bytes = quantity(value).map_or(0, |size| size.scaled_value(0));
            let detail = "must be a valid resource quantity";
            errors.push(FieldError::invalid(path, &bytes.into(), detail));
        }
    };
    let path = root.child("capacity");
    for (name, value) in members(&status["capacity"]) {
        size(value, path.key(name), errors);
    }
    let path = root.child("allocatedResourceStatuses");
    for (name, value) in members(&status["allocatedResourceStatuses"]) {
        resource_of_claim(name, &path, errors);
        if !value.as_str().is_some_and(|value| STATUSES.contains(&value)) {
            errors.push(FieldError::not_supported(path, &name.into(), &STATUSES));
        }
    }
    let path = root.child("allocatedResources");
    for (name, value) in members(&status["allocatedResources"]) {
        if resource_of_claim(name, &path, errors) {
            size(value, path.key(name), errors);
        }
    }
}

/// Checks the name of a resource that a claim has. Returns whether it is one.
fn resource_of_claim(name: &str, path: &FieldPath<'_>, errors: &mut Errors) -> bool {
    let before = errors.all.len();
    errors.named(name, names::qualified_name, *path);
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    if errors.all.len() == before && is_native && name != "storage" {
        errors.push(FieldError::not_supported(path, &name.into(), &["storage"]));
    }
    errors.all.len() == before
}
