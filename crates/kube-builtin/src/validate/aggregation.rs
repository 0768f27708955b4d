//! APIServices: `pkg/apis/apiregistration/validation` of kube-aggregator.

use kube_validation::{FieldError, FieldPath, go::quote, names};
use serde_json::Value;

use super::errors::{Errors, items, port_number, text};

const SPEC: FieldPath<'static> = FieldPath::Root("spec");

pub(super) fn check(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let (name, group, version) =
        (text(&object["metadata"], "name"), text(spec, "group"), text(spec, "version"));
    let required = format!("{version}.{group}");
    if !name.is_empty() && name != required && names::path_segment(name).is_empty() {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {}", quote(&required));
        errors.push(FieldError::invalid("metadata.name", &name.into(), &detail));
    }
    if !group.is_empty() {
        errors.named(group, names::dns1123_subdomain, SPEC.child("group"));
    } else if version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(SPEC.child("group"), detail));
    }
    errors.named(version, names::dns1035_label, SPEC.child("version"));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        if !spec[field].as_i64().is_some_and(|priority| (1..=most).contains(&priority)) {
            let detail = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(SPEC.child(field), &spec[field], &detail));
        }
    }
    let insecure = spec["insecureSkipTLSVerify"] == true;
    let bundle = decoded_len(text(spec, "caBundle"));
    let skips_verify =
        |detail: &str| FieldError::invalid(SPEC.child("insecureSkipTLSVerify"), &true.into(), detail);
    let service = &spec["service"];
    if service.is_null() {
        if bundle > 0 {
            let detail = "local APIServices may not have a caBundle";
            let shown = format!("{bundle} bytes");
            errors.push(FieldError::invalid(SPEC.child("caBundle"), &shown.into(), detail));
        }
        if insecure {
            errors.push(skips_verify("local APIServices may not have insecureSkipTLSVerify"));
        }
        return;
    }
    let path = SPEC.child("service");
    for field in ["namespace", "name"] {
        errors.required(service, field, &path, "");
    }
    if !port_number(&service["port"]) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(path.child("port"), &service["port"], detail));
    }
    if insecure && bundle > 0 {
        errors.push(skips_verify("may not be true if caBundle is present"));
    }
}

/// How many bytes a text in canonical base64 stands for.
fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

pub(super) fn status(object: &Value, errors: &mut Errors) {
    let conditions = FieldPath::Root("status.conditions");
    for (index, condition) in items(&object["status"]["conditions"]).iter().enumerate() {
        let path = conditions.index(index);
        errors.one_of(&condition["status"], &["True", "False", "Unknown"], path.child("status"));
    }
}
