//! Where the volumes of Pods are from: `validateVolumeSource`.

use std::collections::HashSet;

use kube_validation::{FieldError, FieldPath, Quantity, names};
use serde_json::Value;

use super::errors::{Errors, items, text};
use super::field_refs::{field_ref, resource_ref};
use super::security::{descending, without_parents};
use super::storage;

/// The sources in the order in which kube-apiserver checks them, with the fields that they need. The first one counts.
const SOURCES: [(&str, &[&str]); 29] = [
    ("emptyDir", &[]),
    ("hostPath", &["path"]),
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("secret", &["secretName"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("flocker", &[]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("quobyte", &[]),
    ("downwardAPI", &[]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("configMap", &["name"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("projected", &[]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("csi", &["driver"]),
    ("ephemeral", &["volumeClaimTemplate"]),
    ("image", &["reference"]),
];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Checks the sources of a volume, of which there is to be one.
pub(super) fn check(volume: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let given = SOURCES.iter().filter(|(source, _)| !volume[*source].is_null());
    for (index, (source, needed)) in given.enumerate() {
        if index > 0 {
            let detail = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(path.child(source), detail));
            continue;
        }
        // kube-apiserver has another name for it here.
        let shown = if *source == "gcePersistentDisk" { "persistentDisk" } else { source };
        required(needed, &volume[*source], &path.child(shown), errors);
        details(source, &volume[*source], &path.child(shown), errors);
    }
}

/// Checks a source, also of a PersistentVolume.
pub(super) fn source(source: &str, value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if let Some((_, needed)) = SOURCES.iter().find(|(known, _)| *known == source) {
        required(needed, value, path, errors);
        details(source, value, path, errors);
    }
}

fn required(needed: &[&str], value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in needed {
        if is_empty(&value[*field]) {
            errors.push(FieldError::required(path.child(field), ""));
        }
    }
}

/// Checks what a source has besides the fields that it needs.
fn details(source: &str, value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    match source {
        "emptyDir" => {
            let size = value["sizeLimit"].as_str().and_then(|size| size.parse::<Quantity>().ok());
            if size.is_some_and(Quantity::is_negative) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(path.child("sizeLimit"), detail));
            }
        }
        "hostPath" => host_path(value, path, errors),
        "gitRepo" => descending(text(value, "directory"), &path.child("directory"), errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let partition = &value["partition"];
            if partition.as_i64().is_some_and(|number| !(0..=255).contains(&number)) {
                let detail = "must be between 1 and 255, inclusive";
                errors.push(FieldError::invalid(path.child("partition"), partition, detail));
            }
        }
        "nfs" if !text(value, "path").starts_with('/') => {
            let place = text(value, "path").into();
            errors.push(FieldError::invalid(path.child("path"), &place, "must be an absolute path"));
        }
        "flocker" => flocker(value, path, errors),
        "iscsi" => {
            iscsi(value, "must be valid format starting with iqn, eui, or naa", path, errors);
            initiator(value, "must be valid format starting with iqn, eui, or naa", path, errors);
        }
        "quobyte" => quobyte(value, path, errors),
        "azureDisk" => azure_disk(value, path, errors),
        "cinder" if !value["secretRef"].is_null() => {
            errors.required(&value["secretRef"], "name", &path.child("secretRef"), "");
        }
        "fc" => fibre_channel(value, path, errors),
        "secret" | "configMap" => {
            mode(value, "defaultMode", path, errors);
            errors.each(value, "items", path, key_to_path);
        }
        "downwardAPI" => {
            mode(value, "defaultMode", path, errors);
            items(&value["items"]).iter().for_each(|file| downward_file(file, path, errors));
        }
        "projected" => projected(value, path, errors),
        "csi" => {
            let driver = text(value, "driver");
            if !driver.is_empty() {
                let wrong = names::dns1123_subdomain(&driver.to_lowercase());
                for why in wrong {
                    errors.push(FieldError::invalid(path.child("driver"), &driver.into(), &why));
                }
            }
            if !value["nodePublishSecretRef"].is_null() {
                let secret = path.child("nodePublishSecretRef");
                errors.required(&value["nodePublishSecretRef"], "name", &secret, "");
            }
        }
        "ephemeral" => ephemeral(&value["volumeClaimTemplate"], &path.child("volumeClaimTemplate"), errors),
        "image" => {
            let policies = ["Always", "IfNotPresent", "Never"];
            errors.one_of(&value["pullPolicy"], &policies, path.child("pullPolicy"));
        }
        _ => {}
    }
}

fn flocker(value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (name, uuid) = (text(value, "datasetName"), text(value, "datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required"));
    } else if !name.is_empty() && !uuid.is_empty() {
        let detail = "resource and resourceID can not be specified simultaneously";
        errors.push(FieldError::invalid(path, &"resource".into(), detail));
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(path.child("datasetName"), &name.into(), "must not contain '/'"));
    }
}

/// Checks a target of iSCSI. `other`: what to say if its name has none of the known formats.
pub(super) fn iscsi(value: &Value, other: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let name = text(value, "iqn");
    if !name.is_empty() {
        iscsi_name(name, other, path.child("iqn"), errors);
    }
    errors.within(&value["lun"], 0, 255, path.child("lun"));
    let has_auth = value["chapAuthDiscovery"] == true || value["chapAuthSession"] == true;
    if has_auth && value["secretRef"].is_null() {
        errors.push(FieldError::required(path.child("secretRef"), ""));
    }
}

/// Checks the name under which a node connects to a target.
pub(super) fn initiator(value: &Value, other: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if let Some(name) = value["initiatorName"].as_str() {
        iscsi_name(name, other, path.child("initiatorname"), errors);
    }
}

fn iscsi_name(name: &str, other: &str, path: FieldPath<'_>, errors: &mut Errors) {
    let has_rest = |rest: Option<&str>, length: usize| {
        let is_rest = |rest: &str| rest.len() == length && rest.bytes().all(|c| c.is_ascii_alphanumeric());
        rest.is_some_and(is_rest)
    };
    let is_valid = match name.get(..3) {
        Some("iqn") => is_qualified(name),
        Some("eui") => has_rest(name.get(4..), 16),
        Some("naa") => has_rest(name.get(4..), 32),
        _ => {
            errors.push(FieldError::invalid(path, &name.into(), other));
            return;
        }
    };
    if !is_valid {
        errors.push(FieldError::invalid(path, &name.into(), "must be valid format"));
    }
}

/// Whether a text has a qualified name of iSCSI, such as `iqn.2001-04.com.example:storage`.
fn is_qualified(name: &str) -> bool {
    let is_number =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|c| c.is_ascii_digit());
    let is_domain = |domain: &str| {
        !domain.is_empty() && domain.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.'))
    };
    let is_rest = |rest: &str| {
        !rest.is_empty() && !rest.contains(|c: char| c.is_ascii_whitespace() || ",;*&$|".contains(c))
    };
    let Some((date, rest)) = name.strip_prefix("iqn.").and_then(|name| name.split_once('.')) else {
        return false;
    };
    let (Some((year, month)), Some((domain, rest))) = (date.split_once('-'), rest.split_once(':')) else {
        return false;
    };
    is_number(year, 4) && is_number(month, 2) && is_domain(domain) && is_rest(rest)
}

pub(super) fn quobyte(value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(value, "registry");
    if registry.is_empty() {
        errors.push(FieldError::required(path.child("registry"), PAIRS));
    } else if text(value, "tenant").len() > 64 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(path.child("tenant"), detail));
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.push(FieldError::invalid(path.child("registry"), &registry.into(), PAIRS));
        }
    }
    errors.required(value, "volume", path, "");
}

