//! The warnings that kube-apiserver sends about a definition that it accepts: apiextensions-apiserver's
//! `pkg/registry/customresourcedefinition/strategy.go`.

use std::collections::BTreeSet;

use kube_validation::go::quote;
use serde_json::Value;

use crate::{
    formats,
    json::{Json, object, properties, schemas, text},
};

/// Returns the warnings about an accepted CustomResourceDefinition, in a stable order: formats that are not checked, and
/// lists of type `set` whose items are not scalars. `old` is the definition that it replaces, whose warnings are not repeated.
pub fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = of(new);
    // Most definitions have none, so that the old one does not matter.
    if let (Some(old), false) = (old, warnings.is_empty()) {
        let known = of(old);
        warnings.retain(|warning| !known.contains(warning));
    }
    // The prefixes are in the order in which kube-apiserver sends the warnings.
    warnings.into_iter().collect()
}

fn of(definition: &Value) -> BTreeSet<String> {
    let mut warnings = BTreeSet::new();
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    // Not recursive, so that no definition is too deep.
    let mut rest: Vec<&Json> =
        versions.filter_map(|version| version["schema"]["openAPIV3Schema"].as_object()).collect();
    while let Some(schema) = rest.pop() {
        let format = text(schema, "format");
        if !format.is_empty() && !formats::is_supported(text(schema, "type"), format) {
            warnings.insert(format!("unrecognized format {}", quote(format)));
        }
        let kind = object(schema, "items").map(|items| text(items, "type")).unwrap_or_default();
        if text(schema, "x-kubernetes-list-type") == "set" && matches!(kind, "object" | "array") {
            warnings.insert(format!(
                "x-kubernetes-list-type: set for items of type {} is not supported by server-side apply or CEL validation rules",
                quote(kind)
            ));
        }
        // An accepted schema has no others, such as definitions.
        rest.extend(
            ["items", "not", "additionalProperties"].into_iter().filter_map(|field| object(schema, field)),
        );
        for field in ["allOf", "anyOf", "oneOf"] {
            rest.extend(schemas(schema, field).map(|(_, part)| part));
        }
        rest.extend(properties(schema).map(|(_, property)| property));
    }
    warnings
}
