//! Indented bodies for humans: `isPrettyPrint` of apiserver's negotiation.

use http::{StatusCode, header};
use http_body_util::{BodyExt, Collected};

use super::body::Body;
use super::query::Query;
use super::render::{IsFinal, Response};
use super::watch::IsWatch;
use crate::json;

/// The beginnings of the names of clients that show a body as it is.
const HUMANS: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// Whether a request wants an indented body: by `?pretty`, or because of its client.
pub(crate) fn is_for_human<B>(request: &http::Request<B>) -> bool {
    let query = request.uri().query().filter(|query| query.contains("pretty"));
    if let Some(wanted) = Query::parse(query).get("pretty") {
        // As Go's `ParseBool` does.
        return matches!(wanted, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = text(header::USER_AGENT);
    HUMANS.iter().any(|name| agent.starts_with(name)) || text(header::ACCEPT).contains("pretty=1")
}

/// A response in the form that its client wants.
pub(crate) async fn shown(response: Response, for_human: bool) -> Response {
    // If the client does not accept any form, there is none that could be compact.
    let is_indented = for_human || response.status() == StatusCode::NOT_ACCEPTABLE;
    if !is_indented || !is_json(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map(Collected::to_bytes);
    parts.headers.remove(header::CONTENT_LENGTH);
    http::Response::from_parts(
        parts,
        match body {
            Ok(compact) => json::indent(&compact).into(),
            Err(error) => Body::from_stream(futures_util::stream::once(async { Err(error) })),
        },
    )
}

/// Whether the body of a response is JSON that may be indented.
fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let extensions = response.extensions();
    content_type.is_some_and(|it| it.starts_with("application/json"))
        && extensions.get::<IsWatch>().is_none()
        && extensions.get::<IsFinal>().is_none()
}
