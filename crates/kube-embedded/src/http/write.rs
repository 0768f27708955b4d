//! POST, PUT and PATCH.

use http::StatusCode;
use kube_patch::PatchError;
use kube_validation::FieldError;
use kube_validation::go::{self, json_type};
use serde_json::{Map, Value};

use super::decode;
use super::patched::text;
use super::query::{FieldValidation, WriteOptions, invalid_options};
use super::render::Response;
use super::request::Request;
use super::yaml::Document;
use crate::cluster::{Converter, WriteMethod, Written};
use crate::resource::Resource;
use crate::status::Status;
use crate::strategy;

/// The media type of server-side apply.
pub(super) const APPLY: &str = "application/apply-patch+yaml";
/// The media type of strategic merge patches.
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// POST to a collection.
pub(super) async fn create(request: Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("CreateOptions")?;
    let mut object = decode::object(&request, options.validation)?;
    request.warnings.extend(strategy::remove_repeated_owners(&mut object, false));
    let write = request.write(WriteMethod::Create, &options);
    answer(request, request.cluster.create(&write, object).await?)
}

/// PUT of an object or a subresource.
pub(super) async fn update(request: Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("UpdateOptions")?;
    let mut object = decode::object(&request, options.validation)?;
    request.warnings.extend(strategy::remove_repeated_owners(&mut object, false));
    if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            request.info.name
        )));
    }
    let write = request.write(WriteMethod::Update, &options);
    answer(request, request.cluster.update_or_create(&write, object).await?)
}

/// PATCH of an object or a subresource.
pub(super) async fn patch(request: Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("PatchOptions")?;
    let media_type = decode::media_type(request.headers).unwrap_or_default();
    if media_type == APPLY {
        return apply(request, &options).await;
    }
    let change = change(&request, &options)?;
    let resource = request.resource;
    let patched = |old: &Value| {
        let patched = match media_type {
            "application/json-patch+json" => kube_patch::json_patch(old, &change),
            "application/merge-patch+json" => kube_patch::merge_patch(old, &change),
            _ => kube_patch::strategic_merge_patch(old, &change, resource.merge_type()),
        };
        patched.map_err(refused)
    };
    let decode = |old: &Value, _: &Converter<'_>| {
        let refuse = |why: &str| match media_type {
            STRATEGIC => refused_object(&go::value(&change), why),
            // The object is patched once more, so that others need no copy.
            _ => {
                patched(old).map_or_else(|error| error, |object| refused_object(&text(&object, &change), why))
            }
        };
        let mut patched = patched(old)?;
        // A strategic merge patch is applied to a Go struct, whose type it cannot change.
        if request.resource.custom.is_none() && media_type != "application/strategic-merge-patch+json" {
            keep_type(request.resource, &mut patched).map_err(|why| refuse(&why))?;
        }
        decode_patched(&request, options.validation, patched, refuse)
    };
    let write = request.write(WriteMethod::Patch, &options);
    answer(request, request.cluster.update(&write, &decode).await?)
}

/// Converts a patched object that is now of another version of its kind.
///
/// # Errors
/// Fails as Go does if it is of another kind.
fn keep_type(resource: &Resource, patched: &mut Value) -> Result<(), String> {
    let text = |field: &str| patched[field].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let is_own = |given: &str, own: &str| given.is_empty() || given == own;
    if is_own(&version, &resource.api_version()) && is_own(&kind, &resource.kind) {
        return Ok(());
    }
    if kind == resource.kind && kube_builtin::versions(&resource.api_version(), &kind).contains(&&*version) {
        kube_builtin::convert(patched, &resource.api_version());
        return Ok(());
    }
    if kube_builtin::decode(&version, &kind, &Value::Object(Map::new())).is_none() {
        return Err(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
        ));
    }
    let name = version.rsplit('/').next().unwrap_or_default();
    let package = match resource.group.split('.').next() {
        None | Some("" | "events") => "core",
        Some(package) => package,
    };
    Err(format!("converting ({name}.{kind}) to ({package}.{}): unknown conversion", resource.kind))
}

