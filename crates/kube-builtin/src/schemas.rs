//! The types of the built-in kinds from kube-apiserver's OpenAPI v3 documents, without descriptions.
//!
//! `cargo xtask builtin` writes `schemas.json`: one schema per line, by its name. A reference is just the name, even where the
//! documents have it in an `allOf` next to a default.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The prefix of references to schemas in a document.
pub const REFERENCE: &str = "#/components/schemas/";

static SCHEMAS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    // A test ensures that the committed file parses.
    serde_json::from_str(include_str!("../data/schemas.json")).unwrap_or_default()
});

/// The names of the schemas by API version and kind.
static KINDS: LazyLock<HashMap<(String, String), &str>> = LazyLock::new(|| {
    let kinds = SCHEMAS.iter().flat_map(|(name, schema)| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
        kinds.map(move |it| {
            let text = |field: &str| it[field].as_str().unwrap_or_default();
            let api_version = api_version(text("group"), text("version"));
            ((api_version, text("kind").to_owned()), name.as_str())
        })
    });
    kinds.collect()
});

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Returns all schemas by name. The first call parses them, which takes some milliseconds.
pub fn all() -> &'static Map<String, Value> {
    &SCHEMAS
}

/// Returns the name of a kind's schema.
pub fn name(api_version: &str, kind: &str) -> Option<&'static str> {
    KINDS.get(&(api_version.to_owned(), kind.to_owned())).copied()
}

/// Adds a schema and all schemas that it refers to, in the form of a document.
pub fn expand(name: &str, document: &mut Map<String, Value>) {
    let mut names = vec![name];
    while let Some(name) = names.pop() {
        if let Some(schema) = SCHEMAS.get(name).filter(|_| !document.contains_key(name)) {
            document.insert(name.to_owned(), expanded(schema, &mut names));
        }
    }
}

/// Returns a schema with references in the form of a document, and adds their names to `names`.
fn expanded<'a>(schema: &'a Value, names: &mut Vec<&'a str>) -> Value {
    match schema {
        Value::Object(members) => {
            let mut out = Map::new();
            let reference = members.get("$ref").and_then(Value::as_str);
            for (key, member) in members {
                if reference.is_none() || key != "$ref" {
                    out.insert(key.clone(), expanded(member, names));
                }
            }
            if let Some(name) = reference {
                names.push(name);
                let target = json!(format!("{REFERENCE}{name}"));
                // JSON schema allows nothing next to a reference.
                if out.is_empty() {
                    out.insert("$ref".to_owned(), target);
                } else {
                    out.insert("allOf".to_owned(), json!([{"$ref": target}]));
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(|item| expanded(item, names)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_schemas() {
        let mut document = Map::new();
        for name in all().keys() {
            expand(name, &mut document);
        }
        assert_eq!(document.len(), all().len());
        let text = Value::Object(document.clone()).to_string();
        for target in text.split(REFERENCE).skip(1) {
            let name = target.split('"').next().unwrap();
            assert!(document.contains_key(name), "{name}");
        }
        let pod = &document[name("v1", "Pod").unwrap()]["properties"]["spec"];
        let target = format!("{REFERENCE}io.k8s.api.core.v1.PodSpec");
        assert_eq!(*pod, json!({"default": {}, "allOf": [{"$ref": target}]}));
    }

    #[test]
    fn kinds_have_their_schema() {
        assert_eq!(name("apps/v1", "Deployment"), Some("io.k8s.api.apps.v1.Deployment"));
        assert_eq!(name("example.com/v1", "Deployment"), None);
    }
}
