//! `/openapi/v3` and `/openapi/v2`: what may be sent to each resource, and the schemas of its objects, for
//! `kubectl explain` and its like.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::negotiate::Encoding;
use super::{Api, render};
use crate::registry::{CRDS, Resource};
use crate::schema::{self, openapi_v3};
use crate::status::Status;

/// Answers a path below `/openapi/`; none if it is not there.
///
/// Clients that take protobuf alone, as client-go's of version 2, are told 406.
pub(super) fn answer(api: &Api, path: &str, headers: &HeaderMap) -> Option<Result<Response, Status>> {
    if !accepts_json(headers) {
        return Some(Err(Status::not_acceptable()));
    }
    let document = match path {
        "v2" => v2(api),
        "v3" => index(api),
        _ => document(api, path.strip_prefix("v3/")?)?,
    };
    Some(Ok(render::value_response(StatusCode::OK, Encoding::Json, &document)))
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok()).peekable();
    accepted.peek().is_none()
        || accepted.flat_map(|it| it.split(',')).any(|it| {
            matches!(
                it.split(';').next().unwrap_or_default().trim(),
                "application/json" | "application/*" | "*/*"
            )
        })
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
    let builtin = resources.iter().filter(|resource| resource.custom.is_none());
    let mut document = openapi_v3(group, version, builtin.map(AsRef::as_ref), &definitions(api, &resources));
    document["info"] = json!({"title": "Kubernetes", "version": "v1.37.2"});
    Some(document)
}

/// The documents of all groups as one, in OpenAPI's version 2.
fn v2(api: &Api) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for group in api.registry(crate::registry::Registry::groups) {
        for (version, _) in &group.versions {
            let Some(Value::Object(mut document)) = document(api, &document_path(&group.name, version))
            else {
                continue;
            };
            document = schema::openapi_v2(document);
            let mut take = |key: &str| match document.get_mut(key).map(Value::take) {
                Some(Value::Object(members)) => members,
                _ => Map::new(),
            };
            paths.append(&mut take("paths"));
            definitions.append(&mut take("definitions"));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.37.2"},
        "paths": paths,
        "definitions": definitions,
    })
}

/// The definitions of the custom ones among resources.
fn definitions(api: &Api, resources: &[std::sync::Arc<Resource>]) -> Vec<Value> {
    let custom = resources.iter().filter(|resource| resource.custom.is_some());
    custom
        .filter_map(|resource| api.store.get(CRDS, &resource.qualified()))
        .map(|object| object.value())
        .collect()
}
