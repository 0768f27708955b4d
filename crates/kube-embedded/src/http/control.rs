//! What the paths below `/kube-embedded` have in common, over which clients in other processes control the server: each is a
//! collection whose elements have ids, and only for users in `system:masters`.

use http::{Method, StatusCode};
use serde_json::Value;

use super::negotiate::Encoding;
use super::render::{self, Response};
use crate::status::Status;
use crate::user::User;

/// The id in a path below that of a collection. Empty: it is the collection. `None`: it is another path.
pub(super) fn id<'a>(path: &'a str, collection: &str) -> Option<&'a str> {
    match path.strip_prefix(collection)? {
        "" => Some(""),
        rest => rest.strip_prefix('/').filter(|id| !id.is_empty()),
    }
}

/// # Errors
/// Fails with 403 unless the user is an administrator.
pub(super) fn authorize(user: &User, method: &Method, collection: &str) -> Result<(), Status> {
    if user.is_master() {
        return Ok(());
    }
    let verb = method.as_str().to_ascii_lowercase();
    Err(Status::forbidden_path(&user.name, &verb, collection, ""))
}

pub(super) fn json_response(code: StatusCode, value: &Value) -> Response {
    render::value_response(code, Encoding::Json, value)
}
