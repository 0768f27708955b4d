//! HorizontalPodAutoscalers: `pkg/apis/autoscaling/validation`.

use serde_json::Value;

use super::errors::{Errors, items, text};
use super::quantities::{container_resource, quantity};
use crate::convert::convert;
use kube_validation::{FieldError, FieldPath, names};

/// Checks an autoscaler. `old` is null for a new one.
pub(super) fn check(object: &Value, old: &Value, errors: &mut Errors) {
    let (object, old) = (&in_version_2(object), &in_version_2(old));
    let (spec, root) = (&object["spec"], FieldPath::Root(""));
    let path = root.child("spec");
    let number = |field: &str| spec[field].as_i64();
    let (min, max) = (number("minReplicas"), number("maxReplicas").unwrap_or_default());
    if min.is_some_and(|min| max < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(path.child("maxReplicas"), &max.into(), detail));
    }
    let (target, before) = (&spec["scaleTargetRef"], &old["spec"]["scaleTargetRef"]);
    let is_same = ["apiVersion", "kind"].iter().all(|field| text(target, field) == text(before, field));
    let group = match text(target, "kind") {
        _ if !old.is_null() && is_same => Group::Unchecked,
        "ReplicationController" => Group::Optional,
        _ => Group::Required,
    };
    reference(target, group, &path.child("scaleTargetRef"), errors);
    metrics(object, min == Some(0), &path.child("metrics"), errors);
    let behavior = path.child("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if rules.is_object() {
            scaling_rules(rules, &behavior.child(direction), errors);
        }
    }
    // kube-apiserver checks these rules, which are declared in tags, after those that are implemented in code.
    errors.not_negative(spec, "minReplicas", &path);
    if max == 0 {
        errors.push(FieldError::required(path.child("maxReplicas"), ""));
    } else if max < 0 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(path.child("maxReplicas"), &max.into(), detail));
    }
}

/// kube-apiserver checks an object of version 1 as one of version 2.
fn in_version_2(object: &Value) -> Value {
    let mut object = object.clone();
    convert(&mut object, "autoscaling/v2");
    object
}

/// Whether the `apiVersion` of a reference must have a group.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Required,
    Optional,
    /// The `apiVersion` may be anything.
    Unchecked,
}

fn reference(reference: &Value, group: Group, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in ["kind", "name"] {
        if !errors.required(reference, field, path, "") {
            errors.named(text(reference, field), names::path_segment, path.child(field));
        }
    }
    let api_version = text(reference, "apiVersion");
    let why = match names::group_version(api_version) {
        _ if group == Group::Unchecked => return,
        Err(why) => why,
        Ok(("", _)) if group == Group::Required => "apiVersion must specify API group".to_owned(),
        Ok(_) => return,
    };
    errors.push(FieldError::invalid(path.child("apiVersion"), &api_version.into(), &why));
}

fn metrics(object: &Value, to_zero: bool, path: &FieldPath<'_>, errors: &mut Errors) {
    let all = items(&object["spec"]["metrics"]);
    for (index, item) in all.iter().enumerate() {
        metric(item, &path.index(index), errors);
    }
    let is_known_at_zero = |item: &Value| matches!(text(item, "type"), "Object" | "External");
    if to_zero && !all.iter().any(is_known_at_zero) {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(path, detail));
    }
}

/// The types of metrics in the order of their check, each with its field.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn metric(metric: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(path.child("type"), "must specify a metric source type"));
    }
    let unknown = || {
        let supported = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        FieldError::not_supported(path.child("type"), &kind.into(), &supported)
    };
    let own = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    if own.is_none() {
        errors.push(unknown());
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| !metric[*field].is_null()).collect();
    if let Some(first) = present.first() {
        source(first, &metric[*first], &path.child(first), errors);
    }
    match own {
        None => errors.push(unknown()),
        Some(own) if metric[own].is_null() => {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(path.child(own), detail));
        }
        Some(_) => {}
    }
    if present.len() > 1 {
        for other in present.iter().filter(|field| Some(**field) != own) {
            let detail = "must populate the given metric source only";
            errors.push(FieldError::forbidden(path.child(other), detail));
        }
    }
}

