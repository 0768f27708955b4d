//! POST of `pods/binding`, `bindings` and `pods/eviction`.

use http::StatusCode;
use serde_json::{Value, json};

use super::render::{self, Response};
use super::request::Request;
use super::{decode, delete_options};
use crate::status::Status;

/// POST of a `Binding`: assigns a Pod to a node, which is possible once.
pub(super) async fn bind(request: Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("CreateOptions")?;
    let mut binding = decode::typed_subresource(&request, "v1", "Binding")?;
    let name = named(request, &binding, "Binding")?;
    request.cluster.admit_subresource(&request.posted(&name, &options), &mut binding).await?;
    request.cluster.bind(&request.info.namespace, &name, &binding, options.dry_run)?;
    Ok(success(request))
}

/// POST of an `Eviction`: deletes the Pod, unless a PodDisruptionBudget forbids it.
pub(super) async fn evict(request: Request<'_>) -> Result<Response, Status> {
    let given = request.query.write_options("CreateOptions")?;
    let mut eviction = decode::typed_subresource(&request, "policy/v1", "Eviction")?;
    let name = named(request, &eviction, "Eviction")?;
    request.cluster.admit_subresource(&request.posted(&name, &given), &mut eviction).await?;
    let mut options = delete_options::parse(&eviction["deleteOptions"])?;
    options.dry_run |= given.dry_run;
    request.cluster.evict(&request.info.namespace, &name, options).await?;
    Ok(success(request))
}

/// The name of the object that a body is for.
fn named(request: Request<'_>, object: &Value, kind: &str) -> Result<String, Status> {
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if !request.info.name.is_empty() && given != request.info.name {
        return Err(Status::bad_request(format!("name in URL does not match name in {kind} object")));
    }
    Ok(given.to_owned())
}

fn success(request: Request<'_>) -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    render::value_response(StatusCode::CREATED, request.accept.encoding, &status)
}
