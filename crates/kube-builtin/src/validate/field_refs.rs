//! References to fields of the Pod and of its containers, in variables and files.

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use super::errors::{Errors, text};

/// Checks a reference to a field of the Pod.
pub(super) fn field_ref(field: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KNOWN: [&str; 10] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
    ];
    if field.is_null() || errors.required(field, "fieldPath", path, "") {
        return;
    }
    let name = text(field, "fieldPath");
    let plain = name.split('[').next().unwrap_or_default();
    if !KNOWN.contains(&plain)
        && !["status.podIPs", "spec.restartPolicy", "spec.schedulerName"].contains(&plain)
    {
        let detail = format!("error converting fieldPath: field label not supported: {name}");
        errors.push(FieldError::invalid(path.child("fieldPath"), &name.into(), &detail));
    }
}

/// Checks a reference to what a container requests, or is limited to.
pub(super) fn resource_ref(field: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KNOWN: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    if field.is_null() || errors.required(field, "resource", path, "") {
        return;
    }
    let name = text(field, "resource");
    if !KNOWN.contains(&name) && !name.contains("hugepages-") {
        errors.push(FieldError::not_supported(path.child("resource"), &field["resource"], &KNOWN));
    }
}
