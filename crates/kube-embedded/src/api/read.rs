//! GET of objects and of collections.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::negotiate::{As, Encoding};
use super::query::{ListOptions, Match, resource_version};
use super::render::{self, View};
use super::select::Selection;
use super::{Api, Request};
use crate::builtin;
use crate::registry::Resource;
use crate::status::Status;
use crate::store::{Error, Object, Page, Range};

/// How long a read waits for a resourceVersion that the server has not reached.
const REACH: Duration = Duration::from_secs(3);
/// Bodies up to this size are sent whole; longer lists in pieces of it.
const PIECE: usize = 256 * 1024;
/// How many objects are taken at a time when a selector decides which ones fill a page.
const CHUNK: usize = 1000;

/// What a continue token says, in the format of kube-apiserver's.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// GET of one object.
pub(super) async fn get(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    if let Some(version) = request.query.get("resourceVersion") {
        let version = resource_version(version)
            .map_err(|error| Status::bad_request(format!("invalid resource version: {error}")))?;
        reach(api, version).await?;
    }
    let resource = request.resource;
    let object = api.object(resource, request.path)?;
    Ok(request.view(api)?.response(StatusCode::OK, &resource.bytes(&object)))
}

/// GET of a collection.
pub(super) async fn list(
    api: &Api,
    request: &Request<'_>,
    options: &ListOptions,
) -> Result<Response, Status> {
    let selection = Selection::parse(request.resource, options)?;
    let prefix = prefix(request);
    let version = options.resource_version;
    let (at, after) = if options.token.is_empty() {
        if let Some(version) = version {
            reach(api, version).await?;
        }
        // A page of a version that is asked for without a match is of exactly that version.
        let exact = match options.version_match {
            Some(Match::Exact) => true,
            Some(Match::NotOlderThan) => false,
            None => options.limit.is_some(),
        };
        (version.filter(|version| exact && *version > 0), None)
    } else {
        if version.is_some_and(|version| version > 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (at, after) = read_token(&options.token)?;
        (at, Some(format!("{prefix}{after}")))
    };
    // As kube-apiserver's cache, which answers for "any version" whole.
    let limit = options.limit.filter(|_| version != Some(0));
    // An object that is selected by its name is found by its key.
    let start = match selection.name() {
        Some(name) if !request.resource.namespaced || !prefix.is_empty() => format!("{prefix}{name}"),
        _ => prefix.clone(),
    };
    let range = Range { prefix: &start, after: after.as_deref(), limit };
    let listed = if selection.is_everything() {
        api.store.list(&request.resource.collection, range, at)
    } else {
        list_selected(api, request.resource, range, at, &selection)
    };
    let page = listed.map_err(|error| list_error(error, after.as_deref(), &prefix))?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if page.remaining > 0
        && let Some(last) = page.objects.last()
    {
        metadata["continue"] = token(page.revision, &last.key[prefix.len()..])?.into();
        if selection.is_everything() {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    } else if request.resource.custom.is_some() && request.accept.content == As::Object {
        metadata["continue"] = "".into();
    }
    Ok(body(&request.view(api)?, request.resource, &page.objects, &metadata))
}

/// A list in the form that is asked for.
pub(super) fn shown(
    view: &View<'_>,
    resource: &Resource,
    values: impl Iterator<Item = Value>,
    metadata: &Value,
) -> Value {
    match view.accept.content {
        As::Table => view.table(values, metadata.clone()),
        As::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": view.meta_version(),
            "metadata": metadata,
            "items": values.map(|object| view.value(object)).collect::<Vec<_>>(),
        }),
        As::Object => json!({
            "kind": resource.list_kind,
            "apiVersion": resource.api_version(),
            "metadata": metadata,
            "items": values.map(|object| view.value(object)).collect::<Vec<_>>(),
        }),
    }
}

/// What the keys of a request's objects begin with.
pub(super) fn prefix(request: &Request<'_>) -> String {
    match request.path.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    }
}

/// Waits for a resourceVersion that a client has from elsewhere.
pub(super) async fn reach(api: &Api, version: u64) -> Result<(), Status> {
    tokio::time::timeout(REACH, api.store.reach(version))
        .await
        .map_err(|_| Status::too_large_resource_version(version, api.store.revision()))
}

/// The first objects of a range that are selected.
fn list_selected(
    api: &Api,
    resource: &Resource,
    range: Range<'_>,
    at: Option<u64>,
    selection: &Selection,
) -> Result<Page, Error> {
    let Some(limit) = range.limit else {
        let mut page = api.store.list(&resource.collection, range, at)?;
        page.objects.retain(|object| selection.matches(resource, object));
        return Ok(page);
    };
    // One more than the page shows tells whether there is another page.
    let mut selected: Vec<Arc<Object>> = Vec::new();
    let mut after = range.after.map(str::to_owned);
    let mut at = at;
    loop {
        let chunk = Range { after: after.as_deref(), limit: Some(CHUNK), ..range };
        let page = api.store.list(&resource.collection, chunk, at)?;
        at = Some(page.revision);
        after = page.objects.last().map(|last| last.key.to_string());
        selected.extend(page.objects.into_iter().filter(|object| selection.matches(resource, object)));
        if selected.len() > limit || page.remaining == 0 {
            let remaining = selected.len().saturating_sub(limit);
            selected.truncate(limit);
            return Ok(Page { objects: selected, revision: page.revision, remaining });
        }
    }
}

