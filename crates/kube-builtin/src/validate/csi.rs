//! Drivers of storage, what they attach and how much they have: `pkg/apis/storage/validation`.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, items, members, text};
use super::quantities::quantity;
use super::storage::{caseless_name, driver_name};
use super::{storage, volumes};
use kube_validation::{FieldError, FieldPath, Quantity, go, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn create(kind: &str, object: &Value, errors: &mut Errors) {
    let path = ROOT.child("spec");
    match kind {
        "StorageClass" => storage::class(object, errors),
        "VolumeAttachment" => {
            attachment(object, errors);
            caseless_name(text(&object["spec"], "attacher"), &path.child("attacher"), errors);
        }
        "CSIDriver" => driver(&object["spec"], &path, errors),
        "CSINode" => node(&object["spec"], &path, errors),
        "CSIStorageCapacity" => capacity(object, errors),
        "VolumeAttributesClass" => attributes_class(object, errors),
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errors: &mut Errors) {
    match kind {
        "StorageClass" => storage::update_class(new, old, errors),
        "VolumeAttachment" => {
            attachment(new, errors);
            errors.declared_immutable(&new["spec"], &old["spec"], ROOT.child("spec"));
        }
        "CSIDriver" => {
            create(kind, new, errors);
            let path = ROOT.child("spec");
            // kube-apiserver gives the first of them another name.
            for (field, shown) in
                [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
            {
                errors.immutable(&new["spec"][field], &old["spec"][field], path.child(shown));
            }
        }
        "CSINode" => {
            create(kind, new, errors);
            update_node(new, old, errors);
        }
        "CSIStorageCapacity" => {
            create(kind, new, errors);
            errors.immutable(&new["nodeTopology"], &old["nodeTopology"], ROOT.child("nodeTopology"));
            let class = |object: &Value| Value::from(text(object, "storageClassName"));
            errors.immutable(&class(new), &class(old), ROOT.child("storageClassName"));
        }
        "VolumeAttributesClass" => {
            for field in ["driverName", "parameters"] {
                if new[field] != old[field] {
                    errors.push(FieldError::forbidden(field, &format!("updates to {field} are forbidden.")));
                }
            }
            create(kind, new, errors);
        }
        _ => {}
    }
}

/// Checks the status of a VolumeAttachment, or how healthy the storage of a CSINode is.
pub(super) fn status(kind: &str, new: &Value, errors: &mut Errors) {
    match kind {
        // kube-apiserver checks the whole object.
        "VolumeAttachment" => attachment(new, errors),
        "CSINode" => health(&new["status"], &FieldPath::Root("status"), errors),
        _ => {}
    }
}

fn attachment(object: &Value, errors: &mut Errors) {
    const MAX_METADATA: usize = 256 * 1024;
    const MAX_MESSAGE: usize = 1024;
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    attachment_source(&spec["source"], &path.child("source"), errors);
    errors.named(text(spec, "nodeName"), names::dns1123_subdomain, path.child("nodeName"));
    let (status, path) = (&object["status"], ROOT.child("status"));
    let metadata = members(&status["attachmentMetadata"]);
    let size: usize = metadata.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_METADATA {
        errors.push(FieldError::too_long(path.child("attachmentMetadata"), MAX_METADATA));
    }
    for field in ["attachError", "detachError"] {
        let (error, path) = (&status[field], path.child(field));
        if text(error, "message").len() > MAX_MESSAGE {
            errors.push(FieldError::too_long(path.child("message"), MAX_MESSAGE));
        }
        errors.within(&error["errorCode"], 0, i64::from(i32::MAX), path.child("errorCode"));
    }
    if let Some(name) = spec["source"]["persistentVolumeName"].as_str() {
        errors.named(name, names::dns1123_subdomain, FieldPath::Root("spec.source.persistentVolumeName"));
    }
}

fn attachment_source(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (inline, name) = (&source["inlineVolumeSpec"], &source["persistentVolumeName"]);
    match (inline.is_null(), name.is_null()) {
        (true, true) => errors.push(FieldError::required(path, ONE)),
        (false, false) => errors.push(FieldError::forbidden(path, ONE)),
        (true, false) => {
            errors.required(
                source,
                "persistentVolumeName",
                path,
                "must specify non empty persistentVolumeName",
            );
        }
        (false, true) => volumes::inline(inline, &path.child("inlineVolumeSpec"), errors),
    }
}

fn driver(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    errors.one_of(&spec["fsGroupPolicy"], &policies, path.child("fsGroupPolicy"));
    let mut audiences = HashSet::new();
    errors.each(spec, "tokenRequests", path, |request, path, errors| {
        let audience = text(request, "audience");
        if !audiences.insert(audience.to_owned()) {
            errors.push(FieldError::duplicate(path.child("audience"), &audience.into()));
            return;
        }
        token_lifetime(request, path, errors);
    });
    for mode in items(&spec["volumeLifecycleModes"]) {
        errors.one_of(mode, &["Persistent", "Ephemeral"], path.child("volumeLifecycleModes"));
    }
    let period = &spec["nodeAllocatableUpdatePeriodSeconds"];
    if period.as_i64().is_some_and(|seconds| seconds < 10) {
        let field = path.child("nodeAllocatableUpdatePeriodSeconds");
        errors.push(FieldError::invalid(field, period, "must be greater than or equal to 10 seconds"));
    }
    let in_secrets = &spec["serviceAccountTokenInSecrets"];
    if !in_secrets.is_null() && items(&spec["tokenRequests"]).is_empty() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(FieldError::invalid(path.child("serviceAccountTokenInSecrets"), in_secrets, detail));
    }
}

/// Checks how long a token of a ServiceAccount is to be valid.
pub(super) fn token_lifetime(request: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let seconds = &request["expirationSeconds"];
    let detail = match seconds.as_i64() {
        Some(..600) => "may not specify a duration less than 10 minutes",
        Some(4_294_967_297..) => "may not specify a duration larger than 2^32 seconds",
        _ => return,
    };
    errors.push(FieldError::invalid(path.child("expirationSeconds"), seconds, detail));
}

fn node(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX_ID: usize = 256;
    let mut known = HashSet::new();
    errors.each(spec, "drivers", path, |driver, path, errors| {
        driver_name(driver, "name", path, errors);
        errors.required(driver, "nodeID", path, "");
        if text(driver, "nodeID").len() > MAX_ID {
            let detail = format!("must be {MAX_ID} characters or less");
            errors.push(FieldError::invalid(path.child("nodeID"), &driver["nodeID"], &detail));
        }
        errors.not_negative(&driver["allocatable"], "count", &path.child("allocatable"));
        let name = text(driver, "name");
        if !known.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        let mut keys = HashSet::new();
        for key in items(&driver["topologyKeys"]).iter().filter_map(Value::as_str) {
            if key.is_empty() {
                errors.push(FieldError::required(path, ""));
            }
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(path, &key.into()));
            }
            errors.named(key, names::qualified_name, *path);
        }
    });
}

