//! `componentstatuses`: the health of a control plane's parts, through an API that has long been deprecated. They are
//! not stored.

use http::StatusCode;
use serde_json::{Value, json};

use super::render::{self, Response};
use super::request::Request;
use crate::resource::{GroupKind, Resource, to_json};
use crate::status::Status;

/// Whether this is the resource `componentstatuses`.
pub(super) fn are(resource: &Resource) -> bool {
    resource.group_kind() == GroupKind { group: "", kind: "ComponentStatus" }
}

/// GET of one component, or of all.
pub(super) fn answer(request: Request<'_>) -> Result<Response, Status> {
    let (view, name) = (request.view()?, &request.info.name);
    if !name.is_empty() {
        let found = all().into_iter().find(|component| component["metadata"]["name"] == name.as_str());
        let found = found.ok_or_else(|| Status::not_found("", "componentstatus", name))?;
        return Ok(view.response(StatusCode::OK, to_json(&found).into()));
    }
    let list = view.list(all().into_iter().map(|component| view.item(component)).collect(), json!({}));
    Ok(render::value_response(StatusCode::OK, request.accept.encoding, &list))
}

/// The components that kube-apiserver checks. This server has a store, but not the others.
fn all() -> [Value; 3] {
    let component = |name: &str, healthy: &str, message: &str| {
        let condition = json!({"type": "Healthy", "status": healthy, "message": message});
        json!({"metadata": {"name": name}, "conditions": [condition]})
    };
    [
        component("controller-manager", "False", "the embedded API server has no kube-controller-manager"),
        component("scheduler", "False", "the embedded API server has no kube-scheduler"),
        component("etcd-0", "True", "ok"),
    ]
}