/// Whether Go splits a text into a host, in brackets if it has colons, and a port.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_bracket = |c: char| c == '[' || c == ']';
    match inner {
        Some(inner) => !inner.contains(is_bracket) && !port.contains(is_bracket),
        None => !host.contains(|c| c == ':' || is_bracket(c)) && !port.contains(is_bracket),
    }
}

pub(super) fn azure_disk(value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let modes = ["None", "ReadOnly", "ReadWrite"];
    errors.one_of(&value["cachingMode"], &modes, path.child("cachingMode"));
    errors.one_of(&value["kind"], &["Dedicated", "Managed", "Shared"], path.child("kind"));
    let (prefix, form) = match value["kind"].as_str() {
        None => return,
        Some("Managed") => ("/subscriptions/", MANAGED),
        Some(_) => ("https://", BLOB),
    };
    let disk = text(value, "diskURI");
    if !disk.starts_with(prefix) {
        errors.push(FieldError::not_supported(path.child("diskURI"), &disk.into(), &[form]));
    }
}

/// Checks where certificates of authorities are from.
fn trust_bundle(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (name, signer) = (&source["name"], &source["signerName"]);
    match (name.is_null(), signer.is_null()) {
        (true, true) => {
            errors.push(FieldError::required(path, "either name or signerName must be specified"));
        }
        (false, false) => {
            let shown = format!(
                r#"{{"Name":{name},"SignerName":{signer},"LabelSelector":{},"Optional":{},"Path":{},"User":null}}"#,
                source["labelSelector"],
                source["optional"],
                Value::from(text(source, "path"))
            );
            errors.push(FieldError::invalid_shown(
                path,
                &shown,
                "only one of name and signerName may be used",
            ));
        }
        _ => {}
    }
    errors.required(source, "path", path, "");
}

