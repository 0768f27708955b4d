//! POST, PUT and PATCH.

use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::query::{FieldValidation, WriteOptions};
use super::{Api, Request, body, render, warn};
use crate::apply::{self, Types, Writer};
use crate::field::FieldError;
use crate::lifecycle;
use crate::patch;
use crate::registry::Resource;
use crate::status::{Cause, Status};
use crate::store::Error;
use crate::strategy;

/// How often a write is tried again whose object others keep changing.
const ATTEMPTS: usize = 5;
/// How often a name is generated again that is taken: as kube-apiserver.
const NAMES: usize = 8;

/// What a write left behind.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) bytes: Bytes,
    pub(super) created: bool,
    pub(super) warnings: Vec<String>,
}

/// POST to a collection.
pub(super) fn create(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("CreateOptions")?;
    let (object, warnings) = body::object(request, options.validation)?;
    let mut written = insert(api, request, &options, object)?;
    written.warnings.splice(0..0, warnings);
    answer(api, request, &written)
}

/// PUT of an object or a subresource.
pub(super) fn update(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("UpdateOptions")?;
    let (object, warnings) = body::object(request, options.validation)?;
    let (path, resource) = (request.path, request.resource);
    if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            path.name
        )));
    }
    let written = match replace(api, request, &options, |_| Ok((object.clone(), Vec::new()))) {
        Err(status)
            if status.code == 404
                && path.subresource.is_empty()
                && strategy::allows_create_on_update(resource) =>
        {
            insert(api, request, &options, object)
        }
        other => other,
    };
    let mut written = written?;
    written.warnings.splice(0..0, warnings);
    answer(api, request, &written)
}

/// PATCH of an object or a subresource.
pub(super) fn patch(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("PatchOptions")?;
    let media_type = body::media_type(request.headers).unwrap_or_default();
    match media_type {
        "application/apply-patch+yaml" => return apply(api, request, &options),
        known if patch_types(request.resource).contains(&known) => {}
        _ if request.resource.custom.is_none() => return Err(Status::unsupported_patch()),
        _ => return Err(Status::unsupported_media_type(patch_types(request.resource))),
    }
    if options.force {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(super::query::invalid_options("PatchOptions", &[error]));
    }
    let change = body::parse_json(&request.body, &mut Vec::new())
        .map_err(|_| Status::bad_request("invalid JSON patch"))?;
    let written = replace(api, request, &options, |old| {
        let patched = match media_type {
            "application/json-patch+json" => patch::json_patch(old, &change),
            "application/merge-patch+json" => patch::merge_patch(old, &change),
            _ => match apply::builtin::kind(&request.resource.api_version(), &request.resource.kind) {
                Some(kind) => patch::strategic_merge_patch(old, &change, kind),
                None => patch::merge_patch(old, &change),
            },
        };
        let mut patched = patched.map_err(|error| match error {
            patch::Error::BadRequest(message) => Status::bad_request(message),
            patch::Error::TooLarge(message) => Status::too_large_because(&message),
            patch::Error::Unprocessable => Status::unprocessable(error.to_string()),
            patch::Error::Internal(message) => Status::unexpected(message),
        })?;
        if !patched.is_object() {
            return Err(Status::unprocessable("the patched object is not an object"));
        }
        let refuse = |why: &str| {
            let shown = String::from_utf8_lossy(&request.body);
            Status::invalid("", "", "", &[FieldError::invalid("patch", &shown.as_ref().into(), why)])
        };
        let unknown = body::tidy(request.resource, &mut patched).map_err(|why| refuse(&why))?;
        let problems: Vec<String> =
            unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect();
        match options.validation {
            FieldValidation::Ignore => Ok((patched, Vec::new())),
            FieldValidation::Strict if !problems.is_empty() => {
                Err(refuse(&format!("strict decoding error: {}", problems.join(", "))))
            }
            FieldValidation::Warn | FieldValidation::Strict => Ok((patched, problems)),
        }
    })?;
    answer(api, request, &written)
}

