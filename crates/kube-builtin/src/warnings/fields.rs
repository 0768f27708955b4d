//! What several kinds have: amounts, labels, selectors and claims.

use kube_validation::{Quantity, names};
use serde_json::{Map, Value};

/// The labels of nodes that are deprecated, and what to say.
const NODE_LABELS: [(&str, &str); 8] = [
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    (
        "beta.kubernetes.io/instance-type",
        r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#,
    ),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#,
    ),
    ("node-role.kubernetes.io/master", r#"use "node-role.kubernetes.io/control-plane" instead"#),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
];

/// The `spec` of a claim.
pub(super) fn claim(spec: &Value, path: &str, warnings: &mut Vec<String>) {
    for list in ["requests", "limits"] {
        let field = format!("{path}.resources.{list}[storage]");
        fractional(&spec["resources"][list]["storage"], &field, warnings);
    }
}

/// Warns of a part of a byte.
pub(super) fn fractional(amount: &Value, path: &str, warnings: &mut Vec<String>) {
    let Some(shown) = amount.as_str() else { return };
    if shown.parse::<Quantity>().is_ok_and(|amount| !amount.is_whole()) {
        warnings.push(format!("{path}: fractional byte value {shown:?} is invalid, must be an integer"));
    }
}

/// Warns of deprecated labels of nodes in the expressions of a term. `with_values`: also of malformed values.
pub(super) fn expressions(term: &Value, path: &str, with_values: bool, warnings: &mut Vec<String>) {
    for (index, expression) in items(&term["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let key = text(expression, "key");
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{path}.key: {key} is {why}"));
        }
        for (index, value) in items(&expression["values"]).iter().enumerate().filter(|_| with_values) {
            let value = value.as_str().unwrap_or_default();
            for why in names::label_value(value) {
                warnings.push(format!("{path}.values[{index}]: {value} is invalid, {why}"));
            }
        }
    }
}

/// What to say about a label of nodes, if it is deprecated.
pub(super) fn deprecated_label(label: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(deprecated, _)| *deprecated == label).map(|(_, why)| *why)
}

pub(super) fn has_annotation(object: &Value, annotation: &str) -> bool {
    object["metadata"]["annotations"].get(annotation).is_some()
}

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flat_map(Map::keys).map(String::as_str)
}
