//! `/scale`: the replicas of an object of any kind.

use http::{Method, StatusCode};
use kube_schema::Scale;
use kube_validation::go::quote;
use serde_json::Value;

use super::render::{self, Response};
use super::request::Request;
use super::{decode, write};
use crate::cluster::{Converter, WriteMethod};
use crate::resource::Resource;
use crate::status::Status;
use crate::strategy::scale::{self, ABSENT, API_VERSION, KIND, scaled, shown};

const UNREGISTERED: &str =
    r#"no kind is registered for the type v1.Scale in scheme "pkg/runtime/scheme.go:111""#;

/// GET, PUT or PATCH of a scale.
pub(super) async fn answer(request: Request<'_>) -> Result<Response, Status> {
    let (cluster, info, resource) = (request.cluster, request.info, request.resource);
    let scale = &*scale::of(resource);
    let show = |shown| render::value_response(StatusCode::OK, request.accept.encoding, &shown);
    if matches!(*request.method, Method::GET | Method::HEAD) {
        let object = cluster.object(resource, &info.namespace, &info.name)?;
        let object = resource.value(&*cluster.conversions.shown_one(resource, object).await?);
        if scale.spec_replicas(&object).map_err(Status::internal)?.is_none() {
            let path = scale.spec_replicas_path();
            return Err(Status::internal_error(format!("the spec replicas field {path:?} does not exist")));
        }
        return shown(resource, scale, &object).map(show).map_err(Status::internal);
    }
    let patching = *request.method == Method::PATCH;
    let (method, options) = match patching {
        true => (WriteMethod::Patch, "PatchOptions"),
        false => (WriteMethod::Update, "UpdateOptions"),
    };
    let options = request.query.write_options(options)?;
    let media_type = decode::media_type(request.headers).unwrap_or_default();
    let change = match patching {
        true if media_type == write::APPLY => {
            write::applied(&request, options.validation, API_VERSION, KIND)?
        }
        true => write::change(&request, &options)?,
        false => decode::subresource(&request, API_VERSION, KIND)?,
    };
    let refuse = |why: &str| match (patching, &resource.custom) {
        (true, _) => write::refused_object(&String::from_utf8_lossy(request.body), why),
        (false, None) => decode::undecodable("v1", KIND, why),
        // The codec of custom resources does not know the type, so that it cannot name it.
        (false, Some(_)) => Status::bad_request(UNREGISTERED),
    };
    let decode = |old: &Value, _: &Converter<'_>| {
        let before = || before(resource, scale, old);
        let wanted = match media_type {
            _ if !patching => Ok(change.clone()),
            "application/json-patch+json" => kube_patch::json_patch(&before()?, &change),
            _ => kube_patch::merge_patch(&before()?, &change),
        };
        let typed = kube_builtin::decode(API_VERSION, KIND, &wanted.map_err(write::refused)?)
            .ok_or_else(|| Status::internal("there is no Scale"))?;
        let typed = typed.map_err(|error| refuse(&error.to_string()))?;
        if media_type == write::APPLY && resource.custom.is_some() {
            applies(scale, old, &typed.object)?;
        }
        let unknown: Vec<_> = typed.unknown.iter().map(quote).collect();
        request.warnings.extend(options.validation.warnings(Vec::new(), &unknown, refuse)?);
        scaled(resource, scale, old, &typed.object)
    };
    let written = cluster.update(&request.write(method, &options), &decode).await?;
    let response = shown(resource, scale, &render::parse(&written.bytes)).map_err(Status::bad_request)?;
    Ok(show(response))
}

/// Refuses an apply that changes the replicas of a custom resource, or of which nobody is the owner: kube-apiserver cannot
/// convert a Scale to a custom resource.
fn applies(scale: &Scale, old: &Value, wanted: &Value) -> Result<(), Status> {
    let failed = |what: &str, name: &str| {
        Status::internal(format!(
            "{what} (/{name}; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid \
             group/version: autoscaling/v1"
        ))
    };
    if !scale.has_owner(old) {
        return Err(failed(
            "failed to create manager for existing fields: failed to convert live object",
            "",
        ));
    }
    match scale.spec_replicas(old) {
        Ok(replicas) if replicas == wanted["spec"]["replicas"].as_i64() => Ok(()),
        _ => {
            let name = old["metadata"]["name"].as_str().unwrap_or_default();
            Err(failed("failed to convert new object", name))
        }
    }
}

/// The scale of an object before a change.
fn before(resource: &Resource, scale: &Scale, old: &Value) -> Result<Value, Status> {
    let mut before = shown(resource, scale, old).map_err(Status::internal)?;
    if scale.spec_replicas(old).is_ok_and(|replicas| replicas.is_none()) {
        before["spec"]["replicas"] = ABSENT.into();
    }
    Ok(before)
}