/// Server-side apply.
fn apply(api: &Api, request: &Request<'_>, options: &WriteOptions) -> Result<Response, Status> {
    if options.manager.is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(super::query::invalid_options("PatchOptions", &[error]));
    }
    let resource = request.resource;
    let mut applied = body::parse_yaml(&request.body)
        .map_err(|error| Status::bad_request(format!("error encoding patch: yaml: {error}")))?;
    if !applied.is_object() {
        return Err(Status::bad_request("error decoding YAML: the configuration is not an object"));
    }
    let type_is = |field: &str, expected: &str| applied[field] == expected;
    if !type_is("apiVersion", &request.api_version) || !type_is("kind", &resource.kind) {
        return Err(Status::bad_request(apply::wrong_type(&applied)));
    }
    let named = applied["metadata"]["name"].as_str().unwrap_or_default();
    if !named.is_empty() && named != request.path.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({})",
            request.path.name
        )));
    }
    let metadata = strategy::metadata(&mut applied);
    metadata.insert("name".to_owned(), request.path.name.clone().into());
    if resource.namespaced {
        metadata.insert("namespace".to_owned(), request.path.namespace.clone().into());
    }
    let merge = |old: Option<&Value>| {
        apply::apply(types(resource), old, &applied, &writer(api, request, options), options.force).map_err(
            |error| match error {
                apply::Error::Conflict(conflicts) => conflict(&conflicts),
                apply::Error::Invalid(message) => Status::bad_request(message),
                apply::Error::Internal(message) => Status::unexpected(message),
            },
        )
    };
    let convert = |merged: &mut Value| match body::tidy(resource, merged) {
        Ok(_) => Ok(()),
        Err(why) => {
            let (version, kind) = (resource.api_version(), &resource.kind);
            Err(Status::unexpected(format!(
                "failed to convert new object (/{}; {version}, Kind={kind}) to proper version: unable to convert \
                 unstructured object to {version}, Kind={kind}: {why}",
                request.path.name
            )))
        }
    };
    let mut written = Err(Status::no_such_path());
    for _ in 0..ATTEMPTS {
        written = replace(api, request, options, |old| {
            let mut merged = merge(Some(old))?;
            convert(&mut merged)?;
            Ok((merged, Vec::new()))
        });
        match &written {
            Err(status) if status.code == 404 && request.path.subresource.is_empty() => {}
            _ => break,
        }
        let uid = applied["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Status::conflict(resource, &request.path.name, &why));
        }
        let mut merged = merge(None)?;
        convert(&mut merged)?;
        written = insert(api, request, options, merged);
        match &written {
            // Somebody else created it in between.
            Err(status) if status.code == 409 => {}
            _ => break,
        }
    }
    answer(api, request, &written?)
}

/// Stores a new object.
pub(super) fn insert(
    api: &Api,
    request: &Request<'_>,
    options: &WriteOptions,
    mut object: Value,
) -> Result<Written, Status> {
    let (path, resource) = (request.path, request.resource);
    if resource.namespaced && path.namespace.is_empty() {
        return Err(Status::method_not_allowed());
    }
    if let Some(custom) = &resource.custom
        && custom.terminating
    {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::forbidden(&resource.group, &resource.plural, name, why));
    }
    let text =
        |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    // What PUT and apply create has lost its version before it gets this far; a text that is no number is none.
    let versioned = *request.method == Method::POST
        && text(&object, "resourceVersion").parse::<u64>().is_ok_and(|version| version != 0);
    let namespace = text(&object, "namespace");
    if !namespace.is_empty() && namespace != path.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let base = text(&object, "generateName");
    let given = text(&object, "name");
    let mut error = Status::already_exists(resource, &given);
    for _ in 0..NAMES {
        let name = if given.is_empty() && !base.is_empty() {
            lifecycle::generate_name(&base)
        } else {
            given.clone()
        };
        lifecycle::admit(api, resource, &path.namespace, &name)?;
        let metadata = strategy::metadata(&mut object);
        for unset in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
            metadata.remove(unset);
        }
        metadata.insert("name".to_owned(), name.clone().into());
        if resource.namespaced {
            metadata.insert("namespace".to_owned(), path.namespace.clone().into());
        }
        metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".to_owned(), api.clock.seconds().into());
        // Before the server adds what is nobody's.
        if !is_apply(request) {
            apply::track(types(resource), None, &mut object, &writer(api, request, options));
        }
        strategy::prepare_create(resource, &mut object);
        lifecycle::admit_pod(api, resource, &name, &mut object)?;
        let (errors, warnings) = strategy::validate_create(resource, &object);
        if !errors.is_empty() {
            return Err(Status::invalid(&resource.group, &resource.kind, &name, &errors));
        }
        let reserved = lifecycle::reserve(api, resource, &name, &mut object, None)?;
        let key = resource.key(&path.namespace, &name);
        let other = if options.dry_run {
            // Only looked at: what stands in the way can be gone a moment later.
            let Some(other) = api.store.get(&resource.collection, &key) else {
                let bytes = render::bytes(&resource.decode(resource.encode(&object).into_owned()));
                return Ok(Written { bytes, created: true, warnings });
            };
            Some(other)
        } else {
            if versioned {
                return Err(Status::unexpected("resourceVersion should not be set on objects to be created"));
            }
            if let Ok(stored) = api.store.create(&resource.collection, &key, &resource.encode(&object)) {
                reserved.keep();
                lifecycle::written(api, resource, &path.namespace, &name, &object);
                return Ok(Written { bytes: resource.bytes(&stored), created: true, warnings });
            }
            api.store.get(&resource.collection, &key)
        };
        error = match other.is_some_and(|other| other.deleted) {
            true => Status::being_deleted(resource, &name),
            false => Status::already_exists(resource, &name),
        };
        if !given.is_empty() {
            break;
        }
    }
    Err(error)
}

