//! DELETE of objects and of collections.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::negotiate::Encoding;
use super::query::{invalid_dry_run, invalid_options};
use super::select::Selection;
use super::{Api, Request, body, render};
use crate::controllers::{definition, garbage};
use crate::field::FieldError;
use crate::lifecycle::{self, NAMESPACES};
use crate::registry::{CRDS, Resource};
use crate::status::Status;
use crate::store::Range;
use crate::strategy;

/// The namespaces that a cluster cannot be without.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

/// `DeleteOptions`, those that matter here.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(super) dry_run: bool,
    propagation: Propagation,
    uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Propagation {
    /// What its finalizers say, else as background.
    #[default]
    Default,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// What became of an object.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone; this was it.
    Gone(Bytes),
    /// It is marked, and waits for its finalizers.
    Marked(Bytes),
}

impl DeleteOptions {
    /// What the object owns goes before it.
    pub(crate) fn foreground() -> Self {
        Self { propagation: Propagation::Foreground, ..Self::default() }
    }

    /// Those of an object or null; an absent one asks for nothing.
    pub(super) fn read(options: &Value) -> Result<Self, Status> {
        let dry_run = match &options["dryRun"] {
            Value::Null => false,
            Value::Array(values) if values.is_empty() => false,
            Value::Array(values) if values.iter().all(|value| value == "All") => true,
            other => return Err(invalid_dry_run("DeleteOptions", other)),
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let preconditions = &options["preconditions"];
        Ok(Self {
            dry_run,
            propagation: propagation(
                options["propagationPolicy"].as_str(),
                options["orphanDependents"].as_bool(),
            )?,
            uid: text(&preconditions["uid"]),
            resource_version: text(&preconditions["resourceVersion"]),
        })
    }

    /// Refuses to delete an object that is not the one, or not in the state, that is asked for.
    pub(super) fn check(&self, resource: &Resource, name: &str, object: &Value) -> Result<(), Status> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        if let Some(uid) = &self.uid
            && uid != text("uid")
        {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted \
                 and then recreated",
                text("uid")
            );
            return Err(Status::conflict_of_kind(resource, name, &why));
        }
        if let Some(version) = &self.resource_version
            && version != text("resourceVersion")
        {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
                 object might have been modified",
                text("resourceVersion")
            );
            return Err(Status::conflict_of_kind(resource, name, &why));
        }
        Ok(())
    }
}

