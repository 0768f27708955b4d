//! Objects as a client asked for them: in a version, whole or in part, in JSON or YAML.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::negotiate::{Accept, As, Encoding};
use crate::builtin;
use crate::registry::Resource;
use crate::status::Status;
use crate::table::{IncludeObject, partial_object_metadata, table};

/// How objects of one resource are shown to one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) accept: &'a Accept,
    pub(crate) include: IncludeObject,
    pub(crate) now: Timestamp,
}

impl View<'_> {
    /// Whether an object's stored bytes are what the client gets.
    pub(crate) fn is_stored(&self) -> bool {
        self.accept.content == As::Object && self.accept.encoding == Encoding::Json
    }

    /// `meta.k8s.io/v1`, or `v1beta1`.
    pub(crate) fn meta_version(&self) -> String {
        format!("meta.k8s.io/{}", self.accept.meta_version)
    }

    /// One object's JSON.
    pub(crate) fn json(&self, stored: &Bytes) -> Bytes {
        match self.accept.content {
            As::Object => with_version(&self.resource.api_version(), stored),
            As::Metadata | As::Table => bytes(&self.value(parse(stored))),
        }
    }

    /// One object in the asked form.
    pub(crate) fn value(&self, mut object: Value) -> Value {
        match self.accept.content {
            As::Object => {
                set_version(self.resource, &mut object);
                object
            }
            As::Metadata => partial_object_metadata(object, &self.meta_version()),
            As::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                self.table([object], metadata)
            }
        }
    }

    /// A `Table` of objects.
    pub(crate) fn table(&self, objects: impl IntoIterator<Item = Value>, metadata: Value) -> Value {
        let objects = objects.into_iter().map(|mut object| {
            set_version(self.resource, &mut object);
            object
        });
        table(&self.resource.columns, objects, metadata, self.include, &self.meta_version(), self.now)
    }

    /// An answer of one object.
    pub(crate) fn response(&self, code: StatusCode, stored: &Bytes) -> Response {
        match self.accept.encoding {
            Encoding::Json => response(code, Encoding::Json, self.json(stored)),
            Encoding::Yaml => value_response(code, Encoding::Yaml, &self.value(parse(stored))),
        }
    }
}

/// An answer with a body.
pub(crate) fn response(code: StatusCode, encoding: Encoding, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An answer of any value.
pub(crate) fn value_response(code: StatusCode, encoding: Encoding, value: &Value) -> Response {
    let body = match encoding {
        Encoding::Json => bytes(value),
        Encoding::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => text.into(),
            Err(error) => {
                use axum::response::IntoResponse;
                return Status::internal(error.to_string()).into_response();
            }
        },
    };
    response(code, encoding, body)
}

/// A value's JSON.
pub(crate) fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// The value of stored bytes, which are the store's own serialisation.
pub(crate) fn parse(stored: &Bytes) -> Value {
    serde_json::from_slice(stored).unwrap_or_default()
}

/// Stored bytes with an `apiVersion`: the versions of a resource differ in this alone, Events aside.
pub(crate) fn with_version(version: &str, stored: &Bytes) -> Bytes {
    // Keys are sorted, so this one is nearly always first.
    let found =
        stored.strip_prefix(b"{\"apiVersion\":\"").and_then(|rest| rest.strip_prefix(version.as_bytes()));
    if found.is_some_and(|rest| rest.first() == Some(&b'"')) {
        return stored.clone();
    }
    let mut object = parse(stored);
    builtin::convert(&mut object, version);
    object["apiVersion"] = version.into();
    bytes(&object)
}

/// Gives an object its resource's `apiVersion` and `kind`.
pub(crate) fn set_version(resource: &Resource, object: &mut Value) {
    builtin::convert(object, &resource.api_version());
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_owned(), resource.api_version().into());
        object.insert("kind".to_owned(), resource.kind.clone().into());
    }
}