/// Stores the next state of the object at the request's path, which `make` makes of the current one.
pub(super) fn replace(
    api: &Api,
    request: &Request<'_>,
    options: &WriteOptions,
    make: impl Fn(&Value) -> Result<(Value, Vec<String>), Status>,
) -> Result<Written, Status> {
    let (path, resource) = (request.path, request.resource);
    let key = resource.key(&path.namespace, &path.name);
    for _ in 0..ATTEMPTS {
        let stored = api.object(resource, path)?;
        let mut old = resource.value(&stored);
        render::set_version(resource, &mut old);
        let (mut new, mut warnings) = make(&old)?;
        body::check_metadata(resource, &new)?;
        check_target(path, &mut new)?;
        match &resource.custom {
            Some(_) => body::check_custom_type(resource, &new)?,
            None => render::set_version(resource, &mut new),
        }
        let pinned = check_version(resource, path, &mut new, &old, *request.method == Method::PUT)?;
        // Before the server adds what is nobody's; of a part of the object that this request writes alone, after.
        let tracks_early = resource.custom.is_none() && path.subresource.is_empty() && !is_apply(request);
        if tracks_early {
            apply::track(types(resource), Some(&old), &mut new, &writer(api, request, options));
        }
        strategy::prepare_update(resource, &path.subresource, &mut new, &old);
        let (errors, odd) = strategy::validate_update(resource, &path.subresource, &new, &old);
        if !errors.is_empty() {
            return Err(Status::invalid(&resource.group, &resource.kind, &path.name, &errors));
        }
        warnings.extend(odd);
        if !is_apply(request) && !tracks_early {
            apply::track(types(resource), Some(&old), &mut new, &writer(api, request, options));
        }
        apply::keep_times(&old, &mut new);
        let reserved = lifecycle::reserve(api, resource, &path.name, &mut new, Some(&old))?;
        // What is stored may be other than what clients get of it.
        let unchanged = match resource.is_plain(&stored) {
            true => new == old,
            false => *resource.encode(&new) == stored.value(),
        };
        if unchanged {
            return Ok(Written { bytes: resource.bytes(&stored), created: false, warnings });
        }
        let gone = lifecycle::is_finished(resource, &new);
        if options.dry_run {
            let bytes = render::bytes(&resource.decode(resource.encode(&new).into_owned()));
            return Ok(Written { bytes, created: false, warnings });
        }
        let written = if gone {
            api.store.delete(&resource.collection, &key, stored.revision).map(|event| resource.last(&event))
        } else {
            api.store
                .update(&resource.collection, &key, stored.revision, &resource.encode(&new))
                .map(|stored| resource.bytes(&stored))
        };
        match written {
            Ok(bytes) if gone => {
                reserved.keep();
                lifecycle::removed(api, resource, &path.namespace, &path.name, &old);
                return Ok(Written { bytes, created: false, warnings });
            }
            Ok(bytes) => {
                reserved.keep();
                lifecycle::written(api, resource, &path.namespace, &path.name, &new);
                return Ok(Written { bytes, created: false, warnings });
            }
            Err(Error::Changed) if !pinned => {}
            Err(_) => return Err(Status::modified(resource, &path.name)),
        }
    }
    Err(Status::modified(resource, &path.name))
}

