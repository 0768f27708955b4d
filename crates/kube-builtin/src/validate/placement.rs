//! Where Pods run: tolerations, affinity and topology spread.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::errors::{Errors, items, members, text};
use kube_validation::{FieldError, FieldPath, names};

pub(super) fn tolerations(tolerations: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (index, it) in items(tolerations).iter().enumerate() {
        let path = list.index(index);
        let (key, operator) = (text(it, "key"), text(it, "operator"));
        if !key.is_empty() {
            errors.named(key, names::qualified_name, path.child("key"));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path.child("operator"), &it["operator"], detail));
        }
        if !it["tolerationSeconds"].is_null() && text(it, "effect") != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(path.child("effect"), &text(it, "effect").into(), detail));
        }
        match operator {
            "" | "Equal" => errors.named(text(it, "value"), names::label_value, path.child("operator")),
            "Exists" if !text(it, "value").is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(path.child("operator"), &it["value"], detail));
            }
            "Exists" => {}
            // Features that are off.
            "Lt" | "Gt" => errors.push(FieldError::not_supported_shown(
                path.child("operator"),
                &it["operator"].to_string(),
                &["Equal", "Exists", "Lt", "Gt"],
            )),
            _ => errors.one_of(&it["operator"], &["Equal", "Exists"], path.child("operator")),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        errors.one_of(&it["effect"], &effects, path.child("effect"));
    }
}

pub(super) fn affinity(affinity: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let (nodes, node) = (&affinity["nodeAffinity"], path.child("nodeAffinity"));
    let required = node.child(REQUIRED);
    if nodes[REQUIRED].is_object() && items(&nodes[REQUIRED]["nodeSelectorTerms"]).is_empty() {
        let detail = "must have at least one node selector term";
        errors.push(FieldError::required(required.child("nodeSelectorTerms"), detail));
    }
    errors.each(&nodes[REQUIRED], "nodeSelectorTerms", &required, node_term);
    errors.each(nodes, PREFERRED, &node, |term, path, errors| {
        weight(term, path, errors);
        preferred_node_term(&term["preference"], &path.child("preference"), errors);
    });
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (pods, path) = (&affinity[kind], path.child(kind));
        errors.each(pods, REQUIRED, &path, pod_term);
        errors.each(pods, PREFERRED, &path, |term, path, errors| {
            weight(term, path, errors);
            pod_term(&term["podAffinityTerm"], &path.child("podAffinityTerm"), errors);
        });
    }
}

fn weight(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if !term["weight"].as_i64().is_some_and(|weight| (1..=100).contains(&weight)) {
        let detail = "must be in the range 1-100";
        errors.push(FieldError::invalid(path.child("weight"), &term["weight"], detail));
    }
}

/// Checks which nodes a term selects.
pub(super) fn node_term(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.each(term, "matchExpressions", path, |term, path, errors| {
        node_requirement(term, path, errors);
        let field = path.child("values");
        for (index, value) in items(&term["values"]).iter().enumerate() {
            errors.named(value.as_str().unwrap_or_default(), names::label_value, field.index(index));
        }
    });
    errors.each(term, "matchFields", path, node_field);
}

/// Checks which nodes a term prefers. Its values may be such that no label has them.
fn preferred_node_term(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.each(term, "matchExpressions", path, node_requirement);
    errors.each(term, "matchFields", path, node_field);
}

fn node_requirement(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (values, field) = (items(&term["values"]), path.child("values"));
    match text(term, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(field, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(field, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(field, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(path.child("operator"), &term["operator"], detail));
        }
    }
    errors.named(text(term, "key"), names::qualified_name, path.child("key"));
}

fn node_field(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (values, field) = (items(&term["values"]), path.child("values"));
    match text(term, "operator") {
        "In" | "NotIn" if values.len() == 1 => {}
        "In" | "NotIn" => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(field, detail));
        }
        _ => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(path.child("operator"), &term["operator"], detail));
        }
    }
    if text(term, "key") != "metadata.name" {
        let detail = "not a valid field selector key";
        errors.push(FieldError::invalid(path.child("key"), &text(term, "key").into(), detail));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        errors.named(value.as_str().unwrap_or_default(), names::dns1123_subdomain, field.index(index));
    }
}

