//! `/scale`: replicas of an object, whatever its kind.

use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Api, Request, body, render, write};
use crate::patch;
use crate::registry::{Resource, Scale};
use crate::status::Status;
use crate::table;

/// GET, PUT or PATCH of a scale.
pub(super) fn answer(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let resource = request.resource;
    let paths = paths(resource);
    let read = |object: &Value| scale(resource, &paths, object);
    if matches!(*request.method, Method::GET | Method::HEAD) {
        let object = resource.value(&*api.object(resource, request.path)?);
        return Ok(render::value_response(StatusCode::OK, request.accept.encoding, &read(&object)?));
    }
    let patching = *request.method == Method::PATCH;
    let options = request.query.write_options(if patching { "PatchOptions" } else { "UpdateOptions" })?;
    let change = match !patching && body::is_protobuf(request) {
        true => body::decode_protobuf(request, "autoscaling/v1", "Scale")?,
        false => body::parse_yaml(&request.body).map_err(Status::bad_request)?,
    };
    let media_type = body::media_type(request.headers).unwrap_or_default();
    let written = write::replace(api, request, &options, |old| {
        let old_scale = read(old)?;
        let new_scale = match (patching, media_type) {
            (false, _) => change.clone(),
            (true, "application/json-patch+json") => patched(patch::json_patch(&old_scale, &change))?,
            (true, _) => patched(patch::merge_patch(&old_scale, &change))?,
        };
        let mut new = old.clone();
        let replicas = match &new_scale["spec"]["replicas"] {
            Value::Null => json!(0),
            replicas if replicas.as_i64().is_some_and(|it| it >= 0) => replicas.clone(),
            other => {
                let why = "must be greater than or equal to 0";
                let error = crate::field::FieldError::invalid("spec.replicas", other, why);
                let name = &request.path.name;
                return Err(Status::invalid("autoscaling", "Scale", name, &[error]));
            }
        };
        set(&mut new, &paths.spec_replicas, replicas);
        // Absent: the write does not depend on what was read.
        new["metadata"]["resourceVersion"] = match &new_scale["metadata"]["resourceVersion"] {
            Value::String(version) if !version.is_empty() => version.as_str().into(),
            _ => old["metadata"]["resourceVersion"].clone(),
        };
        Ok((new, Vec::new()))
    })?;
    let object = render::parse(&written.bytes);
    Ok(render::value_response(StatusCode::OK, request.accept.encoding, &read(&object)?))
}

fn patched(patched: Result<Value, patch::Error>) -> Result<Value, Status> {
    patched.map_err(|error| Status::bad_request(error.to_string()))
}

fn paths(resource: &Resource) -> Scale {
    let custom = resource.custom.as_ref().and_then(|custom| custom.scale.clone());
    custom.unwrap_or_else(|| Scale {
        spec_replicas: ".spec.replicas".to_owned(),
        status_replicas: ".status.replicas".to_owned(),
        label_selector: None,
    })
}

fn scale(resource: &Resource, paths: &Scale, object: &Value) -> Result<Value, Status> {
    let Some(replicas) = at(object, &paths.spec_replicas) else {
        return Err(Status::internal(format!(
            "the spec replicas field {:?} does not exist",
            paths.spec_replicas
        )));
    };
    let mut status =
        json!({"replicas": at(object, &paths.status_replicas).cloned().unwrap_or_else(|| json!(0))});
    let written = paths.label_selector.as_ref().and_then(|path| at(object, path).cloned());
    if let Some(selector) = written.or_else(|| builtin_selector(resource, object)) {
        status["selector"] = selector;
    }
    let metadata = &object["metadata"];
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": replicas},
        "status": status,
    }))
}

/// The selector of a built-in kind, as text.
fn builtin_selector(resource: &Resource, object: &Value) -> Option<Value> {
    if resource.custom.is_some() {
        return None;
    }
    let selector = at(object, ".spec.selector")?;
    // That of a ReplicationController is of labels alone.
    let text = match resource.kind.as_str() {
        "ReplicationController" => table::selector(&json!({"matchLabels": selector})),
        _ => table::selector(selector),
    };
    Some(text.into())
}

/// The value at a simple JSON path, as `.spec.replicas`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(object, |value, part| value.get(part))
}

fn set(object: &mut Value, path: &str, new: Value) {
    let mut value = object;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        if !value.is_object() {
            *value = json!({});
        }
        value = &mut value[part];
    }
    *value = new;
}
