//! Renders responses: objects in the form that the client requested, with its version, whole or in part, in JSON or
//! YAML; and errors.

use std::borrow::Cow;
use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use kube_tables::{IncludeObject, TableOptions, partial_object_metadata};
use serde::Serialize;
use serde_json::{Value, json};

use super::body::Body;
use super::negotiate::{Accept, As, Encoding};
use crate::json;
use crate::resource::{Resource, to_json};
use crate::status::Status;
use crate::store::is_of_version;

/// A response.
pub(crate) type Response = http::Response<Body>;

/// How objects of a resource are shown to a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) resource: &'a Resource,
    pub(super) accept: &'a Accept,
    pub(super) include: IncludeObject,
    pub(super) now: Timestamp,
}

impl View<'_> {
    /// Whether clients get the stored bytes of an object.
    pub(super) fn is_stored(&self) -> bool {
        self.accept.content == As::Object && self.accept.encoding == Encoding::Json
    }

    /// An object as JSON.
    pub(super) fn json<'a>(&self, stored: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        match self.accept.content {
            As::Object => with_version(&self.resource.api_version(), stored),
            As::Metadata | As::Table => to_json(&self.value(parse(&stored))).into(),
        }
    }

    /// An object in the requested form.
    pub(super) fn value(&self, mut object: Value) -> Value {
        match self.accept.content {
            As::Object => {
                self.resource.set_type(&mut object);
                object
            }
            As::Metadata => partial_object_metadata(object, &self.accept.meta_version),
            As::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                self.list(vec![self.item(object)], metadata)
            }
        }
    }

    /// An object of a list in the requested form.
    pub(super) fn item(&self, mut object: Value) -> Value {
        if self.accept.content == As::Metadata {
            return self.value(object);
        }
        self.resource.set_type(&mut object);
        match (self.accept.content, &self.resource.custom, &mut object) {
            (As::Table, ..) => return self.resource.columns.row(object, self.table_options()),
            // Items of built-in kinds do not repeat their version and kind.
            (_, None, Value::Object(members)) => {
                members.remove("apiVersion");
                members.remove("kind");
            }
            _ => {}
        }
        object
    }

    /// A list of the results of [`View::item`].
    pub(super) fn list(&self, items: Vec<Value>, metadata: Value) -> Value {
        let (kind, api_version) = match self.accept.content {
            As::Table => return self.resource.columns.table_of_rows(items, metadata, self.table_options()),
            As::Metadata => ("PartialObjectMetadataList", self.accept.meta_version.clone()),
            As::Object => (self.resource.list_kind.as_str(), self.resource.api_version()),
        };
        let mut list = json!({"kind": kind, "apiVersion": api_version, "items": items});
        list["metadata"] = metadata;
        list
    }

    /// A response with one object.
    pub(super) fn response(&self, code: StatusCode, stored: Cow<'_, [u8]>) -> Response {
        match self.accept.encoding {
            Encoding::Json => response(code, Encoding::Json, Body::line(self.json(stored).into_owned())),
            Encoding::Yaml => value_response(code, Encoding::Yaml, &self.value(parse(&stored))),
        }
    }

    fn table_options(&self) -> TableOptions<'_> {
        TableOptions { include: self.include, group_version: &self.accept.meta_version, now: self.now }
    }
}

/// A response with a body.
pub(super) fn response(code: StatusCode, encoding: Encoding, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Marks a response whose body is as its client gets it, whoever that is: a document, or the answer of another server.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsFinal;

/// A response with a document, which is one line without an end.
pub(super) fn document(value: &impl Serialize) -> Response {
    let mut response = response(StatusCode::OK, Encoding::Json, json::to_vec(value));
    response.extensions_mut().insert(IsFinal);
    response
}

/// A response with an indented document.
pub(super) fn indented_document(value: &impl Serialize) -> Response {
    response(StatusCode::OK, Encoding::Json, json::indent(&json::to_vec(value)))
}

/// A response with any value. In JSON, it is a line.
pub(super) fn value_response(code: StatusCode, encoding: Encoding, value: &Value) -> Response {
    match encoding {
        Encoding::Json => response(code, encoding, Body::line(to_json(value))),
        Encoding::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => response(code, encoding, text.into_bytes()),
            Err(error) => status(&Status::internal_error(error.to_string())),
        },
    }
}

/// A response with an error.
pub(crate) fn status(status: &Status) -> Response {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_plain() {
        return plain_text(code, "404 page not found\n");
    }
    let mut response = response(code, Encoding::Json, line(status.json()));
    if let Some(seconds) = status.retries_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn line(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(b'\n');
    bytes
}

/// A response for humans.
pub(crate) fn plain_text(code: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = response(code, Encoding::Json, text);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Adds a warning that clients show to their users (RFC 7234, code 299), unless it has characters that a header cannot have.
fn warn(headers: &mut HeaderMap, text: &str) {
    if text.contains(char::is_control) {
        return;
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        headers.append(header::WARNING, value);
    }
}

/// Adds warnings, each once. If they are long, each is cut, and then the rest left out, at kube-apiserver's limits: clients
/// refuse responses with too many headers.
pub(super) fn warn_all(headers: &mut HeaderMap, texts: &[String]) {
    const ALL: usize = 4096;
    const EACH: usize = 256;
    let mut seen = HashSet::new();
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| seen.insert(*text)).collect();
    let cuts = texts.iter().map(|text| text.chars().count()).sum::<usize>() > ALL;
    let mut written = 0;
    for text in texts {
        let end = text.char_indices().nth(EACH).filter(|_| cuts).map_or(text.len(), |(end, _)| end);
        warn(headers, &text[..end]);
        written += text[..end].chars().count();
        if written >= ALL {
            break;
        }
    }
}

/// Parses stored bytes, which are the store's own serialisation.
pub(super) fn parse(stored: &[u8]) -> Value {
    serde_json::from_slice(stored).unwrap_or_default()
}

/// Stored bytes with another `apiVersion`. The versions of a resource differ only in this, except for Events.
pub(super) fn with_version<'a>(version: &str, stored: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
    if is_of_version(version, &stored) {
        return stored;
    }
    let mut object = parse(&stored);
    kube_builtin::convert(&mut object, version);
    object["apiVersion"] = version.into();
    to_json(&object).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_limited_as_by_kube_apiserver() {
        let warnings = |count: usize, text: &dyn Fn(usize) -> String| {
            let texts: Vec<String> = (0..count).map(text).collect();
            let mut headers = HeaderMap::new();
            warn_all(&mut headers, &texts);
            headers.get_all(header::WARNING).iter().map(HeaderValue::len).collect::<Vec<_>>()
        };
        let short = |number| format!("unknown field 'unknown{number:03}'");
        assert_eq!(warnings(500, &short).len(), 158);
        assert_eq!(warnings(157, &short).len(), 157);
        assert_eq!(warnings(3, &|_| "once".to_owned()), ["299 - \"once\"".len()]);
        let long = |number| format!("{number:03}{}", "x".repeat(400));
        assert_eq!(warnings(20, &long), [256 + "299 - \"\"".len(); 16]);
        assert_eq!(warnings(2, &long), [403 + "299 - \"\"".len(); 2]);
    }
}