/// Refuses an object with another name or namespace than its path; it may leave out the namespace.
fn check_target(path: &super::path::Path, new: &mut Value) -> Result<(), Status> {
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    if name != path.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            path.name
        )));
    }
    let namespace = new["metadata"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() && !path.namespace.is_empty() {
        strategy::metadata(new).insert("namespace".to_owned(), path.namespace.clone().into());
    } else if namespace != path.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Compares what a client has read with what is stored; true if it said what it has read.
fn check_version(
    resource: &Resource,
    path: &super::path::Path,
    new: &mut Value,
    old: &Value,
    put: bool,
) -> Result<bool, Status> {
    let text = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let number = |text: &str| match text {
        "" => Ok(0),
        text => text.parse::<u64>().map_err(|error| {
            let why = match error.kind() {
                std::num::IntErrorKind::PosOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Status::unexpected(format!("strconv.ParseUint: parsing {text:?}: {why}"))
        }),
    };
    let current = &old["metadata"]["resourceVersion"];
    // 0 is as good as none.
    let given = number(&text(new))?;
    if given == 0 {
        if !strategy::allows_unconditional_update(resource) {
            let error =
                FieldError::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(Status::invalid(&resource.group, &resource.plural, &path.name, &[error]));
        }
    } else if number(&text(old))? != given {
        return Err(Status::modified(resource, &path.name));
    }
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let old_uid = old["metadata"]["uid"].as_str().unwrap_or_default();
    if put && !uid.is_empty() && uid != old_uid {
        let key = format!(
            "/registry/{}/{}",
            resource.collection.trim_start_matches('/'),
            resource.key(&path.namespace, &path.name)
        );
        return Err(Status::conflict(
            resource,
            &path.name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
                 failed: UID in precondition: {uid}, UID in object meta: {old_uid}"
            ),
        ));
    }
    strategy::metadata(new).insert("resourceVersion".to_owned(), current.clone());
    Ok(given != 0)
}

fn conflict(conflicts: &[apply::Conflict]) -> Status {
    let causes = conflicts.iter().map(|conflict| Cause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {}", conflict.manager),
        field: conflict.field.clone(),
    });
    Status::apply_conflict(apply::conflict_message(conflicts), causes.collect())
}

fn types(resource: &Resource) -> Types<'_> {
    match &resource.custom {
        Some(custom) => Types::Schema(&custom.schema),
        None => Types::builtin(&resource.api_version(), &resource.kind),
    }
}

fn writer<'a>(api: &Api, request: &'a Request<'_>, options: &'a WriteOptions) -> Writer<'a> {
    const STATUS: &[&[&str]] = &[&["status"]];
    let reset = match request.path.subresource.as_str() {
        "" if request.resource.has_status() => STATUS,
        _ => &[],
    };
    Writer {
        manager: request.manager(&options.manager),
        subresource: &request.path.subresource,
        api_version: &request.api_version,
        time: api.clock.now(),
        reset,
    }
}

fn is_apply(request: &Request<'_>) -> bool {
    body::media_type(request.headers) == Some("application/apply-patch+yaml")
}

fn patch_types(resource: &Resource) -> &'static [&'static str] {
    let all = &[
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
        "application/strategic-merge-patch+json",
    ];
    if resource.custom.is_some() { &all[..3] } else { all }
}

fn answer(api: &Api, request: &Request<'_>, written: &Written) -> Result<Response, Status> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = request.view(api)?.response(code, &written.bytes);
    for warning in &written.warnings {
        warn(response.headers_mut(), warning);
    }
    Ok(response)
}
