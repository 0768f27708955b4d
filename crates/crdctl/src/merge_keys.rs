//! The keys of a type's lists, from the OpenAPI document that the server publishes for it
//! (`x-kubernetes-list-map-keys`, `x-kubernetes-patch-merge-key`).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::{Map, Value};

use crate::{
    connection::Connection,
    diff::MergeKeys,
    field_path::{FieldPath, Step},
    resource::{ResourceType, group_version_path},
};

/// What the OpenAPI v3 document of a group and version says about the lists of a type.
pub(crate) struct SchemaKeys {
    /// The schemas that the type's refers to, by name, without all that is not about lists.
    schemas: Map<String, Value>,
    root: String,
}

/// Reads the schemas of types, with one request for each group and version. `None` for a type if the server has no such document,
/// or does not answer in time: the keys are then guessed.
pub(crate) async fn of_all(
    connection: &Connection,
    types: impl Iterator<Item = &ResourceType>,
) -> Vec<Option<SchemaKeys>> {
    let types: Vec<&ResourceType> = types.collect();
    let paths: BTreeSet<String> = types.iter().map(|resource| path(resource)).collect();
    let documents = paths.into_iter().map(async |path| {
        let request = http::Request::get(&path).body(Vec::new()).ok()?;
        let document: Value =
            connection.ask("read the schema", connection.client.request(request)).await.ok()?;
        Some((path, document))
    });
    let documents: BTreeMap<String, Value> = join_all(documents).await.into_iter().flatten().collect();
    types.iter().map(|resource| SchemaKeys::new(documents.get(&path(resource))?, resource)).collect()
}

fn path(resource: &ResourceType) -> String {
    format!("/openapi/v3{}", group_version_path(&resource.api))
}

const SCHEMAS: &str = "#/components/schemas/";
const LIST_KEYS: &str = "x-kubernetes-list-map-keys";
const MERGE_KEY: &str = "x-kubernetes-patch-merge-key";

impl SchemaKeys {
    fn new(document: &Value, resource: &ResourceType) -> Option<Self> {
        let api = &resource.api;
        let is_it = |kind: &Value| {
            kind["group"] == api.group.as_str()
                && kind["version"] == api.version.as_str()
                && kind["kind"] == api.kind.as_str()
        };
        let all = document["components"]["schemas"].as_object()?;
        let names = |schema: &Value| {
            schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.iter().any(is_it))
        };
        let root = all.iter().find(|(_, schema)| names(schema)).map(|(name, _)| name.clone())?;
        let mut schemas = Map::new();
        let mut missing = vec![root.clone()];
        while let Some(name) = missing.pop() {
            if !schemas.contains_key(&name)
                && let Some(schema) = all.get(&name)
            {
                schemas.insert(name, about_lists(schema, &mut missing));
            }
        }
        Some(Self { schemas, root })
    }

    /// Follows references; `allOf` with one of them is how Kubernetes adds a description or default to it.
    fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        // A document cannot make this go in circles.
        for _ in 0..8 {
            let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
            match reference.and_then(|reference| self.schemas.get(reference.strip_prefix(SCHEMAS)?)) {
                Some(referred) => schema = referred,
                None => break,
            }
        }
        schema
    }
}

impl MergeKeys for SchemaKeys {
    fn of(&self, list: &FieldPath) -> Option<Vec<String>> {
        let mut schema = self.schemas.get(&self.root)?;
        // The markers stand beside the reference, if there is one.
        let mut beside = schema;
        for step in &list.0 {
            let within = self.resolve(schema);
            beside = match step {
                Step::Field(name) => match &within["properties"][name] {
                    Value::Null => &within["additionalProperties"],
                    property => property,
                },
                _ => &within["items"],
            };
            schema = beside;
        }
        let keys = |value: &Value| {
            Some(value.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
        };
        let merge_key = || beside[MERGE_KEY].as_str().map(|key| vec![key.to_owned()]);
        keys(&beside[LIST_KEYS]).or_else(merge_key)
    }
}

/// Returns a schema without its descriptions and all else that is not about lists, and adds the names that it refers to.
fn about_lists(schema: &Value, referred: &mut Vec<String>) -> Value {
    let mut kept = Map::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let about = match (key.as_str(), value) {
            ("$ref", Value::String(reference)) => {
                referred.extend(reference.strip_prefix(SCHEMAS).map(str::to_owned));
                value.clone()
            }
            (LIST_KEYS | MERGE_KEY, _) => value.clone(),
            ("properties", Value::Object(properties)) => {
                let about = |(name, property)| (String::clone(name), about_lists(property, referred));
                properties.iter().map(about).collect()
            }
            ("allOf", Value::Array(schemas)) => {
                schemas.iter().map(|schema| about_lists(schema, referred)).collect()
            }
            ("items" | "additionalProperties", Value::Object(_)) => about_lists(value, referred),
            _ => continue,
        };
        kept.insert(key.clone(), about);
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_found_through_references() {
        let document = json!({"components": {"schemas": {
            "Pod": {
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
                "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/PodSpec"}]}},
            },
            "PodSpec": {"properties": {
                "containers": {"items": {"allOf": [{"$ref": "#/components/schemas/Container"}]}, "x-kubernetes-patch-merge-key": "name"},
                "args": {"items": {"type": "string"}},
            }},
            "Container": {"properties": {
                "ports": {"x-kubernetes-list-map-keys": ["containerPort", "protocol"], "x-kubernetes-patch-merge-key": "containerPort"},
            }},
        }}});
        let resource = ResourceType::for_tests("", "v1", "Pod");
        let keys = SchemaKeys::new(&document, &resource).unwrap();
        let field = |name: &str| Step::Field(name.to_owned());
        let containers = FieldPath(vec![field("spec"), field("containers")]);
        assert_eq!(keys.of(&containers), Some(vec!["name".to_owned()]));
        let ports = containers.join(Step::Item(vec![("name".into(), json!("a"))])).join(field("ports"));
        assert_eq!(keys.of(&ports), Some(vec!["containerPort".to_owned(), "protocol".to_owned()]));
        assert_eq!(keys.of(&FieldPath(vec![field("spec"), field("args")])), None);
        assert_eq!(keys.of(&FieldPath(vec![field("nothing"), field("at all")])), None);
    }
}
