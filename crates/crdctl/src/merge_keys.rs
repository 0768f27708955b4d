//! The keys of a type's lists, from the OpenAPI document that the server publishes for it
//! (`x-kubernetes-list-map-keys`, `x-kubernetes-patch-merge-key`).

use serde_json::Value;

use crate::{
    connection::Connection,
    diff::MergeKeys,
    field_path::{FieldPath, Step},
    resource::ResourceType,
};

/// The OpenAPI v3 document of a group and version, and the type's schema in it.
pub(crate) struct SchemaKeys {
    document: Value,
    root: String,
}

impl SchemaKeys {
    /// Reads the schema of a type. `None` if the server has no such document, or does not answer in time: the keys are then
    /// guessed.
    pub(crate) async fn of(connection: &Connection, resource: &ResourceType) -> Option<Self> {
        let path = match resource.api.group.as_str() {
            "" => format!("/openapi/v3/api/{}", resource.api.version),
            group => format!("/openapi/v3/apis/{group}/{}", resource.api.version),
        };
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        let document = connection.ask("read the schema", connection.client.request(request)).await.ok()?;
        Self::new(document, resource)
    }

    fn new(document: Value, resource: &ResourceType) -> Option<Self> {
        let api = &resource.api;
        let is_it = |kind: &Value| {
            kind["group"] == api.group.as_str()
                && kind["version"] == api.version.as_str()
                && kind["kind"] == api.kind.as_str()
        };
        let schemas = document["components"]["schemas"].as_object()?;
        let names = |schema: &Value| {
            schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.iter().any(is_it))
        };
        let root = schemas.iter().find(|(_, schema)| names(schema)).map(|(name, _)| name.clone())?;
        Some(Self { document, root })
    }

    /// Follows references; `allOf` with one of them is how Kubernetes adds a description or default to it.
    fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        // A document cannot make this go in circles.
        for _ in 0..8 {
            let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
            let Some(name) = reference.and_then(|reference| reference.strip_prefix("#/components/schemas/"))
            else {
                break;
            };
            schema = &self.document["components"]["schemas"][name];
        }
        schema
    }
}

impl MergeKeys for SchemaKeys {
    fn of(&self, list: &FieldPath) -> Option<Vec<String>> {
        let mut schema = &self.document["components"]["schemas"][&self.root];
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
        let merge_key = || beside["x-kubernetes-patch-merge-key"].as_str().map(|key| vec![key.to_owned()]);
        keys(&beside["x-kubernetes-list-map-keys"]).or_else(merge_key)
    }
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
        let keys = SchemaKeys::new(document, &resource).unwrap();
        let field = |name: &str| Step::Field(name.to_owned());
        let containers = FieldPath(vec![field("spec"), field("containers")]);
        assert_eq!(keys.of(&containers), Some(vec!["name".to_owned()]));
        let ports = containers.join(Step::Item(vec![("name".into(), json!("a"))])).join(field("ports"));
        assert_eq!(keys.of(&ports), Some(vec!["containerPort".to_owned(), "protocol".to_owned()]));
        assert_eq!(keys.of(&FieldPath(vec![field("spec"), field("args")])), None);
        assert_eq!(keys.of(&FieldPath(vec![field("nothing"), field("at all")])), None);
    }
}
