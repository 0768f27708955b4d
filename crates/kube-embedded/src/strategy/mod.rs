//! How a write changes an object: which parts the client may write, which are filled in, and which are checked.
//!
//! apiserver calls this a strategy. Custom resources follow their definition. Built-in kinds follow the rules that most
//! of them share, and a few rules of their own. Everything here is a pure function of objects.

pub(crate) mod aggregation;
mod builtin;
mod certificate;
pub(crate) mod conditions;
pub(crate) mod definition;
#[cfg(feature = "cel")]
pub(crate) mod expression;
#[cfg(not(feature = "cel"))]
mod expression {
    //! Without CEL, expressions are not checked.

    pub(super) struct Compiler;

    impl Compiler {
        pub(super) fn new(_: &str, _: &serde_json::Value) -> Self {
            Self
        }

        pub(super) fn compile(&mut self, _: &kube_builtin::validate::Expression<'_>) -> Result<(), String> {
            Ok(())
        }
    }
}
mod metadata;
pub(crate) mod pod;
mod resize;
pub(crate) mod scale;
mod service;

use kube_builtin::TypeMismatch;
use kube_builtin::validate::Expression;
use kube_schema::crd::ParseSchema;
use kube_schema::{Schema, Validation};
use kube_validation::go::quote;
use kube_validation::{FieldError, names};
use serde_json::{Map, Value, json};

use self::expression::Compiler;
use self::metadata::{copy, finalizer_warnings};
pub(crate) use self::metadata::{
    has_finalizer, is_deleted, is_finished, metadata, owner_references, remove_finalizer,
    remove_repeated_owners, texts,
};
use crate::resource::{
    CERTIFICATE_SIGNING_REQUEST, CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT, NAMESPACE, POD, Resource,
    empty_metadata,
};
use crate::user::User;

/// Converts an object to the form in which it is stored: removes fields that its type does not have, and adds defaults.
/// Returns the removed paths in quotes, or an error in Go's wording if a value has the wrong type.
pub(crate) fn normalize(resource: &Resource, object: &mut Value) -> Result<Vec<String>, TypeMismatch> {
    let Some(schema) = resource.schema() else { return normalize_builtin(resource, object) };
    let removed = decode_custom(schema, object)?;
    schema.apply_defaults(object);
    Ok(removed)
}

/// As [`normalize`], for the result of an apply. There, a null in a custom resource stays unless there is a default for it, so
/// that the validation refuses it. Empty labels and the like stay, too: kube-apiserver stores them.
pub(crate) fn normalize_applied(resource: &Resource, object: &mut Value) -> Result<(), String> {
    let Some(schema) = resource.schema() else {
        return normalize_builtin(resource, object).map(drop).map_err(|error| error.to_string());
    };
    let empty: Vec<_> =
        empty_metadata(object).map(|field| (field.to_owned(), object["metadata"][field].clone())).collect();
    decode_custom(schema, object)?;
    metadata(object).extend(empty);
    schema.fill_defaults(object);
    Ok(())
}

/// Decodes the metadata of a custom resource and of the resources in it, and removes fields that its schema does not have.
fn decode_custom(schema: &Schema, object: &mut Value) -> Result<Vec<String>, String> {
    let mut removed = Vec::new();
    if let Some(metadata) = object.get_mut("metadata") {
        let decoded = kube_builtin::decode_metadata(metadata).map_err(|error| error.to_string())?;
        *metadata = decoded.object;
        removed.extend(decoded.unknown.iter().map(|path| format!("metadata.{path}")));
    }
    removed.extend(schema.prune(object));
    // Pruning has removed and reported what their metadata does not have.
    let decode_metadata = |metadata: &Value| match kube_builtin::decode_metadata(metadata) {
        Ok(decoded) => Ok(decoded.object),
        Err(error) => Err(error.to_string()),
    };
    schema.decode_embedded(object, &decode_metadata).map_err(|error| error.to_string())?;
    // kube-apiserver escapes nothing in the paths of custom resources.
    Ok(removed.iter().map(|path| format!("\"{path}\"")).collect())
}

fn normalize_builtin(resource: &Resource, object: &mut Value) -> Result<Vec<String>, TypeMismatch> {
    let Some(decoded) = kube_builtin::decode(&resource.api_version(), &resource.kind, object) else {
        return Ok(Vec::new());
    };
    let kube_builtin::Decoded { object: typed, unknown, .. } = decoded?;
    *object = typed;
    kube_builtin::apply_defaults(&resource.group, &resource.kind, object);
    match resource.group_kind() {
        CUSTOM_RESOURCE_DEFINITION => kube_schema::crd::apply_defaults(object),
        NAMESPACE if object["metadata"]["name"].is_string() => label_namespace(object),
        _ => {}
    }
    Ok(unknown.iter().map(quote).collect())
}