fn list_error(error: Error, after: Option<&str>, prefix: &str) -> Status {
    match (error, after.and_then(|after| after.strip_prefix(prefix))) {
        (Error::Future, _) => Status::expired("The resourceVersion for the provided list is too new."),
        (_, Some(after)) => {
            let message = "The provided continue parameter is too old to display a consistent list result. You can \
                           start a new list without the continue parameter, or use the continue token in this response \
                           to retrieve the remainder of the results. Continuing with the provided token results in an \
                           inconsistent list - objects that were created, modified, or deleted between the time the \
                           first chunk was returned and now may show up in the list.";
            let token = Token { v: "meta.k8s.io/v1".to_owned(), rv: -1, start: format!("{after}\0") };
            match serde_json::to_vec(&token) {
                Ok(token) => Status::expired_token(message, BASE64_URL_SAFE_NO_PAD.encode(token)),
                Err(_) => Status::expired(message),
            }
        }
        _ => Status::expired("The resourceVersion for the provided list is too old."),
    }
}

fn token(revision: u64, last: &str) -> Result<String, Status> {
    let rv = i64::try_from(revision).map_err(|error| Status::internal(error.to_string()))?;
    let token = Token { v: "meta.k8s.io/v1".to_owned(), rv, start: format!("{last}\0") };
    let json = serde_json::to_vec(&token).map_err(|error| Status::internal(error.to_string()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// The revision of a token, none for "now", and the key that its page starts after.
fn read_token(text: &str) -> Result<(Option<u64>, String), Status> {
    let refuse =
        |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid{why}"));
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| refuse(&format!(": {error}")))?;
    let token: Token = serde_json::from_slice(&json).map_err(|error| refuse(&format!(": {error}")))?;
    if token.v != "meta.k8s.io/v1" {
        return Err(refuse(&format!(": server does not recognize this encoded version {}", token.v)));
    }
    if token.rv == 0 {
        return Err(refuse(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    if token.start.is_empty() {
        return Err(refuse(": encoded start key empty (version meta.k8s.io/v1)"));
    }
    // What Go's `path.Clean` would change.
    let key = token.start.strip_prefix('/').unwrap_or(&token.start);
    if !key.is_empty() && key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refuse(&format!(": {}", token.start)));
    }
    let after = key.strip_suffix('\0').unwrap_or(key).to_owned();
    Ok((u64::try_from(token.rv).ok(), after))
}

/// The answer to a list.
fn body(view: &View<'_>, resource: &Arc<Resource>, objects: &[Arc<Object>], metadata: &Value) -> Response {
    if !view.is_stored() {
        let values = objects.iter().map(|object| resource.value(object));
        let value = shown(view, resource, values, metadata);
        return render::value_response(StatusCode::OK, view.accept.encoding, &value);
    }
    let (kind, version) = (json!(resource.list_kind), json!(resource.api_version()));
    // The order of the fields is kube-apiserver's, which differs for custom resources.
    let (head, tail) = if resource.custom.is_some() {
        let tail = format!("],\"kind\":{kind},\"metadata\":{metadata}}}");
        (format!("{{\"apiVersion\":{version},\"items\":["), tail)
    } else {
        let head = format!("{{\"kind\":{kind},\"apiVersion\":{version},\"metadata\":{metadata},\"items\":[");
        (head, "]}".to_owned())
    };
    let custom = resource.custom.is_some();
    let api_version = resource.api_version();
    let item = |view: &View<'_>, object: &Object| {
        if custom { view.json(&resource.bytes(object)) } else { untyped(&api_version, object) }
    };
    let size: usize = objects.iter().map(|object| object.bytes.len() + 1).sum();
    if size <= PIECE {
        let mut body = Vec::with_capacity(head.len() + size + tail.len());
        body.extend_from_slice(head.as_bytes());
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&item(view, object));
        }
        body.extend_from_slice(tail.as_bytes());
        return render::response(StatusCode::OK, Encoding::Json, body);
    }
    render::response(StatusCode::OK, Encoding::Json, Body::from_stream(pieces(resource, objects, head, tail)))
}

/// A long list in pieces, so that it is never whole in memory twice.
fn pieces(
    resource: &Arc<Resource>,
    objects: &[Arc<Object>],
    head: String,
    tail: String,
) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
    let version = resource.api_version();
    // The answer outlives the request.
    let resource = Arc::clone(resource);
    let objects: Vec<Arc<Object>> = objects.to_vec();
    let mut objects = objects.into_iter();
    let mut head = Some(head);
    let mut tail = Some(tail);
    futures_util::stream::iter(std::iter::from_fn(move || {
        tail.as_ref()?;
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        let mut separate = head.is_none();
        if let Some(head) = head.take() {
            piece.extend_from_slice(head.as_bytes());
        }
        for object in objects.by_ref() {
            if std::mem::replace(&mut separate, true) {
                piece.push(b',');
            }
            let item = if resource.custom.is_some() {
                render::with_version(&version, &resource.bytes(&object))
            } else {
                untyped(&version, &object)
            };
            piece.extend_from_slice(&item);
            if piece.len() >= PIECE {
                return Some(Ok(piece.into()));
            }
        }
        piece.extend_from_slice(tail.take().unwrap_or_default().as_bytes());
        Some(Ok(piece.into()))
    }))
}

/// An item of a list of a built-in kind, which does not repeat its version and kind.
fn untyped(version: &str, object: &Object) -> Bytes {
    let mut value = object.value();
    builtin::convert(&mut value, version);
    if let Some(value) = value.as_object_mut() {
        value.remove("apiVersion");
        value.remove("kind");
    }
    render::bytes(&value)
}