/// The patch in a body, which is not for apply.
pub(super) fn change(request: &Request<'_>, options: &WriteOptions) -> Result<Value, Status> {
    let known = patch_types(request.resource);
    if !decode::media_type(request.headers).is_some_and(|given| known.contains(&given)) {
        return Err(match request.resource.custom {
            None => Status::unsupported_patch(),
            Some(_) => Status::unsupported_media_type(known),
        });
    }
    if options.force {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid_options("PatchOptions", vec![error]));
    }
    decode::parse_json(request.body, &mut Vec::new()).map_err(|_| Status::bad_request("invalid JSON patch"))
}

/// Decodes a patched object into the form in which it is stored, and records warnings.
fn decode_patched(
    request: &Request<'_>,
    validation: FieldValidation,
    mut object: Value,
    refuse: impl Fn(&str) -> Status,
) -> Result<Value, Status> {
    if !object.is_object() {
        return Err(Status::unprocessable("the patched object is not an object"));
    }
    let is_strategic = decode::media_type(request.headers) == Some(STRATEGIC);
    let unknown = strategy::normalize(request.resource, &mut object).map_err(|error| match is_strategic {
        true => refuse(error.unstructured()),
        false => refuse(&error.to_string()),
    })?;
    request.warnings.extend(validation.warnings(Vec::new(), &unknown, refuse)?);
    Ok(object)
}

/// The configuration of an apply, which must be an object of a type.
pub(super) fn applied(
    request: &Request<'_>,
    validation: FieldValidation,
    api_version: &str,
    kind: &str,
) -> Result<Value, Status> {
    let document = decode::yaml(request.body).map_err(|why| {
        // What looks like JSON is read only once it is decoded.
        match request.body.trim_ascii_start().starts_with(b"{") {
            true => {
                Status::bad_request(format!("error decoding patch: error converting YAML to JSON: {why}"))
            }
            false => Status::bad_request(format!("error encoding patch: {why}")),
        }
    })?;
    let strict_error = document.strict_error();
    let Document { value: mut applied, repeated } = document;
    if applied.is_null() {
        applied = Value::Object(Map::new());
    }
    if !applied.is_object() {
        return Err(Status::bad_request(format!(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of \
             type map[string]interface {{}}",
            json_type(&applied)
        )));
    }
    if applied["apiVersion"] != api_version || applied["kind"] != kind {
        return Err(Status::bad_request(kube_patch::wrong_type(&applied)));
    }
    match (validation, strict_error) {
        (FieldValidation::Strict, Some(why)) => Err(Status::bad_request(format!(
            "error strict decoding patch: error converting YAML to JSON: {why}"
        ))),
        (FieldValidation::Ignore, _) => Ok(applied),
        _ => {
            request.warnings.extend(repeated);
            Ok(applied)
        }
    }
}

/// Server-side apply.
async fn apply(request: Request<'_>, options: &WriteOptions) -> Result<Response, Status> {
    if options.manager.is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(invalid_options("PatchOptions", vec![error]));
    }
    let resource = request.resource;
    let mut applied = applied(&request, options.validation, &resource.api_version(), &resource.kind)?;
    if resource.custom.is_some()
        && let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut)
    {
        // The server's, whatever is applied: kube-apiserver does not even look at its type.
        metadata.remove("creationTimestamp");
    }
    let write = request.write(WriteMethod::Apply, options);
    answer(request, request.cluster.apply(&write, &applied, options.force).await?)
}

/// The error for a patch whose result, which is shown, was refused.
pub(super) fn refused_object(shown: &str, why: &str) -> Status {
    Status::invalid("", "", "", vec![FieldError::invalid("patch", &shown.into(), why)])
}

/// The error for a patch that was refused.
pub(super) fn refused(error: PatchError) -> Status {
    match error {
        PatchError::BadRequest(message) => Status::bad_request(message),
        PatchError::TooLarge(message) => Status::too_large_because(&message),
        PatchError::Internal(message) => Status::internal(message),
        other => Status::unprocessable(other.to_string()),
    }
}

fn patch_types(resource: &Resource) -> &'static [&'static str] {
    let all = &["application/json-patch+json", "application/merge-patch+json", APPLY, STRATEGIC];
    if resource.custom.is_some() { &all[..3] } else { all }
}

fn answer(request: Request<'_>, written: Written) -> Result<Response, Status> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(request.view()?.response(code, written.bytes.into()))
}