/// Prepares a new object, which a user creates.
pub(crate) fn prepare_create(resource: &Resource, object: &mut Value, user: &User) {
    if let Some(stored) = resource.stored_in() {
        kube_builtin::convert(object, stored);
        prepare_stored_create(resource, object, user);
        kube_builtin::convert(object, &resource.api_version());
    } else {
        prepare_stored_create(resource, object, user);
    }
}

fn prepare_stored_create(resource: &Resource, object: &mut Value, user: &User) {
    if resource.custom.is_none() {
        builtin::prepare_create(resource, object, user);
    } else if resource.has_status() {
        remove(object, "status");
    }
    if has_generation(resource) {
        metadata(object).insert("generation".to_owned(), 1.into());
    } else {
        metadata(object).remove("generation");
    }
    match resource.group_kind() {
        NAMESPACE => label_namespace(object),
        CUSTOM_RESOURCE_DEFINITION => definition::prepare_create(object),
        _ => {}
    }
}

/// Prepares an object that replaces `old`, in whole or by one of its subresources (`""` for the whole).
pub(crate) fn prepare_update(resource: &Resource, subresource: &str, new: &mut Value, old: &Value) {
    if let Some(stored) = resource.stored_in() {
        // Annotations of this version may say what is in the status of that one.
        let mut old = old.clone();
        kube_builtin::convert(&mut old, stored);
        kube_builtin::convert(new, stored);
        prepare_stored_update(resource, subresource, new, &old);
        kube_builtin::convert(new, &resource.api_version());
    } else {
        prepare_stored_update(resource, subresource, new, old);
    }
}

