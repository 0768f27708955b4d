//! Converts an OpenAPI document from version 3 to version 2, as kube-openapi's `schemaconv` does. Whatever version 2
//! cannot express is omitted.

use serde_json::{Map, Value, json};

/// The `paths` and `definitions` of a document of version 3.
pub(super) fn from_v3(mut document: Map<String, Value>) -> Map<String, Value> {
    let mut paths = document.remove("paths").unwrap_or_default();
    for item in paths.as_object_mut().into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        for (name, part) in item {
            match part {
                Value::Array(parameters) if name == "parameters" => parameters.iter_mut().for_each(parameter),
                Value::Object(parts) => operation(parts),
                _ => {}
            }
        }
    }
    let mut definitions = document["components"]["schemas"].take();
    definitions.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(schema);
    Map::from_iter([("paths".to_owned(), paths), ("definitions".to_owned(), definitions)])
}

fn operation(operation: &mut Map<String, Value>) {
    let body = operation.remove("requestBody");
    let mut parameters = match operation.remove("parameters") {
        Some(Value::Array(parameters)) => parameters,
        _ => Vec::new(),
    };
    parameters.iter_mut().for_each(parameter);
    if let Some(body) = body
        && let Some(content) = body["content"].as_object()
    {
        let consumes: Vec<&String> = content.keys().collect();
        operation.insert("consumes".to_owned(), json!(consumes));
        let mut of = content.values().next().map_or(Value::Null, |it| it["schema"].clone());
        schema(&mut of);
        parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": of}));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let mut produces = Vec::new();
    for response in responses.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        let Some(Value::Object(content)) = response.remove("content") else { continue };
        let mut of = content.values().next().map_or(Value::Null, |it| it["schema"].clone());
        schema(&mut of);
        response.insert("schema".to_owned(), of);
        produces = content.keys().cloned().collect();
    }
    operation.insert("produces".to_owned(), produces.into());
}

/// Moves the type of a parameter next to its name.
fn parameter(parameter: &mut Value) {
    let Some(parameter) = parameter.as_object_mut() else { return };
    if let Some(Value::Object(schema)) = parameter.remove("schema") {
        parameter.extend(schema);
    }
}

/// Converts a schema. The depth is the schema's, which is bounded.
fn schema(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    // A reference may only have a description next to it.
    let reference = members.get("allOf").map_or(Value::Null, |parts| parts[0]["$ref"].clone());
    for absent in ["allOf", "anyOf", "nullable", "not", "oneOf"] {
        members.remove(absent);
    }
    if !reference.is_null() {
        members.remove("default");
        members.insert("$ref".to_owned(), reference);
    }
    if let Some(Value::String(target)) = members.get_mut("$ref") {
        *target = target.replace("#/components/schemas/", "#/definitions/");
    }
    if members.get("format").is_some_and(|format| format == "int-or-string") {
        members.insert("type".to_owned(), "string".into());
    }
    for below in ["items", "additionalProperties"] {
        members.get_mut(below).into_iter().for_each(self::schema);
    }
    let properties = members.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(self::schema);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_stands_alone() {
        let mut value = json!({"properties": {
            "spec": {"default": {}, "allOf": [{"$ref": "#/components/schemas/a.Spec"}]},
            "port": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
        }});
        schema(&mut value);
        let expected = json!({"properties": {
            "spec": {"$ref": "#/definitions/a.Spec"}, "port": {"format": "int-or-string", "type": "string"},
        }});
        assert_eq!(value, expected);
    }

    #[test]
    fn a_body_is_a_parameter() {
        let document = json!({"components": {}, "paths": {"/a": {"post": {
            "parameters": [{"name": "dryRun", "in": "query", "schema": {"type": "string"}}],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/a.A"}}}},
            "responses": {"401": {"description": "Unauthorized"}},
        }}}});
        let Value::Object(document) = document else { unreachable!() };
        assert_eq!(
            from_v3(document)["paths"]["/a"]["post"],
            json!({
                "consumes": ["application/json"],
                "parameters": [
                    {"name": "dryRun", "in": "query", "type": "string"},
                    {"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/a.A"}},
                ],
                "produces": [],
                "responses": {"401": {"description": "Unauthorized"}},
            })
        );
    }
}
