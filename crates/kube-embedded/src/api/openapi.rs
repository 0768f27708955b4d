//! `/openapi/v3`: the schemas of custom resources, for `kubectl explain` and its like.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::negotiate::Encoding;
use super::{Api, render};

/// Answers a path below `/openapi/`; none if it is not there.
pub(super) fn answer(api: &Api, path: &str, _headers: &HeaderMap) -> Option<Response> {
    let document = match path {
        "v3" => index(api),
        _ => return None,
    };
    Some(render::value_response(StatusCode::OK, Encoding::Json, &document))
}

fn index(_api: &Api) -> Value {
    json!({"paths": Map::new()})
}
