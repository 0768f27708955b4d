//! Nodes and RuntimeClasses: `pkg/apis/core/validation` and `pkg/apis/node/validation`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::errors::{Errors, items, members, text};
use super::quantities::amount;
use super::{placement, pod_resources};
use crate::addresses::{network, sloppy_network};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn create(object: &Value, errors: &mut Errors) {
    taints(object, errors);
    resources(object, errors);
    let swap = &object["status"]["nodeInfo"]["swap"]["capacity"];
    if swap.as_i64().is_some_and(|bytes| bytes <= 0) {
        // kube-apiserver reports it here.
        errors.push(FieldError::invalid(
            "metadata.nodeSwapStatus.capacity",
            swap,
            "must be greater than zero",
        ));
    }
    features(object, errors);
    networks(&object["spec"], &ROOT.child("spec"), errors);
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    create(new, errors);
    status(new, errors);
    let (spec, before) = (&new["spec"], &old["spec"]);
    if !items(&before["podCIDRs"]).is_empty() && spec["podCIDRs"] != before["podCIDRs"] {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.podCIDRs", detail));
    }
    if text(spec, "externalID") != text(before, "externalID") {
        errors.push(FieldError::forbidden("spec.externalID", "may not be updated"));
    }
    let (id, known) = (text(spec, "providerID"), text(before, "providerID"));
    if !known.is_empty() && id != known {
        let what = if id.is_empty() { "cleared" } else { "modified" };
        let detail = format!("field cannot be {what} once set");
        errors.push(FieldError::invalid("spec.providerID", &Value::Null, &detail));
    }
}

pub(super) fn status(object: &Value, errors: &mut Errors) {
    resources(object, errors);
    features(object, errors);
    let mut known = HashSet::new();
    errors.each(&object["status"], "addresses", &ROOT.child("status"), |address, path, errors| {
        let (kind, place) = (text(address, "type"), text(address, "address"));
        if !known.insert((kind.to_owned(), place.to_owned())) {
            let shown = format!(r#"{{"Type":{},"Address":{}}}"#, json!(kind), json!(place));
            errors.push(FieldError::duplicate_shown(path, &shown));
        }
    });
}

fn taints(object: &Value, errors: &mut Errors) {
    let mut known = HashSet::new();
    // kube-apiserver reports them here.
    errors.each(&object["spec"], "taints", &ROOT.child("metadata"), |taint, path, errors| {
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        errors.named(key, names::qualified_name, path.child("key"));
        let wrong = names::label_value(text(taint, "value"));
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(path.child("value"), &taint["value"], &wrong.join(";")));
        }
        if !errors.required(taint, "effect", path, "") {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errors.one_of(&taint["effect"], &effects, path.child("effect"));
        }
        if !known.insert((key.to_owned(), effect.to_owned())) {
            let shown = format!(
                r#"{{"Key":{},"Value":{},"Effect":{},"TimeAdded":{}}}"#,
                json!(key),
                json!(text(taint, "value")),
                json!(effect),
                taint["timeAdded"]
            );
            let mut error = FieldError::duplicate_shown(path, &shown);
            error.message.push_str(": taints must be unique by key and effect pair");
            errors.push(error);
        }
    });
}

fn resources(object: &Value, errors: &mut Errors) {
    let status = ROOT.child("status");
    for field in ["capacity", "allocatable"] {
        let path = status.child(field);
        for (name, value) in members(&object["status"][field]) {
            amount(name, value, &path.child(name), errors);
        }
    }
}

/// Checks the names of the features that a kubelet has, and their order.
fn features(object: &Value, errors: &mut Errors) {
    const MAX: usize = 253;
    let (all, status) = (items(&object["status"]["declaredFeatures"]), ROOT.child("status"));
    let path = status.child("declaredFeatures");
    for (index, feature) in all.iter().enumerate() {
        let name = feature.as_str().unwrap_or_default();
        let why = if name.len() > MAX {
            format!("must be no more than {MAX} characters")
        } else {
            "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or \
             MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
                .to_owned()
        };
        if name.len() > MAX || !is_feature(name) {
            let detail = format!("invalid feature name {}: {why}", kube_validation::go::quote(name));
            errors.push(FieldError::invalid(path.index(index), feature, &detail));
        }
        match all.get(index + 1) {
            Some(next) if next == feature => errors.push(FieldError::duplicate(path.index(index + 1), next)),
            Some(next) if next.as_str() < feature.as_str() => {
                let detail = "list must be sorted alphabetically";
                errors.push(FieldError::invalid(path.index(index + 1), next, detail));
            }
            _ => {}
        }
    }
}

fn is_feature(name: &str) -> bool {
    let is_segment = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|c| c.is_ascii_alphanumeric())
    };
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(is_segment)
}

/// Checks the networks of a Node's Pods, of which there is one for each family of addresses.
fn networks(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (all, field) = (items(&spec["podCIDRs"]), path.child("podCIDRs"));
    for (index, value) in all.iter().enumerate() {
        errors.named(value.as_str().unwrap_or_default(), network, field.index(index));
    }
    if all.len() < 2 {
        return;
    }
    let mut families = HashSet::new();
    for (index, value) in all.iter().enumerate() {
        let text = value.as_str().unwrap_or_default();
        match sloppy_network(text) {
            Some(network) => _ = families.insert(network.address.is_ipv4()),
            None => {
                let detail = format!(
                    "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{index}]: <nil> (invalid \
                     CIDR address: {text})"
                );
                errors.push(FieldError::internal(field, &detail));
                families.clear();
                break;
            }
        }
    }
    if families.len() < 2 || all.len() > 2 {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid(field, &spec["podCIDRs"], detail));
    }
}

pub(super) fn runtime_class(object: &Value, errors: &mut Errors) {
    runtime_class_parts(object, errors);
    // kube-apiserver checks this rule, which is declared in a tag, after those that are implemented in code.
    if !errors.required(object, "handler", &ROOT, "") {
        errors.named(text(object, "handler"), names::dns1123_label, ROOT.child("handler"));
    }
}

pub(super) fn update_runtime_class(new: &Value, old: &Value, errors: &mut Errors) {
    runtime_class_parts(new, errors);
    errors.declared_immutable(&new["handler"], &old["handler"], ROOT.child("handler"));
}

fn runtime_class_parts(object: &Value, errors: &mut Errors) {
    let limits = json!({"limits": object["overhead"]["podFixed"]});
    pod_resources::container(&limits, &Value::Null, &ROOT.child("overhead"), errors);
    let (scheduling, path) = (&object["scheduling"], ROOT.child("scheduling"));
    errors.labels(&scheduling["nodeSelector"], path.child("nodeSelector"));
    placement::tolerations(&scheduling["tolerations"], &path.child("tolerations"), errors);
    let mut known = HashSet::new();
    errors.each(scheduling, "tolerations", &path, |toleration, path, errors| {
        let fields = ["key", "operator", "value", "effect"].map(|field| json!(text(toleration, field)));
        let [key, operator, value, effect] = &fields;
        let shown = format!(
            r#"{{"Key":{key},"Operator":{operator},"Value":{value},"Effect":{effect},"TolerationSeconds":{}}}"#,
            toleration["tolerationSeconds"]
        );
        if !known.insert(fields.clone()) {
            errors.push(FieldError::duplicate_shown(path, &shown));
        }
    });
}
