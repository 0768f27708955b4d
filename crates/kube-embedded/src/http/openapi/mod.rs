//! `/openapi/v3` and `/openapi/v2`: the parameters of requests and the schemas of objects, for `kubectl explain` and
//! similar clients.

mod protobuf;
mod v2;
mod v3;

#[cfg(test)]
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::body::Body;
use super::negotiate::Encoding;
use super::render::{self, Response};
use crate::cluster::{Cluster, Document};
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::scheme::{GroupVersion, Scheme};
use crate::status::Status;

/// Answers a path below `/openapi/`. `None`: it does not exist.
///
/// Version 2 is there in Protobuf, too, which is what client-go reads.
pub(super) fn answer(cluster: &Cluster, path: &str, headers: &HeaderMap) -> Option<Result<Response, Status>> {
    let scheme = cluster.scheme();
    if path == "v3" {
        // In this form whatever the client accepts, and as this type of content.
        let index = index(cluster, &scheme).to_string();
        return Some(Ok(render::plain_text(StatusCode::OK, index)));
    }
    let Some(form) = Form::negotiate(headers, path == "v2") else {
        let mut response = Response::new(Body::from(""));
        *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
        return Some(Ok(response));
    };
    let document = match path {
        "v2" => v2(cluster, &scheme),
        _ => document(cluster, &scheme, path.strip_prefix("v3/")?)?,
    };
    Some(Ok(match form {
        Form::Json => render::document(&document),
        Form::Protobuf => {
            let mut response = render::response(StatusCode::OK, Encoding::Json, protobuf::encode(&document));
            let media_type = HeaderValue::from_static(protobuf::MEDIA_TYPES[0]);
            response.headers_mut().insert(header::CONTENT_TYPE, media_type);
            response
        }
    }))
}

/// The encoding of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The first form that a client accepts. `None`: it accepts none of them.
    fn negotiate(headers: &HeaderMap, has_protobuf: bool) -> Option<Self> {
        let mut accepted =
            headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok()).peekable();
        if accepted.peek().is_none() {
            return Some(Self::Json);
        }
        accepted.flat_map(|it| it.split(',')).find_map(|it| {
            match it.split(';').next().unwrap_or_default().trim() {
                "application/json" | "application/*" | "*/*" => Some(Self::Json),
                name if has_protobuf && protobuf::MEDIA_TYPES.contains(&name) => Some(Self::Protobuf),
                _ => None,
            }
        })
    }
}

/// The index of the documents. A URL changes with its document, so that clients can cache it.
fn index(cluster: &Cluster, scheme: &Scheme) -> Value {
    let mut paths = Map::new();
    for group in scheme.groups() {
        for GroupVersion { name, resources, .. } in &group.versions {
            let path = document_path(&group.name, name);
            let mut hash = DefaultHasher::new();
            for definition in definitions(cluster, resources) {
                definition["metadata"]["uid"].as_str().hash(&mut hash);
                definition["metadata"]["resourceVersion"].as_str().hash(&mut hash);
            }
            env!("CARGO_PKG_VERSION").hash(&mut hash);
            let url = format!("/openapi/v3/{path}?hash={:016X}", hash.finish());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    for (service, _) in cluster.api_services.current(&cluster.store).remote() {
        let path = document_path(&service.group, &service.version);
        match cluster.api_services.discovered(&service.name).and_then(|discovered| discovered.document) {
            Some(url) => _ = paths.insert(path, json!({"serverRelativeURL": url})),
            None => _ = paths.remove(&path),
        }
    }
    json!({"paths": paths})
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(cluster: &Cluster, scheme: &Scheme, path: &str) -> Option<Value> {
    let (group, version) = match path.split('/').collect::<Vec<_>>()[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return None,
    };
    let resources = scheme.group_version(group, version)?;
    let builtin = resources.iter().filter(|resource| resource.custom.is_none());
    let mut document =
        v3::document(group, version, builtin.map(AsRef::as_ref), &definitions(cluster, resources));
    document["info"] = json!({"title": "Kubernetes", "version": "v1.37.2"});
    Some(document)
}

/// The documents of all groups, as one document of OpenAPI version 2.
fn v2(cluster: &Cluster, scheme: &Scheme) -> Value {
    let mut all = Document::default();
    for group in scheme.groups() {
        for version in &group.versions {
            let Some(Value::Object(mut document)) =
                document(cluster, scheme, &document_path(&group.name, &version.name))
            else {
                continue;
            };
            document = v2::from_v3(document);
            let mut take = |key: &str| match document.get_mut(key).map(Value::take) {
                Some(Value::Object(members)) => members,
                _ => Map::new(),
            };
            all.paths.append(&mut take("paths"));
            all.definitions.append(&mut take("definitions"));
        }
    }
    for (service, _) in cluster.api_services.current(&cluster.store).remote() {
        let discovered = cluster.api_services.discovered(&service.name);
        if let Some(document) = discovered.and_then(|discovered| discovered.document_v2) {
            all.merge(&document);
        }
    }
    let mut document = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.37.2"},
        "paths": all.paths,
        "definitions": all.definitions,
    });
    if !all.parameters.is_empty() {
        document["parameters"] = all.parameters.into();
    }
    document
}

/// The definitions of the custom resources among these resources.
fn definitions(cluster: &Cluster, resources: &[Arc<Resource>]) -> Vec<Value> {
    let custom = resources.iter().filter_map(|resource| resource.custom.as_ref());
    let stored = custom
        .filter_map(|custom| cluster.store.get(CUSTOM_RESOURCE_DEFINITIONS.collection(), &custom.definition));
    stored.map(|object| object.value()).collect()
}