fn fibre_channel(value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (targets, ids) = (items(&value["targetWWNs"]), items(&value["wwids"]));
    if targets.is_empty() && ids.is_empty() {
        let detail = "must specify either targetWWNs or wwids, but not both";
        errors.push(FieldError::required(path.child("targetWWNs"), detail));
    }
    if !targets.is_empty() && !ids.is_empty() {
        let detail = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(path.child("targetWWNs"), &value["targetWWNs"], detail));
    }
    if !targets.is_empty() {
        if value["lun"].is_null() {
            let detail = "lun is required if targetWWNs is specified";
            errors.push(FieldError::required(path.child("lun"), detail));
        }
        errors.within(&value["lun"], 0, 255, path.child("lun"));
    }
}

/// Checks the template of a claim, which gets its name from the Pod and the volume.
fn ephemeral(template: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if template.is_null() {
        return;
    }
    let metadata = path.child("metadata");
    if !text(&template["metadata"], "name").is_empty() {
        errors.push(FieldError::forbidden(metadata.child("name"), "cannot be set"));
    }
    storage::claim_spec(&template["spec"], &path.child("spec"), errors);
}

fn mode(object: &Value, field: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if object[field].as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.push(FieldError::invalid(path.child(field), &object[field], MODE));
    }
}

/// Refuses a path that does not lead below where it starts, or that Kubernetes itself uses.
fn own_path(place: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    descending(place, path, errors);
    if place.starts_with("..") && place != ".." && !place.starts_with("../") {
        errors.push(FieldError::invalid(*path, &place.into(), "must not start with '..'"));
    }
}

/// Checks where a key of a map is.
fn key_to_path(item: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required(item, "key", path, "");
    errors.required(item, "path", path, "");
    own_path(text(item, "path"), &path.child("path"), errors);
    mode(item, "mode", path, errors);
}

/// Checks a file with a field of the Pod. kube-apiserver reports errors at the volume.
fn downward_file(file: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required(file, "path", path, "");
    own_path(text(file, "path"), &path.child("path"), errors);
    let resource = &file["resourceFieldRef"];
    if !file["fieldRef"].is_null() {
        downward_field(&file["fieldRef"], &path.child("fieldRef"), errors);
        if !resource.is_null() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(path, &"resource".into(), detail));
        }
    } else if !resource.is_null() {
        let reference = path.child("resourceFieldRef");
        errors.required(resource, "containerName", &reference, "");
        resource_ref(resource, &reference, errors);
    } else {
        errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
    }
    mode(file, "mode", path, errors);
}

