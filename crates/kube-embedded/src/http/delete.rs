//! DELETE of objects and of collections.

use http::StatusCode;
use serde_json::json;

use super::delete_options::delete_options;
use super::read::page;
use super::render::{self, Response};
use super::request::Request;
use crate::cluster::{
    AdmissionRequest, DeleteOptions, Deleted, Operation, Propagation, RequestOptions, Selection, Target,
    orphans_by_default,
};
use crate::resource::Resource;
use crate::status::Status;

/// DELETE of one object.
pub(super) async fn delete(request: Request<'_>) -> Result<Response, Status> {
    let options = delete_options(&request)?;
    let (info, resource) = (request.info, request.resource);
    let view = request.view()?;
    warn_of_orphans(request, &options);
    let response = match request
        .cluster
        .delete(request.target(), &options, Some(&admission(&request, &options, &info.name)))
        .await?
    {
        Deleted::Marked(object) => view.response(StatusCode::OK, object.into()),
        Deleted::Gone(last) if returns_object(resource) => view.response(StatusCode::OK, last.into()),
        Deleted::Gone(last) => {
            let last = render::parse(&last);
            let mut details =
                json!({"name": info.name, "kind": resource.plural, "uid": last["metadata"]["uid"]});
            if !resource.group.is_empty() {
                details["group"] = resource.group.clone().into();
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            render::value_response(StatusCode::OK, request.accept.encoding, &status)
        }
    };
    Ok(response)
}

/// What admission sees of a deletion. `name`: the object's, or nothing if a collection is deleted.
fn admission<'a>(request: &Request<'a>, options: &'a DeleteOptions, name: &'a str) -> AdmissionRequest<'a> {
    request.admission(Operation::Delete, name, RequestOptions::Delete(options), options.dry_run)
}

/// DELETE of the selected objects of a collection.
pub(super) async fn delete_collection(request: Request<'_>) -> Result<Response, Status> {
    let options = delete_options(&request)?;
    let list = request.query.list_options()?;
    let (cluster, resource, view) = (request.cluster, request.resource, request.view()?);
    let selection = Selection::parse(resource, &list.labels, &list.fields)?;
    warn_of_orphans(request, &options);
    let (page, metadata) = page(request, &list, &selection).await?;
    let mut items = Vec::new();
    for object in &page.objects {
        let admission = admission(&request, &options, "");
        match cluster.delete(Target::of(resource, object), &options, Some(&admission)).await {
            Ok(_) => items.push(view.item(resource.value(object))),
            // Another client has deleted it.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let list = view.list(items, metadata);
    Ok(render::value_response(StatusCode::OK, request.accept.encoding, &list))
}

/// Warns a client that deletes a Job without a propagation policy that its Pods are kept.
fn warn_of_orphans(request: Request<'_>, options: &DeleteOptions) {
    let resource = request.resource;
    if options.propagation == Propagation::Unset && resource.kind == "Job" && orphans_by_default(resource) {
        let warning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                       remove them or set propagationPolicy=Orphan to suppress this warning";
        request.warnings.extend([warning.to_owned()]);
    }
}

/// Whether a deletion is answered with the object, rather than with a `Status`.
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