fn prepare_stored_update(resource: &Resource, subresource: &str, new: &mut Value, old: &Value) {
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
        "resize" => resize::prepare(new, old),
        // This request may not write the rest of the object.
        _ => {
            let mut kept = old.clone();
            copy(&mut kept, new, "status");
            if !keeps_metadata(resource) {
                copy(&mut kept, new, "metadata");
            }
            match resource.group_kind() {
                // kube-apiserver: old kubelets corrupt them.
                POD => {
                    copy(&mut kept["metadata"], &old["metadata"], "ownerReferences");
                    pod::keep_status(&mut kept, old);
                }
                DEPLOYMENT => copy(&mut kept["metadata"], &old["metadata"], "labels"),
                _ => {}
            }
            copy(&mut kept["metadata"], &new["metadata"], "managedFields");
            copy(&mut kept["metadata"], &new["metadata"], "resourceVersion");
            *new = kept;
        }
    }
    if resource.group_kind() == NAMESPACE {
        label_namespace(new);
        if subresource.is_empty() {
            copy(&mut new["spec"], &old["spec"], "finalizers");
        }
    }
    if resource.custom.is_none() && subresource.is_empty() {
        builtin::prepare_update(resource, new, old);
    }
    if resource.group_kind() == CUSTOM_RESOURCE_DEFINITION && subresource.is_empty() {
        definition::prepare_update(new);
    }
    let generation = old["metadata"]["generation"].as_i64();
    let metadata = metadata(new);
    metadata.remove("selfLink");
    for kept in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        // A different uid is refused later, not ignored.
        let given = kept == "uid" && metadata.get(kept).is_some_and(|uid| uid != "");
        if !given && !old["metadata"][kept].is_null() {
            metadata.insert(kept.to_owned(), old["metadata"][kept].clone());
        }
    }
    match generation {
        Some(generation) => metadata.insert("generation".to_owned(), generation.into()),
        None => metadata.remove("generation"),
    };
    // The generation of a PriorityClass is always 1.
    let counts_changes = resource.custom.is_some() || resource.kind != "PriorityClass";
    // A new CSIDriver has none, and its changes are counted.
    let is_driver = resource.group == "storage.k8s.io" && resource.kind == "CSIDriver";
    if let Some(generation) = generation.or(is_driver.then_some(0))
        && counts_changes
        && subresource != "status"
        && changed(resource, new, old)
    {
        new["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Validates a new object. Returns errors and warnings. `parse` parses the schemas of a definition.
pub(crate) fn validate_create(resource: &Resource, object: &Value, parse: ParseSchema<'_>) -> Validation {
    let mut errors = match resource.group_kind() {
        // This includes its metadata.
        CUSTOM_RESOURCE_DEFINITION => kube_schema::crd::validate_with(object, parse),
        _ => kube_schema::metadata::validate(object, resource.namespaced),
    };
    if let Some(wrong) = wrong_name(resource, object) {
        errors.retain(|error| error.field != "metadata.name");
        errors.splice(0..0, wrong);
    }
    let mut warnings = Vec::new();
    if let Some(schema) = resource.schema() {
        let found = schema.validate(object, None, resource.scale(), errors);
        (errors, warnings) = (found.errors, found.warnings);
        if errors.is_empty() {
            warnings.extend(finalizer_warnings(object, &Value::Null));
        }
    }
    if resource.custom.is_none() {
        let (group, kind) = (&resource.group, &resource.kind);
        let mut compiler = Compiler::new(kind, object);
        let mut compile = |it: &Expression<'_>| compiler.compile(it);
        errors.extend(kube_builtin::validate::create_with(group, kind, object, &mut compile));
        // kube-apiserver looks for them after the validation.
        if errors.is_empty() {
            warnings.extend(kube_builtin::warnings::create(group, kind, object));
        }
    }
    if resource.group_kind() == CUSTOM_RESOURCE_DEFINITION && errors.is_empty() {
        warnings.extend(kube_schema::crd::warnings(object, None));
    }
    Validation { errors, warnings }
}

/// Validates an object that replaces `old`. Returns errors and warnings. `parse` parses the schemas of a definition.
pub(crate) fn validate_update(
    resource: &Resource,
    subresource: &str,
    new: &Value,
    old: &Value,
    parse: ParseSchema<'_>,
) -> Validation {
    // kube-apiserver checks the metadata of all kinds, and then each kind checks its own again. Definitions and custom
    // resources repeat the errors.
    let mut errors = kube_schema::metadata::validate_replacing(new, resource.namespaced);
    let of_update = kube_schema::metadata::validate_update(new, old);
    let is_definition = resource.group_kind() == CUSTOM_RESOURCE_DEFINITION;
    if is_definition || resource.custom.is_some() {
        errors.extend(of_update.iter().cloned());
        errors.extend(match is_definition && subresource.is_empty() {
            true => kube_schema::crd::validate_update_with(new, old, definition::is_established(old), parse),
            false => of_update,
        });
    } else {
        let others: Vec<_> = of_update.into_iter().filter(|error| !errors.contains(error)).collect();
        errors.extend(others);
    }
    if resource.custom.is_none() && matches!(subresource, "" | "scale") {
        let (group, kind) = (&resource.group, &resource.kind);
        let mut compiler = Compiler::new(kind, new);
        let mut compile = |it: &Expression<'_>| compiler.compile(it);
        errors.extend(kube_builtin::validate::update_with(group, kind, new, old, &mut compile));
    }
    if resource.custom.is_none() && subresource == "status" {
        errors.extend(kube_builtin::validate::update_status(&resource.group, &resource.kind, new, old));
    }
    match subresource {
        "ephemeralcontainers" => errors.extend(pod::validate_ephemeral_containers(new, old)),
        "resize" => errors.extend(resize::validate(new, old)),
        _ => {}
    }
    let mut warnings = Vec::new();
    if resource.custom.is_none() && errors.is_empty() {
        let (group, kind) = (&resource.group, &resource.kind);
        warnings.extend(match subresource {
            "" | "scale" => kube_builtin::warnings::update(group, kind, new, old),
            "status" => kube_builtin::warnings::update_status(group, kind, new),
            _ => Vec::new(),
        });
    }
    if is_definition && subresource.is_empty() && errors.is_empty() {
        warnings.extend(kube_schema::crd::warnings(new, Some(old)));
    }
    if let Some(schema) = resource.schema() {
        let found = match subresource {
            "status" => schema.validate_status(new, old, resource.scale(), errors),
            _ => schema.validate(new, Some(old), resource.scale(), errors),
        };
        (errors, warnings) = (found.errors, found.warnings);
        if subresource != "status" && errors.is_empty() {
            warnings.extend(finalizer_warnings(new, old));
        }
    }
    Validation { errors, warnings }
}

/// The errors in the name of an object of a kind that has its own rules for names. `None` for most kinds.
fn wrong_name(resource: &Resource, object: &Value) -> Option<Vec<FieldError>> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if resource.custom.is_some() || name.is_empty() {
        return None;
    }
    let wrong = match resource.kind.as_str() {
        "Namespace" | "StatefulSet" => names::dns1123_label(name),
        "Service" => names::dns1123_label(name),
        "IPAddress" => kube_builtin::canonical_address(name),
        "APIService"
        | "CertificateSigningRequest"
        | "ClusterRole"
        | "ClusterRoleBinding"
        | "Role"
        | "RoleBinding" => names::path_segment(name),
        "ClusterTrustBundle" => {
            certificate::wrong_bundle_name(name, object["spec"]["signerName"].as_str().unwrap_or_default())
        }
        _ => return None,
    };
    let value = name.into();
    Some(wrong.iter().map(|why| FieldError::invalid("metadata.name", &value, why)).collect())
}

/// Whether a PUT may omit the resourceVersion, so that the last write wins.
pub(crate) fn allows_unconditional_update(resource: &Resource) -> bool {
    let others = [
        "APIService",
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

/// Whether a PUT creates an object that does not exist.
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

/// Whether the objects of a resource have a `generation`, which counts the changes of the desired state.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    resource.custom.is_some()
        || matches!(
            resource.kind.as_str(),
            "CustomResourceDefinition"
                | "CronJob"
                | "DaemonSet"
                | "Deployment"
                | "DeviceClass"
                | "DeviceTaintRule"
                | "EndpointSlice"
                | "FlowSchema"
                | "HorizontalPodAutoscaler"
                | "Ingress"
                | "IngressClass"
                | "Job"
                | "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
                | "MutatingWebhookConfiguration"
                | "NetworkPolicy"
                | "Pod"
                | "PodDisruptionBudget"
                | "PodTemplate"
                | "PriorityClass"
                | "PriorityLevelConfiguration"
                | "ReplicaSet"
                | "ReplicationController"
                | "ResourceSlice"
                | "StatefulSet"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
                | "ValidatingWebhookConfiguration"
        )
}

/// Whether a write of the status leaves the metadata as it is, as kube-apiserver's `ResetObjectMetaForStatus` does.
fn keeps_metadata(resource: &Resource) -> bool {
    let kinds = [
        "APIService",
        "CSINode",
        "DeviceTaintRule",
        "FlowSchema",
        "PodCertificateRequest",
        "PriorityLevelConfiguration",
        "ResourceClaim",
        "ServiceCIDR",
        "StorageVersion",
        "StorageVersionMigration",
        "ValidatingAdmissionPolicy",
        "VolumeAttachment",
    ];
    resource.custom.is_some() || kinds.contains(&resource.kind.as_str())
}

/// The fields that a request cannot write by a subresource (`""` for the whole object), and of which its author therefore never
/// becomes an owner: `GetResetFields` of kube-apiserver's strategies.
pub(crate) fn reset_fields(resource: &Resource, subresource: &str) -> &'static [&'static [&'static str]] {
    match (subresource, resource.group_kind()) {
        ("", CERTIFICATE_SIGNING_REQUEST) => &[&["spec"], &["status"]],
        ("approval", CERTIFICATE_SIGNING_REQUEST) => &[&["spec"], &["status", "certificate"]],
        ("status", CERTIFICATE_SIGNING_REQUEST) => &[&["spec"], &["status", "conditions"]],
        ("status", DEPLOYMENT) => &[&["spec"], &["metadata", "labels"]],
        ("status", POD) => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
        ("status", _) if keeps_metadata(resource) => &[&["metadata"], &["spec"]],
        ("status", _) => &[&["spec"]],
        ("" | "finalize", _) if resource.has_status() => &[&["status"]],
        _ => &[],
    }
}

/// Whether anything changed that the generation counts: everything except the metadata, and except the status if it has
/// a subresource. Of a Deployment, the annotations count, too: its ReplicaSets get them.
fn changed(resource: &Resource, new: &Value, old: &Value) -> bool {
    if resource.group_kind() == DEPLOYMENT && new["metadata"]["annotations"] != old["metadata"]["annotations"]
    {
        return true;
    }
    let (Value::Object(new), Value::Object(old)) = (new, old) else { return false };
    let counts =
        |key: &str| !(key == "metadata" || key == "apiVersion" || (key == "status" && resource.has_status()));
    let counted = |object: &Map<String, Value>, other: &Map<String, Value>| {
        object.iter().any(|(key, value)| counts(key) && other.get(key) != Some(value))
    };
    counted(new, old) || counted(old, new)
}

/// Adds `metadata.name` as a label, which every namespace has.
fn label_namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}

fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}