/// Checks a field of the Pod that can be a file.
fn downward_field(field: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KNOWN: [&str; 5] =
        ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
    if errors.required(field, "fieldPath", path, "") {
        return;
    }
    let before = errors.all.len();
    field_ref(field, path, errors);
    let (name, value) = (text(field, "fieldPath"), &field["fieldPath"]);
    if errors.all.len() == before && !name.contains('[') && !KNOWN.contains(&name) {
        errors.push(FieldError::not_supported(path.child("fieldPath"), value, &KNOWN));
    }
}

/// Checks the sources of a projected volume, whose files are side by side.
fn projected(volume: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    mode(volume, "defaultMode", path, errors);
    let list = path.child("sources");
    let mut places = HashSet::new();
    for (index, source) in items(&volume["sources"]).iter().enumerate() {
        let at = list.index(index);
        for kind in ["secret", "configMap"] {
            let map = &source[kind];
            if map.is_null() {
                continue;
            }
            let map_path = at.child(kind);
            errors.required(map, "name", &map_path, "");
            errors.each(map, "items", &map_path, key_to_path);
            for item in items(&map["items"]) {
                unique(&mut places, text(item, "path"), &map["name"], path, errors);
            }
        }
        for file in items(&source["downwardAPI"]["items"]) {
            downward_file(file, &at.child("downwardAPI"), errors);
            unique(&mut places, text(file, "path"), &file["path"], path, errors);
        }
        let token = &source["serviceAccountToken"];
        if !token.is_null() {
            let seconds = &token["expirationSeconds"];
            let token_path = at.child("serviceAccountToken");
            let detail = match seconds.as_i64() {
                Some(..600) => "may not specify a duration less than 10 minutes",
                Some(4_294_967_297..) => "may not specify a duration larger than 2^32 seconds",
                _ => "",
            };
            if !detail.is_empty() {
                errors.push(FieldError::invalid(token_path.child("expirationSeconds"), seconds, detail));
            }
            errors.required(token, "path", path, "");
            own_path(text(token, "path"), &path.child("path"), errors);
        }
        if source["clusterTrustBundle"].is_object() {
            trust_bundle(&source["clusterTrustBundle"], &at.child("clusterTrustBundle"), errors);
        }
        let kinds = [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ];
        if kinds.iter().filter(|kind| !source[**kind].is_null()).count() > 1 {
            errors.push(FieldError::forbidden(at, "may not specify more than 1 volume type per source"));
        }
    }
}

/// Refuses a second file at a place. `shown`: what kube-apiserver shows of it.
fn unique<'a>(
    places: &mut HashSet<&'a str>,
    place: &'a str,
    shown: &Value,
    path: &FieldPath<'_>,
    errors: &mut Errors,
) {
    if !place.is_empty() && !places.insert(place) {
        errors.push(FieldError::invalid(*path, shown, "conflicting duplicate paths"));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Checks a `hostPath` that has a `path`.
pub(super) fn host_path(source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    without_parents(text(source, "path"), &path.child("path"), errors);
    let types =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    errors.one_of(&source["type"], &types, path.child("type"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_names_of_iscsi_have_a_date_a_domain_and_a_rest() {
        assert!(is_qualified("iqn.2001-04.com.example:storage.disk1"));
        for bad in ["iqn.2001-04", "iqn.2001-04.com.example", "iqn.201-04.a:b", "iqn.2001-04.a:b c"] {
            assert!(!is_qualified(bad), "{bad}");
        }
    }

    #[test]
    fn registries_are_hosts_with_ports() {
        for good in ["a:1", ":1", "a:", "[::1]:2"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["a", "a:b:c", "[::1]", "a]:1"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
