//! What a resource does to an object that is written: which parts of it are the client's, and what is checked.
//!
//! This is what apiserver calls a strategy. Custom resources follow their definition; built-in kinds follow the rules
//! that most of them share, and a few rules of their own.

use serde_json::{Map, Value, json};

use crate::builtin;
use crate::controllers::definition::is_established;
use crate::field::FieldError;
use crate::registry::Resource;
use crate::schema::{self, names};

/// An object's metadata, made if there is none.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    match &mut object["metadata"] {
        Value::Object(metadata) => metadata,
        // It was made an object above.
        _ => unreachable!(),
    }
}

/// Readies an object for its creation.
pub(crate) fn prepare_create(resource: &Resource, object: &mut Value) {
    if resource.custom.is_none() {
        builtin::prepare_create(resource, object);
    } else if resource.has_status() {
        remove(object, "status");
    }
    if has_generation(resource) {
        metadata(object).insert("generation".to_owned(), 1.into());
    } else {
        metadata(object).remove("generation");
    }
    match resource.kind.as_str() {
        "Namespace" if resource.group.is_empty() => label_namespace(object),
        "CustomResourceDefinition" => {
            let storage = object["spec"]["versions"]
                .as_array()
                .and_then(|versions| versions.iter().find(|version| version["storage"] == true))
                .map(|version| version["name"].clone());
            object["status"] = json!({
                "acceptedNames": {"kind": "", "plural": ""},
                "conditions": null,
                "storedVersions": storage.into_iter().collect::<Vec<_>>(),
            });
        }
        _ => {}
    }
}

/// Readies an object that replaces `old`, all of it or one of its subresources (`""` is all).
pub(crate) fn prepare_update(resource: &Resource, subresource: &str, new: &mut Value, old: &Value) {
    match subresource {
        "" | "scale" if resource.has_status() => copy(new, old, "status"),
        "" | "scale" => {}
        "finalize" => copy(new, old, "status"),
        "ephemeralcontainers" => {
            let mut kept = old.clone();
            copy(&mut kept["spec"], &new["spec"], "ephemeralContainers");
            copy(&mut kept["metadata"], &new["metadata"], "managedFields");
            *new = kept;
        }
        "approval" => {
            let mut kept = old.clone();
            if !kept["status"].is_object() {
                kept["status"] = json!({});
            }
            copy(&mut kept["status"], &new["status"], "conditions");
            copy(&mut kept["metadata"], &new["metadata"], "managedFields");
            *new = kept;
        }
        // The rest of the object is not this request's to write; custom resources keep their metadata whole.
        _ => {
            let mut kept = old.clone();
            copy(&mut kept, new, "status");
            if resource.custom.is_none() {
                copy(&mut kept, new, "metadata");
            }
            copy(&mut kept["metadata"], &new["metadata"], "managedFields");
            copy(&mut kept["metadata"], &new["metadata"], "resourceVersion");
            *new = kept;
        }
    }
    if resource.group.is_empty() && resource.kind == "Namespace" {
        label_namespace(new);
        if subresource.is_empty() {
            copy(&mut new["spec"], &old["spec"], "finalizers");
        }
    }
    if resource.custom.is_none() && subresource.is_empty() {
        builtin::prepare_update(resource, new, old);
    }
    if resource.kind == "CustomResourceDefinition" && subresource.is_empty() {
        store_version(new);
    }
    let generation = old["metadata"]["generation"].as_i64();
    let metadata = metadata(new);
    metadata.remove("selfLink");
    for kept in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        // Another uid is refused, not ignored.
        let given = kept == "uid" && metadata.get(kept).is_some_and(|uid| uid != "");
        if !given && !old["metadata"][kept].is_null() {
            metadata.insert(kept.to_owned(), old["metadata"][kept].clone());
        }
    }
    match generation {
        Some(generation) => metadata.insert("generation".to_owned(), generation.into()),
        None => metadata.remove("generation"),
    };
    if let Some(generation) = generation
        && subresource != "status"
        && changed(resource, new, old)
    {
        new["metadata"]["generation"] = (generation + 1).into();
    }
}

/// What is wrong with a new object, and warnings.
pub(crate) fn validate_create(resource: &Resource, object: &Value) -> (Vec<FieldError>, Vec<String>) {
    let mut errors = schema::validate_metadata(object, resource.namespaced);
    if let Some(wrong) = wrong_name(resource, object["metadata"]["name"].as_str().unwrap_or_default()) {
        errors.retain(|error| error.field != "metadata.name");
        errors.splice(0..0, wrong);
    }
    let mut warnings = Vec::new();
    if let Some(custom) = &resource.custom {
        let (wrong, odd) = custom.schema.validate_with_warnings(object, None);
        errors.extend(wrong);
        warnings = odd;
    }
    if resource.kind == "CustomResourceDefinition" {
        errors.extend(schema::validate_crd(object));
    }
    if resource.custom.is_none() {
        errors.extend(builtin::validate::create(&resource.group, &resource.kind, object));
    }
    (errors, warnings)
}