fn source(field: &str, source: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    match field {
        "object" => {
            reference(&source["describedObject"], Group::Optional, &path.child("describedObject"), errors);
            identifier(&source["metric"], &path.child("metric"), errors);
        }
        "external" | "pods" => identifier(&source["metric"], &path.child("metric"), errors),
        _ => {
            let is_unnamed = errors.required(source, "name", path, "must specify a resource name");
            if field == "containerResource" {
                if !is_unnamed {
                    container_resource(text(source, "name"), &path.child("name"), errors);
                }
                if !errors.required(source, "container", path, "must specify a container") {
                    errors.named(text(source, "container"), names::dns1123_label, path.child("container"));
                }
            }
        }
    }
    target(field, &source["target"], &path.child("target"), errors);
}

fn identifier(identifier: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if !errors.required(identifier, "name", path, "must specify a metric name") {
        errors.named(text(identifier, "name"), names::path_segment, path.child("name"));
    }
}

fn target(source: &str, target: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required(target, "type", path, "must specify a metric target type");
    if !["Utilization", "Value", "AverageValue"].contains(&text(target, "type")) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(path.child("type"), &text(target, "type").into(), detail));
    }
    for field in ["value", "averageValue"] {
        if quantity(&target[field]).is_some_and(|it| it.is_negative() || it.is_zero()) {
            errors.push(FieldError::invalid(path.child(field), &target[field], "must be positive"));
        }
    }
    let utilization = &target["averageUtilization"];
    if utilization.as_i64().is_some_and(|percent| percent < 1) {
        errors.push(FieldError::invalid(
            path.child("averageUtilization"),
            utilization,
            "must be greater than 0",
        ));
    }
    let has = |field: &str| !target[field].is_null();
    let mut required = |field: &str, detail: &str| {
        errors.push(FieldError::required(path.child(field), detail));
    };
    match source {
        "object" if !has("value") && !has("averageValue") => {
            required("averageValue", "must set either a target value or averageValue");
        }
        "external" if !has("value") && !has("averageValue") => {
            required("averageValue", "must set either a target value for metric or a per-pod target");
        }
        "external" if has("value") && has("averageValue") => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(FieldError::forbidden(path.child("value"), detail));
        }
        "pods" if !has("averageValue") => {
            required("averageValue", "must specify a positive target averageValue");
        }
        "resource" | "containerResource" if !has("averageUtilization") && !has("averageValue") => {
            required("averageUtilization", "must set either a target raw value or a target utilization");
        }
        "resource" | "containerResource" if has("averageUtilization") && has("averageValue") => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(FieldError::forbidden(path.child("averageValue"), detail));
        }
        _ => {}
    }
}

fn scaling_rules(rules: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (window, field) = (&rules["stabilizationWindowSeconds"], path.child("stabilizationWindowSeconds"));
    match window.as_i64() {
        Some(..0) => {
            errors.push(FieldError::invalid(field, window, "must be greater than or equal to zero"));
        }
        Some(3601..) => {
            errors.push(FieldError::invalid(field, window, "must be less than or equal to 3600"));
        }
        _ => {}
    }
    errors.one_of(&rules["selectPolicy"], &["Disabled", "Max", "Min"], path.child("selectPolicy"));
    if items(&rules["policies"]).is_empty() {
        errors.push(FieldError::required(path.child("policies"), "must specify at least one Policy"));
    }
    errors.each(rules, "policies", path, scaling_policy);
    if quantity(&rules["tolerance"]).is_some_and(kube_validation::Quantity::is_negative) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path.child("tolerance"), &rules["tolerance"], detail));
    }
}

fn scaling_policy(policy: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.one_of(&policy["type"], &["Percent", "Pods"], path.child("type"));
    for field in ["value", "periodSeconds"] {
        let number = policy[field].as_i64().unwrap_or_default();
        if number <= 0 {
            errors.push(FieldError::invalid(path.child(field), &number.into(), "must be greater than zero"));
        } else if field == "periodSeconds" && number > 1800 {
            let detail = "must be less than or equal to 1800";
            errors.push(FieldError::invalid(path.child(field), &number.into(), detail));
        }
    }
}
