//! A server that is built without the feature `streams` connects nobody.

use serde_json::Value;

use super::render::Response;
use super::request::Request;
use crate::status::Status;

pub(super) fn open(request: Request<'_>, _: &Value, _: String) -> Result<Response, Status> {
    let what = format!("pods/{} without the feature `streams`", request.info.subresource);
    Err(Status::not_implemented(&what))
}
