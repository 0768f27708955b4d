//! `pods/exec`, `pods/attach` and `pods/portforward`: everything before the connection is upgraded. `ConnectResource` of apiserver,
//! and `AttachREST` and its siblings of kubernetes' `pkg/registry/core/pod/rest`.

use serde_json::{Value, json};

use super::containers::Located;
use super::query::Query;
use super::render::Response;
use super::request::Request;
use super::sessions;
use crate::cluster::{Operation, RequestInfo, RequestOptions};
use crate::status::Status;

/// Connects a client with a process or the ports of a Pod, if a test has put some.
pub(super) async fn connect(request: Request<'_>) -> Result<Response, Status> {
    let (info, query) = (request.info, request.query);
    if query.all("dryRun").next().is_some() {
        return Err(Status::bad_request("dryRun is not supported"));
    }
    let mut options = options(&info.subresource, query)?;
    let admission = request.admission(Operation::Connect, &info.name, RequestOptions::Connect, false);
    request.cluster.admit_subresource(&admission, &mut options).await?;
    authorize_create(request)?;
    let pod = Located::of(request)?;
    let container = match info.subresource.as_str() {
        "portforward" => String::new(),
        _ => pod.container(options["container"].as_str().unwrap_or_default())?,
    };
    if !pod.has_host() {
        return Err(pod.no_host());
    }
    sessions::open(request, &options, container)
}

/// Also a GET, as by a WebSocket, needs the permission to create: `AuthorizePodWebsocketUpgradeCreatePermission`.
fn authorize_create(request: Request<'_>) -> Result<(), Status> {
    let create = RequestInfo { verb: "create", ..request.info.clone() };
    let authorized = request.cluster.rbac.authorize(&request.cluster.store, request.user, &create, None);
    authorized.map_err(|_| Status::forbidden("", &request.resource.plural, &request.info.name, ""))
}

/// The query as an object of the subresource's kind, as admission sees it.
fn options(subresource: &str, query: &Query) -> Result<Value, Status> {
    let kind = match subresource {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    if subresource == "portforward" {
        let ports = ports(query)?;
        if !ports.is_empty() {
            options["ports"] = ports.into();
        }
        return Ok(options);
    }
    for flag in ["stdin", "stdout", "stderr", "tty"] {
        if query.flag(flag) == Some(true) {
            options[flag] = true.into();
        }
    }
    if let Some(container) = query.get("container") {
        options["container"] = container.into();
    }
    if subresource == "exec" {
        let command: Vec<&str> = query.all("command").collect();
        options["command"] = if command.is_empty() { Value::Null } else { json!(command) };
    }
    Ok(options)
}

fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let all = query.all("ports").flat_map(|list| list.split(','));
    let parse = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
        // Rust accepts a sign, Go does not.
        text.parse().ok().filter(|_| is_number).ok_or_else(|| {
            let why = match is_number {
                true => "value out of range",
                false => "invalid syntax",
            };
            Status::bad_request(format!(
                "cannot convert to []int32: strconv.ParseUint: parsing {text:?}: {why}"
            ))
        })
    };
    all.map(parse).collect()
}