/// Checks which Pods a term selects, and where.
fn pod_term(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.selector(&term["labelSelector"], path.child("labelSelector"));
    errors.selector(&term["namespaceSelector"], path.child("namespaceSelector"));
    for namespace in items(&term["namespaces"]) {
        errors.named(namespace.as_str().unwrap_or_default(), names::dns1123_label, path.child("namespace"));
    }
    label_keys(term, path, errors);
    errors.required(term, "topologyKey", path, "can not be empty");
    errors.named(text(term, "topologyKey"), names::qualified_name, path.child("topologyKey"));
}

/// Checks the labels whose values the selector of a term takes from the Pod itself.
fn label_keys(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let list = path.child(field);
        if !items(&term[field]).is_empty() && term["labelSelector"].is_null() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(list, detail));
            continue;
        }
        for (index, key) in items(&term[field]).iter().enumerate() {
            errors.named(key.as_str().unwrap_or_default(), names::qualified_name, list.index(index));
        }
    }
    let (keys, selector) = (items(&term["matchLabelKeys"]), &term["labelSelector"]);
    let places: HashMap<_, _> = keys.iter().enumerate().map(|(index, key)| (key.as_str(), index)).collect();
    let mut known: HashSet<&str> = members(&selector["matchLabels"]).map(|(key, _)| key).collect();
    for expression in items(&selector["matchExpressions"]) {
        let key = text(expression, "key");
        // The selector has an expression for each of the keys already.
        if let Some(index) = places.get(&Some(key)).filter(|_| known.contains(key)) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            // kube-apiserver reports it without the name of the list.
            errors.push(FieldError::invalid(path.index(*index), &key.into(), detail));
        }
        known.insert(key);
    }
    let list = path.child("matchLabelKeys");
    let mismatched: HashSet<_> = items(&term["mismatchLabelKeys"]).iter().map(Value::as_str).collect();
    for (index, key) in keys.iter().enumerate() {
        if mismatched.contains(&key.as_str()) {
            let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.push(FieldError::invalid(list.index(index), key, detail));
        }
    }
}

/// What there may be one constraint of.
fn kind(constraint: &Value) -> (&str, &str) {
    (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"))
}

pub(super) fn spread(constraints: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    // How many constraints of a kind are left.
    let mut left: HashMap<_, usize> = HashMap::new();
    for constraint in items(constraints) {
        *left.entry(kind(constraint)).or_default() += 1;
    }
    for (index, constraint) in items(constraints).iter().enumerate() {
        let path = list.index(index);
        if constraint["maxSkew"].as_i64().is_none_or(|skew| skew <= 0) {
            let detail = "must be greater than zero";
            errors.push(FieldError::invalid(path.child("maxSkew"), &constraint["maxSkew"], detail));
        }
        errors.required(constraint, "topologyKey", &path, "can not be empty");
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(&constraint["whenUnsatisfiable"], &actions, path.child("whenUnsatisfiable"));
        let (key, action) = kind(constraint);
        let left = left.entry((key, action)).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            let shown = format!("{{{key}, {action}}}");
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(path, &shown.into()));
        }
        let (domains, domains_path) = (&constraint["minDomains"], path.child("minDomains"));
        if domains.as_i64().is_some_and(|count| count <= 0) {
            errors.push(FieldError::invalid(domains_path, domains, "must be greater than zero"));
        }
        if !domains.is_null() && action != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.push(FieldError::invalid(domains_path, domains, &detail));
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.one_of(&constraint[field], &["Honor", "Ignore"], path.child(field));
        }
        label_keys(constraint, &path, errors);
        errors.selector(&constraint["labelSelector"], path.child("labelSelector"));
    }
}
