//! `/openapi/v3`: what may be sent to each resource, and the schemas of custom resources, for `kubectl explain` and its
//! like.
//!
//! The documents of built-in groups tell their resources and which parameters these take, without schemas.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::negotiate::Encoding;
use super::{Api, render};
use crate::registry::{CRDS, Resource, api_version};
use crate::schema::openapi_v3;

/// Answers a path below `/openapi/`; none if it is not there.
pub(super) fn answer(api: &Api, path: &str) -> Option<Response> {
    let document = match path {
        "v3" => index(api),
        _ => document(api, path.strip_prefix("v3/")?)?,
    };
    Some(render::value_response(StatusCode::OK, Encoding::Json, &document))
}

/// Which documents there are. A URL changes with its document, so that clients may keep it.
fn index(api: &Api) -> Value {
    let mut paths = Map::new();
    for group in api.registry(crate::registry::Registry::groups) {
        for (version, resources) in &group.versions {
            let path = document_path(&group.name, version);
            let mut hash = DefaultHasher::new();
            for definition in definitions(api, resources) {
                definition["metadata"]["uid"].as_str().hash(&mut hash);
                definition["metadata"]["resourceVersion"].as_str().hash(&mut hash);
            }
            env!("CARGO_PKG_VERSION").hash(&mut hash);
            let url = format!("/openapi/v3/{path}?hash={:016X}", hash.finish());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(api: &Api, path: &str) -> Option<Value> {
    let (group, version) = match path.split('/').collect::<Vec<_>>()[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return None,
    };
    let resources = api.registry(|registry| registry.group_version(group, version))?;
    let mut document = openapi_v3(group, version, &definitions(api, &resources));
    document["info"] = json!({"title": "Kubernetes", "version": "v1.37.2"});
    for resource in resources.iter().filter(|resource| resource.custom.is_none()) {
        for (path, operations) in operations(resource) {
            document["paths"][path] = operations;
        }
    }
    Some(document)
}

/// The definitions of the custom ones among resources.
fn definitions(api: &Api, resources: &[std::sync::Arc<Resource>]) -> Vec<Value> {
    let custom = resources.iter().filter(|resource| resource.custom.is_some());
    custom
        .filter_map(|resource| api.store.get(CRDS, &resource.qualified()))
        .map(|object| object.value())
        .collect()
}

/// The writes of a built-in resource and their parameters.
fn operations(resource: &Resource) -> Vec<(String, Value)> {
    let base = match (resource.group.as_str(), resource.namespaced) {
        ("", false) => format!("/api/{}", resource.version),
        ("", true) => format!("/api/{}/namespaces/{{namespace}}", resource.version),
        (group, false) => format!("/apis/{}", api_version(group, &resource.version)),
        (group, true) => format!("/apis/{}/namespaces/{{namespace}}", api_version(group, &resource.version)),
    };
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
            .collect();
        json!({
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind":
                {"group": resource.group, "version": resource.version, "kind": resource.kind},
        })
    };
    let has = |verb: &str| resource.verbs.iter().any(|it| it == verb);
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let patch = ["dryRun", "fieldManager", "fieldValidation", "force"];
    let (mut collection, mut object) = (json!({}), json!({}));
    if has("create") {
        collection["post"] = operation("post", &write);
    }
    if has("update") {
        object["put"] = operation("put", &write);
    }
    if has("patch") {
        object["patch"] = operation("patch", &patch);
    }
    let collection_path = format!("{base}/{}", resource.plural);
    let object_path = format!("{collection_path}/{{name}}");
    vec![(collection_path, collection), (object_path, object)]
}