/// Refuses changes to drivers that a node has already, except to how many volumes they attach.
fn update_node(new: &Value, old: &Value, errors: &mut Errors) {
    let fields = |driver: &Value| {
        let shown = |field: &str| go::json(&driver[field]);
        format!(
            r#"{{"Name":{},"NodeID":{},"TopologyKeys":{},"Allocatable":null}}"#,
            shown("name"),
            shown("nodeID"),
            // An empty list is none.
            if items(&driver["topologyKeys"]).is_empty() { "null".to_owned() } else { shown("topologyKeys") }
        )
    };
    for before in items(&old["spec"]["drivers"]) {
        let same = items(&new["spec"]["drivers"]).iter().filter(|driver| driver["name"] == before["name"]);
        for driver in same.filter(|driver| fields(driver) != fields(before)) {
            errors.push(FieldError::invalid_shown("spec.drivers", &fields(driver), "field is immutable"));
        }
    }
}

fn health(status: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut known = HashSet::new();
    errors.each(status, "storageHealth", path, |health, path, errors| {
        let name = text(health, "name");
        if !known.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(path, &name.into()));
        }
        driver_name(health, "name", path, errors);
    });
}

fn capacity(object: &Value, errors: &mut Errors) {
    errors.selector(&object["nodeTopology"], ROOT.child("nodeTopology"));
    let class = text(object, "storageClassName");
    errors.named(class, names::dns1123_subdomain, ROOT.child("storageClassName"));
    let size = &object["capacity"];
    if quantity(size).is_some_and(Quantity::is_negative) {
        errors.push(FieldError::invalid("capacity", size, "must be greater than or equal to 0"));
    }
}

fn attributes_class(object: &Value, errors: &mut Errors) {
    if !errors.required(object, "driverName", &ROOT, "") {
        let driver = text(object, "driverName").to_lowercase();
        errors.named(&driver, names::qualified_name, ROOT.child("driverName"));
    }
    storage::parameters(&object["parameters"], &ROOT.child("parameters"), errors);
    if members(&object["parameters"]).next().is_none() {
        errors.push(FieldError::required("parameters", "must contain at least one key/value pair"));
    }
}
