//! The types of the built-in kinds from kube-apiserver's OpenAPI v3 documents, without descriptions.
//!
//! `cargo xtask builtin` writes `schemas.json`: one schema per line, by its name. A reference is just the name, even where the
//! documents have it in an `allOf` next to a default.

use std::collections::HashMap;
use std::mem;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The prefix of references to schemas in a document.
pub const REFERENCE: &str = "#/components/schemas/";

/// The texts of the schemas by name. They are only parsed where they are used: a server needs few of them.
static TEXTS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| texts().collect());

/// The names of the schemas by kind and API version.
static KINDS: LazyLock<HashMap<&str, Vec<(String, &str)>>> = LazyLock::new(|| {
    let mut kinds: HashMap<_, Vec<_>> = HashMap::new();
    for (name, text) in texts() {
        for Kind { group, version, kind } in kinds_of(text) {
            let api_version =
                if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            kinds.entry(kind).or_default().push((api_version, name));
        }
    }
    kinds
});

/// An entry of `x-kubernetes-group-version-kind`.
#[derive(Deserialize)]
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

/// Returns the name and the text of each schema.
pub fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    // A test ensures that each line but the first and the last is a member of the object.
    include_str!("../data/schemas.json").lines().filter_map(|line| {
        let (name, text) = line.strip_prefix('"')?.split_once("\":")?;
        Some((name, text.strip_suffix(',').unwrap_or(text)))
    })
}

/// Returns the kinds that a schema says it describes.
fn kinds_of(text: &str) -> Vec<Kind<'_>> {
    let list = text.split_once(r#""x-kubernetes-group-version-kind":"#);
    let kinds = list.and_then(|(_, list)| serde_json::Deserializer::from_str(list).into_iter().next());
    kinds.and_then(Result::ok).unwrap_or_default()
}

/// Returns a schema, which is parsed each time.
pub fn get(name: &str) -> Option<Value> {
    serde_json::from_str(TEXTS.get(name)?).ok()
}

/// Returns the name of a kind's schema.
pub fn name(api_version: &str, kind: &str) -> Option<&'static str> {
    let versions = KINDS.get(kind)?;
    versions.iter().find(|(version, _)| version == api_version).map(|(_, name)| *name)
}

/// Adds a schema and all schemas that it refers to, in the form of a document.
pub fn expand(name: &str, document: &mut Map<String, Value>) {
    let mut names = vec![name.to_owned()];
    while let Some(name) = names.pop() {
        if let Some(schema) = (!document.contains_key(&name)).then(|| get(&name)).flatten() {
            let schema = expanded(schema, &mut names);
            document.insert(name, schema);
        }
    }
}

/// Returns a schema with references in the form of a document, and adds their names to `names`.
fn expanded(schema: Value, names: &mut Vec<String>) -> Value {
    match schema {
        Value::Object(mut members) => {
            // A property may have any name.
            let reference = match members.get_mut("$ref") {
                Some(Value::String(name)) => Some(mem::take(name)),
                _ => None,
            };
            if reference.is_some() {
                members.remove("$ref");
            }
            let mut out: Map<_, _> =
                members.into_iter().map(|(key, member)| (key, expanded(member, names))).collect();
            if let Some(name) = reference {
                let target = json!(format!("{REFERENCE}{name}"));
                names.push(name);
                // JSON schema allows nothing next to a reference.
                if out.is_empty() {
                    out.insert("$ref".to_owned(), target);
                } else {
                    out.insert("allOf".to_owned(), json!([{"$ref": target}]));
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => items.into_iter().map(|item| expanded(item, names)).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_schemas() {
        let mut document = Map::new();
        for (name, _) in texts() {
            expand(name, &mut document);
        }
        assert_eq!(document.len(), include_str!("../data/schemas.json").lines().count() - 2);
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
