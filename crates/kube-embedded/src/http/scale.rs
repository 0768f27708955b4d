//! `/scale`: the replicas of an object of any kind.

use http::{Method, StatusCode};
use kube_selectors::LabelSelector;
use kube_validation::FieldError;
use serde_json::{Value, json};

use super::render::{self, Response};
use super::request::Request;
use super::{decode, write};
use crate::cluster::{Decoded, WriteMethod};
use crate::resource::{Resource, ScalePaths};
use crate::status::Status;

/// GET, PUT or PATCH of a scale.
pub(super) async fn answer(request: Request<'_>) -> Result<Response, Status> {
    let (cluster, info, resource) = (request.cluster, request.info, request.resource);
    let paths = paths(resource);
    let show = |scale| render::value_response(StatusCode::OK, request.accept.encoding, &scale);
    if matches!(*request.method, Method::GET | Method::HEAD) {
        let object = resource.value(&*cluster.object(resource, &info.namespace, &info.name)?);
        return scale(resource, &paths, &object).map(show);
    }
    let patching = *request.method == Method::PATCH;
    let options = request.query.write_options(if patching { "PatchOptions" } else { "UpdateOptions" })?;
    let change = match !patching && decode::is_protobuf(&request) {
        true => decode::decode_protobuf(&request, "autoscaling/v1", "Scale")?,
        false => decode::parse_yaml(request.body).map_err(Status::bad_request)?,
    };
    let media_type = decode::media_type(request.headers).unwrap_or_default();
    let decode = |old: &Value| {
        let old_scale = scale(resource, &paths, old)?;
        let patched = match (patching, media_type) {
            (false, _) => Ok(change.clone()),
            (true, "application/json-patch+json") => kube_patch::json_patch(&old_scale, &change),
            (true, _) => kube_patch::merge_patch(&old_scale, &change),
        };
        let object = scaled(old, &paths, &patched.map_err(write::refused)?, &info.name)?;
        Ok(Decoded { object, warnings: Vec::new() })
    };
    let method = if patching { WriteMethod::Patch } else { WriteMethod::Update };
    let written = cluster.update(&request.write(method, &options), &decode).await?;
    scale(resource, &paths, &render::parse(&written.bytes)).map(show)
}

/// An object with the replicas of a scale.
fn scaled(old: &Value, paths: &ScalePaths, scale: &Value, name: &str) -> Result<Value, Status> {
    let mut new = old.clone();
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => json!(0),
        replicas if replicas.as_i64().is_some_and(|it| it >= 0) => replicas.clone(),
        other => {
            let error = FieldError::invalid("spec.replicas", other, "must be greater than or equal to 0");
            return Err(Status::invalid("autoscaling", "Scale", name, vec![error]));
        }
    };
    set(&mut new, &paths.spec_replicas, replicas);
    // If absent, the write does not depend on the version that was read.
    new["metadata"]["resourceVersion"] = match &scale["metadata"]["resourceVersion"] {
        Value::String(version) if !version.is_empty() => version.as_str().into(),
        _ => old["metadata"]["resourceVersion"].clone(),
    };
    Ok(new)
}

fn paths(resource: &Resource) -> ScalePaths {
    let custom = resource.custom.as_ref().and_then(|custom| custom.scale.clone());
    custom.unwrap_or_else(ScalePaths::builtin)
}

fn scale(resource: &Resource, paths: &ScalePaths, object: &Value) -> Result<Value, Status> {
    let Some(replicas) = at(object, &paths.spec_replicas) else {
        return Err(Status::internal_error(format!(
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
    // The selector of a ReplicationController only has labels.
    let selector = match resource.kind.as_str() {
        "ReplicationController" => LabelSelector::from_object(&json!({"matchLabels": selector})),
        _ => LabelSelector::from_object(selector),
    };
    Some(selector.ok()?.to_string().into())
}

/// The value at a simple JSON path such as `.spec.replicas`.
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
