//! `componentstatuses`: how the parts of a control plane are, by an API that has long been deprecated. No store has them.

use http::StatusCode;
use serde_json::{Value, json};

use super::render::{self, Response};
use super::request::Request;
use crate::resource::{GroupKind, Resource, to_json};
use crate::status::Status;

/// Whether the resource is this one.
pub(super) fn are(resource: &Resource) -> bool {
    resource.group_kind() == GroupKind { group: "", kind: "ComponentStatus" }
}

/// GET of one or of all.
pub(super) fn answer(request: Request<'_>) -> Result<Response, Status> {
    let (view, name) = (request.view()?, &request.info.name);
    if !name.is_empty() {
        let found = all().into_iter().find(|component| component["metadata"]["name"] == name.as_str());
        let found = found.ok_or_else(|| Status::not_found("", "componentstatus", name))?;
        return Ok(view.response(StatusCode::OK, &to_json(&found)));
    }
    let list = view.list(all().into_iter().map(|component| view.item(component)).collect(), json!({}));
    Ok(render::value_response(StatusCode::OK, request.accept.encoding, &list))
}

/// Those that kube-apiserver asks. Here the store answers, and the others are not there.
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
