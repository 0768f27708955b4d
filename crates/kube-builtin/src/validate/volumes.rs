//! PersistentVolumes: `pkg/apis/core/validation`. Sources that Pods have, too, are checked as there.

use serde_json::{Map, Value};

use super::errors::{Errors, items, members, text};
use super::placement::node_term;
use super::quantities::quantity;
use super::security::without_parents;
use super::storage::{access_modes, class_name, driver_name};
use super::volume_sources::{self, host_path};
use kube_validation::{FieldError, FieldPath, go, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

/// The fields of the sources in the order of their check, and the names of fields in errors where these differ.
const SOURCES: [(&str, &str); 22] = [
    ("hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("nfs", "nfs"),
    ("rbd", "rbd"),
    ("quobyte", "quobyte"),
    ("cephfs", "cephFS"),
    ("iscsi", "iscsi"),
    ("cinder", "cinder"),
    ("fc", "fc"),
    ("flexVolume", ""),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO"),
    ("local", "local"),
    ("storageos", "storageos"),
    ("csi", "csi"),
];

pub(super) fn create(object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    volume(spec, &path, errors);
    mount_options(object, errors);
}

/// Refuses an annotation with options for mounting what is not mounted with options.
fn mount_options(object: &Value, errors: &mut Errors) {
    const ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";
    const MOUNTED: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let is_mounted = MOUNTED.iter().any(|source| !object["spec"][*source].is_null());
    if !object["metadata"]["annotations"][ANNOTATION].is_null() && !is_mounted {
        let path = FieldPath::Root("metadata.annotations");
        let detail = "may not specify mount options for this volume type";
        errors.push(FieldError::forbidden(path.child(ANNOTATION), detail));
    }
}

fn volume(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    access_modes(spec, "", path, errors);
    capacity(&spec["capacity"], &path.child("capacity"), errors);
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let (policies, field) = (["Delete", "Recycle", "Retain"], path.child("persistentVolumeReclaimPolicy"));
    errors.one_of(&spec["persistentVolumeReclaimPolicy"], &policies, field);
    if spec["nodeAffinity"].is_object() {
        node_affinity(&spec["nodeAffinity"], &path.child("nodeAffinity"), errors);
    }
    sources(spec, path, errors);
    if policy == "Recycle" && is_root(text(&spec["hostPath"], "path")) {
        errors.push(FieldError::forbidden(field, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    class_name(spec, "storageClassName", path, errors);
    errors.one_of(&spec["volumeMode"], &["Block", "Filesystem"], path.child("volumeMode"));
    attributes_class(spec, path, errors);
}

/// Checks a volume without an object of its own, in a VolumeAttachment.
pub(super) fn inline(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let refuse_given = |field: &'static str, errors: &mut Errors| {
        if !spec[field].is_null() && spec[field] != "" {
            let detail = "may not be specified in the context of inline volumes";
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
    };
    let refuse_other = |field: &'static str, allowed: &str, detail: &str, errors: &mut Errors| {
        let value = text(spec, field);
        if !value.is_empty() && value != allowed {
            let detail = format!("{detail} {allowed} in the context of inline volumes");
            errors.push(FieldError::forbidden(path.child(field), &detail));
        }
    };
    refuse_given("claimRef", errors);
    refuse_given("capacity", errors);
    if spec["csi"].is_null() {
        let detail = "has to be specified in the context of inline volumes";
        errors.push(FieldError::required(path.child("csi"), detail));
    }
    access_modes(spec, "", path, errors);
    refuse_other("persistentVolumeReclaimPolicy", "Retain", "may only be", errors);
    refuse_given("nodeAffinity", errors);
    sources(spec, path, errors);
    refuse_given("storageClassName", errors);
    refuse_other("volumeMode", "Filesystem", "may not specify volumeMode other than", errors);
    attributes_class(spec, path, errors);
}

fn attributes_class(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let field = "volumeAttributesClassName";
    if spec[field].is_null() {
        return;
    }
    errors.required(spec, field, path, "an empty string is disallowed");
    class_name(spec, field, path, errors);
    if spec["csi"].is_null() {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.push(FieldError::required(path.child("csi"), detail));
    }
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    create(new, errors);
    let (mut spec, before) = (new["spec"].clone(), &old["spec"]);
    // It may be added once.
    let secret = "controllerExpandSecretRef";
    if before["csi"][secret].is_null()
        && let Some(csi) = spec.get_mut("csi").and_then(Value::as_object_mut)
    {
        csi.remove(secret);
    }
    if SOURCES.iter().any(|(field, _)| spec[*field] != before[*field]) {
        // A diff of the two follows on the next lines.
        let detail = "spec.persistentvolumesource is immutable after creation\n";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
    }
    errors.immutable(&spec["volumeMode"], &before["volumeMode"], ROOT.child("volumeMode"));
    let attributes = "volumeAttributesClassName";
    if spec[attributes].is_null() && !before[attributes].is_null() {
        let detail = "update from non-nil value to nil is forbidden";
        errors.push(FieldError::forbidden("spec.volumeAttributesClassName", detail));
    }
}

fn capacity(capacity: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let count = capacity.as_object().map_or(0, Map::len);
    if count == 0 {
        errors.push(FieldError::required(path, ""));
    }
    if count > 1 || capacity["storage"].is_null() {
        errors.push(FieldError::not_supported_shown(path, &go::json(capacity), &["storage"]));
    }
    for (name, value) in members(capacity) {
        if quantity(value).is_some_and(|it| it.is_negative() || it.is_zero()) {
            errors.push(FieldError::invalid(path.key(name), value, "must be greater than zero"));
        }
    }
}

fn node_affinity(affinity: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let required = path.child("required");
    if affinity["required"].is_null() {
        errors.push(FieldError::required(required, "must specify required node constraints"));
        return;
    }
    let terms = "nodeSelectorTerms";
    if items(&affinity["required"][terms]).is_empty() {
        let detail = "must have at least one node selector term";
        errors.push(FieldError::required(required.child(terms), detail));
    }
    errors.each(&affinity["required"], terms, &required, node_term);
}

fn sources(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut count = 0;
    for (field, shown) in SOURCES.iter().filter(|(field, _)| !spec[*field].is_null()) {
        // kube-apiserver does not refuse a `flexVolume` beside another source.
        if count > 0 && !shown.is_empty() {
            errors.push(FieldError::forbidden(path.child(shown), "may not specify more than 1 volume type"));
            continue;
        }
        count += 1;
        // kube-apiserver has another name for it here.
        let shown = if *field == "gcePersistentDisk" { "persistentDisk" } else { field };
        source(field, &spec[*field], &path.child(shown), errors);
        if *field == "local" && spec["nodeAffinity"].is_null() {
            let detail = "Local volume requires node affinity";
            errors.push(FieldError::required(path.child("nodeAffinity"), detail));
        }
    }
    if count == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn source(field: &str, source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    match field {
        "local" => {
            if !errors.required(source, "path", path, "") {
                without_parents(text(source, "path"), &path.child("path"), errors);
            }
        }
        "hostPath" if errors.required(source, "path", path, "") => {}
        "hostPath" => host_path(source, path, errors),
        "csi" => csi(source, path, errors),
        "storageos" => storage_os(source, path, errors),
        "iscsi" => iscsi(source, path, errors),
        "azureFile" => azure_file(source, path, errors),
        _ => volume_sources::source(field, source, path, errors),
    }
}

fn storage_os(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required(source, "volumeName", path, "");
    if !text(source, "volumeName").is_empty() {
        errors.named(text(source, "volumeName"), names::dns1123_label, path.child("volumeName"));
    }
    let namespace = text(source, "volumeNamespace");
    if !namespace.is_empty() {
        errors.named(namespace, names::dns1123_label, path.child("volumeNamespace"));
    }
    let secret = &source["secretRef"];
    if !secret.is_null() {
        let path = path.child("secretRef");
        errors.required(secret, "name", &path, "");
        errors.required(secret, "namespace", &path, "");
    }
}

fn iscsi(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const FORMAT: &str = "must be valid format";
    errors.required(source, "targetPortal", path, "");
    errors.required(source, "iqn", path, "");
    volume_sources::iscsi(source, FORMAT, path, errors);
    if !source["secretRef"].is_null() {
        errors.required(&source["secretRef"], "name", &path.child("secretRef"), "");
    }
    volume_sources::initiator(source, FORMAT, path, errors);
}

fn azure_file(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required(source, "secretName", path, "");
    errors.required(source, "shareName", path, "");
    if source["secretNamespace"] == "" {
        let detail = "must not be empty";
        errors.push(FieldError::required(path.child("secretNamespace"), detail));
    }
}

fn csi(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    driver_name(source, "driver", path, errors);
    errors.required(source, "volumeHandle", path, "");
    for name in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let (reference, path) = (&source[name], path.child(name));
        if reference.is_null() {
            continue;
        }
        if !errors.required(reference, "name", &path, "") {
            errors.named(text(reference, "name"), names::dns1123_subdomain, path.child("name"));
        }
        if !errors.required(reference, "namespace", &path, "") {
            errors.named(text(reference, "namespace"), names::dns1123_label, path.child("namespace"));
        }
    }
}

/// Returns whether a path is the root, when it is cleaned.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}
