//! DELETE of objects and of collections.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::delete_options::{DeleteOptions, Propagation, options};
use super::mark::{mark, orphans_by_default};
use super::negotiate::Encoding;
use super::select::Selection;
use super::{Api, Request, render, warn};
use crate::lifecycle::{self, NAMESPACES, PODS};
use crate::registry::Resource;
use crate::status::Status;
use crate::store::Range;

/// The namespaces that a cluster cannot be without.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

/// What became of an object.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone; this was it.
    Gone(Bytes),
    /// It is marked, and waits for its finalizers.
    Marked(Bytes),
}

/// DELETE of one object.
pub(super) fn delete(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = options(request)?;
    let (path, resource) = (request.path, request.resource);
    let view = request.view(api)?;
    let mut response = match delete_object(api, resource, &path.namespace, &path.name, &options)? {
        Deleted::Marked(object) => view.response(StatusCode::OK, &object),
        Deleted::Gone(last) if returns_object(resource) => view.response(StatusCode::OK, &last),
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
            render::value_response(StatusCode::OK, request.accept.encoding, &status)
        }
    };
    warn_of_orphans(resource, &options, &mut response);
    Ok(response)
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
    let mut response = render::value_response(StatusCode::OK, Encoding::Json, &list);
    warn_of_orphans(resource, &options, &mut response);
    Ok(response)
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
        mark(resource, &mut new, options, api.clock.now());
        if lifecycle::is_finished(resource, &new) {
            if options.dry_run {
                return Ok(Deleted::Gone(resource.bytes(&stored)));
            }
            let mut seen = stored.revision;
            // Those who watch a Pod hear that it stops before they hear that it is gone.
            if &*resource.collection == PODS && new != old {
                let Ok(marked) = api.store.update(&resource.collection, &key, seen, new) else { continue };
                seen = marked.revision;
            }
            if let Ok(event) = api.store.delete(&resource.collection, &key, seen) {
                lifecycle::removed(api, resource, namespace, name, &old);
                return Ok(Deleted::Gone(resource.last(&event)));
            }
        } else if options.dry_run {
            return Ok(Deleted::Marked(render::bytes(&new)));
        } else if new == old {
            return Ok(Deleted::Marked(resource.bytes(&stored)));
        } else if let Ok(stored) =
            api.store.update(&resource.collection, &key, stored.revision, resource.encode(new.clone()))
        {
            lifecycle::written(api, resource, namespace, name, &new);
            return Ok(Deleted::Marked(resource.bytes(&stored)));
        }
        // It changed in between; what is asked for holds for the new state too.
    }
}

/// Says that pods stay whose Job goes, as long as the client does not say what it wants.
fn warn_of_orphans(resource: &Resource, options: &DeleteOptions, response: &mut Response) {
    if options.propagation == Propagation::Unset && resource.kind == "Job" && orphans_by_default(resource) {
        let warning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                       remove them or set propagationPolicy=Orphan to suppress this warning";
        warn(response.headers_mut(), warning);
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