/// What is wrong with an object that replaces `old`, and warnings.
pub(crate) fn validate_update(
    resource: &Resource,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> (Vec<FieldError>, Vec<String>) {
    let mut errors = match resource.kind.as_str() {
        "CustomResourceDefinition" if subresource.is_empty() => {
            schema::validate_crd_update(new, old, is_established(old))
        }
        _ => schema::validate_metadata_update(new, old),
    };
    if resource.custom.is_none() && matches!(subresource, "" | "scale") {
        errors.extend(builtin::validate::update(&resource.group, &resource.kind, new, old));
    }
    if resource.custom.is_none() && subresource == "status" {
        errors.extend(builtin::validate::update_status(&resource.group, &resource.kind, new, old));
    }
    if subresource == "ephemeralcontainers" {
        errors.extend(wrong_ephemeral_containers(new, old));
    }
    let mut warnings = Vec::new();
    if let Some(custom) = &resource.custom {
        let (wrong, odd) = match subresource {
            "status" => custom.schema.validate_status(new, old),
            _ => custom.schema.validate_with_warnings(new, Some(old)),
        };
        errors.extend(wrong);
        warnings = odd;
    }
    (errors, warnings)
}

/// Ephemeral containers are added, and stay as they are.
fn wrong_ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.ephemeralContainers";
    fn list<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
        pod["spec"][field].as_array().map_or(&[], Vec::as_slice)
    }
    let (given, kept) = (list(new, "ephemeralContainers"), list(old, "ephemeralContainers"));
    let mut errors = Vec::new();
    for (index, container) in given.iter().enumerate() {
        let name = &container["name"];
        let others = list(new, "initContainers").iter().chain(list(new, "containers")).chain(&given[..index]);
        if others.into_iter().any(|other| other["name"] == *name) {
            errors.push(FieldError::duplicate(format_args!("{FIELD}[{index}].name"), name));
        }
    }
    for old in kept {
        let name = old["name"].as_str().unwrap_or_default();
        let why = match given.iter().find(|container| container["name"] == old["name"]) {
            Some(same) if same == old => continue,
            Some(_) => format!("existing ephemeral containers {name:?} may not be changed\n"),
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
        };
        errors.push(FieldError::forbidden(FIELD, &why));
    }
    errors
}

/// What is wrong with the name of a built-in kind whose names are not those of most; none for most kinds.
fn wrong_name(resource: &Resource, name: &str) -> Option<Vec<FieldError>> {
    if resource.custom.is_some() || name.is_empty() {
        return None;
    }
    let wrong = match resource.kind.as_str() {
        "Namespace" => names::dns1123_label(name),
        "Service" => names::dns1123_label(name),
        "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => names::path_segment(name),
        _ => return None,
    };
    let value = name.into();
    Some(wrong.iter().map(|why| FieldError::invalid("metadata.name", &value, why)).collect())
}

/// Whether a PUT may leave out the resourceVersion: the last writer wins.
pub(crate) fn allows_unconditional_update(resource: &Resource) -> bool {
    let others = [
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "ClusterTrustBundle",
        "CustomResourceDefinition",
        "Lease",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "PodCertificateRequest",
        "PodDisruptionBudget",
        "RuntimeClass",
        "StorageVersionMigration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    ];
    resource.custom.is_none() && !others.contains(&resource.kind.as_str())
}

/// Whether a PUT creates an object that is not there.
pub(crate) fn allows_create_on_update(resource: &Resource) -> bool {
    let kinds = [
        "ClusterRole",
        "ClusterRoleBinding",
        "Endpoints",
        "Event",
        "Lease",
        "LimitRange",
        "Role",
        "RoleBinding",
        "RuntimeClass",
        "Service",
    ];
    resource.custom.is_none() && kinds.contains(&resource.kind.as_str())
}

/// Whether the objects of a resource count the changes of what is asked for.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    resource.custom.is_some()
        || matches!(
            resource.kind.as_str(),
            "CustomResourceDefinition"
                | "CronJob"
                | "DaemonSet"
                | "Deployment"
                | "EndpointSlice"
                | "FlowSchema"
                | "HorizontalPodAutoscaler"
                | "Ingress"
                | "IngressClass"
                | "Job"
                | "MutatingWebhookConfiguration"
                | "NetworkPolicy"
                | "Pod"
                | "PodDisruptionBudget"
                | "PodTemplate"
                | "PriorityClass"
                | "PriorityLevelConfiguration"
                | "ReplicaSet"
                | "ReplicationController"
                | "StatefulSet"
                | "ValidatingAdmissionPolicy"
                | "ValidatingWebhookConfiguration"
        )
}

/// Whether anything changed that the generation counts: all but the metadata, and the status where that is written
/// apart.
fn changed(resource: &Resource, new: &Value, old: &Value) -> bool {
    let (Value::Object(new), Value::Object(old)) = (new, old) else { return false };
    let counts =
        |key: &str| !(key == "metadata" || key == "apiVersion" || (key == "status" && resource.has_status()));
    let counted = |object: &Map<String, Value>, other: &Map<String, Value>| {
        object.iter().any(|(key, value)| counts(key) && other.get(key) != Some(value))
    };
    counted(new, old) || counted(old, new)
}

/// `metadata.name` as a label, which every namespace has.
pub(crate) fn label_namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}

/// A definition's storage version is one that objects may have been stored in.
fn store_version(object: &mut Value) {
    let versions = object["spec"]["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(storage) = versions.iter().find(|version| version["storage"] == true) else { return };
    let name = storage["name"].clone();
    if let Some(Value::Array(stored)) = object.pointer_mut("/status/storedVersions")
        && !stored.contains(&name)
    {
        stored.push(name);
    }
}

fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}

/// Makes a field of `to` what it is in `from`, absent if it is absent there.
fn copy(to: &mut Value, from: &Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}