/// DELETE of one object.
pub(super) fn delete(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = options(request)?;
    let (path, resource) = (request.path, request.resource);
    let view = request.view(api)?;
    match delete_object(api, resource, &path.namespace, &path.name, &options)? {
        Deleted::Marked(object) => Ok(view.response(StatusCode::OK, &object)),
        Deleted::Gone(last) if returns_object(resource) => Ok(view.response(StatusCode::OK, &last)),
        Deleted::Gone(last) => {
            let last = render::parse(&last);
            let mut details =
                json!({"name": path.name, "kind": resource.plural, "uid": last["metadata"]["uid"]});
            if !resource.group.is_empty() {
                details["group"] = resource.group.clone().into();
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            Ok(render::value_response(StatusCode::OK, request.accept.encoding, &status))
        }
    }
}

/// DELETE of what a selection of a collection holds.
pub(super) fn collection(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = options(request)?;
    let list = request.query.list_options()?;
    let selection = Selection::parse(request.resource, &list)?;
    let resource = request.resource;
    let prefix = super::read::prefix(request);
    let range = Range { prefix: &prefix, ..Range::default() };
    let page = api
        .store
        .list(&resource.collection, range, None)
        .map_err(|error| Status::internal(error.to_string()))?;
    let mut items = Vec::new();
    for object in page.objects.iter().filter(|object| selection.matches(resource, object)) {
        let (namespace, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
        match delete_object(api, resource, namespace, name, &options) {
            Ok(_) => items.push(resource.value(object)),
            // Somebody else deleted it.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let list = json!({
        "kind": resource.list_kind,
        "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": page.revision.to_string()},
        "items": items,
    });
    Ok(render::value_response(StatusCode::OK, Encoding::Json, &list))
}

/// Deletes an object, or marks it as deleted if it has finalizers.
pub(crate) fn delete_object(
    api: &Api,
    resource: &Arc<Resource>,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    if &*resource.collection == NAMESPACES && PROTECTED.contains(&name) {
        return Err(Status::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    let key = resource.key(namespace, name);
    loop {
        let stored = api
            .store
            .get(&resource.collection, &key)
            .ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))?;
        let old = resource.value(&stored);
        options.check(resource, name, &old)?;
        let mut new = old.clone();
        mark(api, resource, &mut new, options);
        if lifecycle::is_finished(resource, &new) {
            if options.dry_run {
                return Ok(Deleted::Gone(resource.bytes(&stored)));
            }
            if let Ok(event) = api.store.delete(&resource.collection, &key, stored.revision) {
                lifecycle::removed(api, resource, namespace, name, &old);
                return Ok(Deleted::Gone(resource.last(&event)));
            }
        } else if options.dry_run {
            return Ok(Deleted::Marked(render::bytes(&new)));
        } else if new == old {
            return Ok(Deleted::Marked(resource.bytes(&stored)));
        } else if let Ok(stored) =
            api.store.update(&resource.collection, &key, stored.revision, &resource.encode(&new))
        {
            lifecycle::written(api, resource, namespace, name, &new);
            return Ok(Deleted::Marked(resource.bytes(&stored)));
        }
        // It changed in between; what is asked for holds for the new state too.
    }
}

/// Marks an object as deleted, and says by finalizers what has to come first.
fn mark(api: &Api, resource: &Resource, object: &mut Value, options: &DeleteOptions) {
    let marked = lifecycle::is_deleted(object);
    let metadata = strategy::metadata(object);
    if !marked {
        metadata.insert("deletionTimestamp".to_owned(), api.clock.seconds().into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    let mut finalizers: Vec<Value> =
        metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    if options.propagation != Propagation::Default {
        finalizers.retain(|finalizer| finalizer != garbage::ORPHAN && finalizer != garbage::FOREGROUND);
    }
    match options.propagation {
        Propagation::Orphan => finalizers.push(garbage::ORPHAN.into()),
        Propagation::Foreground => finalizers.push(garbage::FOREGROUND.into()),
        Propagation::Default | Propagation::Background => {}
    }
    match &*resource.collection {
        CRDS if !marked => {
            finalizers.push(definition::FINALIZER.into());
            definition::mark_terminating(object, &api.clock.seconds());
        }
        NAMESPACES if !marked => {
            metadata.remove("deletionGracePeriodSeconds");
            object["status"]["phase"] = "Terminating".into();
        }
        _ => {}
    }
    let metadata = strategy::metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Reads the options from the body, or else from the query.
fn options(request: &Request<'_>) -> Result<DeleteOptions, Status> {
    let body = body::options(request)?;
    if body.is_null() {
        return Ok(DeleteOptions {
            dry_run: request.query.dry_run("DeleteOptions")?,
            propagation: propagation(
                request.query.get("propagationPolicy"),
                request.query.flag("orphanDependents"),
            )?,
            ..DeleteOptions::default()
        });
    }
    let mut options = DeleteOptions::read(&body)?;
    options.dry_run |= request.query.dry_run("DeleteOptions")?;
    Ok(options)
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Propagation, Status> {
    match (policy, orphan) {
        (None, None) => Ok(Propagation::Default),
        (None, Some(true)) | (Some("Orphan"), None) => Ok(Propagation::Orphan),
        (None, Some(false)) | (Some("Background"), None) => Ok(Propagation::Background),
        (Some("Foreground"), None) => Ok(Propagation::Foreground),
        (Some(policy), Some(_)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", &policy.into(), why);
            Err(invalid_options("DeleteOptions", &[error]))
        }
        (Some(other), None) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", &other.into(), &supported);
            Err(invalid_options("DeleteOptions", &[error]))
        }
    }
}

/// Whether the answer to a deletion is the object, and not a `Status`.
fn returns_object(resource: &Resource) -> bool {
    let kinds = [
        "CSIDriver",
        "CSINode",
        "DeviceClass",
        "Namespace",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "ResourceQuota",
        "ResourceSlice",
        "Service",
        "ServiceAccount",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
    ];
    resource.custom.is_none() && kinds.contains(&resource.kind.as_str())
}
