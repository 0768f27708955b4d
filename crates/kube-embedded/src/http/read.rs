//! GET of objects and of collections.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::coop::consume_budget;

use super::body::Body;
use super::negotiate::{As, Encoding};
use super::query::{ListOptions, Match, resource_version};
use super::render::{self, Response};
use super::request::Request;
use crate::cluster::{Cluster, Selection};
use crate::resource::{Resource, to_json};
use crate::status::Status;
use crate::store::{Error, Object, Page, Range};

/// How long a read waits for a resourceVersion that the server has not reached.
const REACH: Duration = Duration::from_secs(3);
/// The approximate number of bytes of a list that are sent at a time.
const PIECE: usize = 256 * 1024;
/// How many objects are read at a time if a selector decides which ones fill a page.
const CHUNK: usize = 1000;

/// The content of a continue token, in kube-apiserver's format.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// GET of one object.
pub(super) async fn get(request: Request<'_>) -> Result<Response, Status> {
    if let Some(version) = request.query.get("resourceVersion") {
        let version = resource_version(version)
            .map_err(|error| Status::bad_request(format!("invalid resource version: {error}")))?;
        reach(request.cluster, version).await?;
    }
    let resource = request.resource;
    let object = request.cluster.object(resource, &request.info.namespace, &request.info.name)?;
    let object = request.cluster.conversions.shown_one(resource, object).await?;
    Ok(request.view()?.response(StatusCode::OK, resource.bytes(&object)))
}

/// GET of a collection.
pub(super) async fn list(request: Request<'_>, options: &ListOptions) -> Result<Response, Status> {
    let resource = request.resource;
    let selection = Selection::parse(resource, &options.labels, &options.fields)?;
    let (page, metadata) = page(request, options, &selection).await?;
    let view = request.view()?;
    if view.is_stored() {
        return Ok(render::response(
            StatusCode::OK,
            Encoding::Json,
            Pieces::new(resource, page.objects, &metadata).body(),
        ));
    }
    let mut items = Vec::with_capacity(page.objects.len());
    for object in page.objects {
        // There may be many objects.
        consume_budget().await;
        items.push(view.item(resource.value(&object)));
    }
    Ok(render::value_response(StatusCode::OK, view.accept.encoding, &view.list(items, metadata)))
}

/// The selected objects of a collection, and the list's metadata: at a version and in pages, if the client wants that.
pub(super) async fn page(
    request: Request<'_>,
    options: &ListOptions,
    selection: &Selection,
) -> Result<(Page, Value), Status> {
    let Request { cluster, resource, .. } = request;
    let prefix = prefix(request);
    let version = options.resource_version;
    let (at, after) = if options.token.is_empty() {
        if let Some(version) = version {
            reach(cluster, version).await?;
        }
        // A page at a given version is of exactly that version by default.
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
    // Like kube-apiserver's cache, which answers a request for any version with the complete list.
    let limit = options.limit.filter(|_| version != Some(0));
    // An object that is selected by name is found by its key.
    let start = match selection.name() {
        Some(name) if !request.resource.namespaced || !prefix.is_empty() => format!("{prefix}{name}"),
        _ => prefix.clone(),
    };
    let range = Range { prefix: &start, after: after.as_deref(), limit };
    let refused = |error| list_error(error, after.as_deref(), &prefix);
    let page = match selection.is_everything() {
        true => {
            let page = cluster.store.list(&resource.collection, range, at).map_err(refused)?;
            let objects = cluster.conversions.shown(resource, page.objects).await?;
            Page { objects, ..page }
        }
        false => list_selected(cluster, resource, range, at, selection).await?.map_err(refused)?,
    };
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if page.remaining > 0
        && let Some(last) = page.objects.last()
    {
        metadata["continue"] = token(page.revision, &last.key[prefix.len()..])?.into();
        if selection.is_everything() {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    } else if resource.custom.is_some() && request.accept.content == As::Object {
        metadata["continue"] = "".into();
    }
    Ok((page, metadata))
}

/// The prefix of the keys of a request's objects.
pub(super) fn prefix(request: Request<'_>) -> String {
    match request.info.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    }
}

/// Waits until the server has reached a resourceVersion that a client got elsewhere.
pub(super) async fn reach(cluster: &Cluster, version: u64) -> Result<(), Status> {
    tokio::time::timeout(REACH, cluster.store.reach(version))
        .await
        .map_err(|_| Status::too_large_resource_version(version, cluster.store.revision()))
}

/// The first objects in a range that are selected.
async fn list_selected(
    cluster: &Cluster,
    resource: &Resource,
    range: Range<'_>,
    at: Option<u64>,
    selection: &Selection,
) -> Result<Result<Page, Error>, Status> {
    // One more than the page shows, to find out whether there is another page.
    let wanted = range.limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    let chunk = range.limit.map(|_| CHUNK);
    let mut selected: Vec<Arc<Object>> = Vec::new();
    let mut after = range.after.map(str::to_owned);
    let mut at = at;
    loop {
        let chunk = Range { after: after.as_deref(), limit: chunk, ..range };
        let page = match cluster.store.list(&resource.collection, chunk, at) {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        at = Some(page.revision);
        after = page.objects.last().map(|last| last.key.to_string());
        for object in cluster.conversions.shown(resource, page.objects).await? {
            consume_budget().await;
            if selection.matches(resource, &object) {
                selected.push(object);
            }
        }
        if selected.len() >= wanted || page.remaining == 0 {
            let remaining = range.limit.map_or(0, |limit| selected.len().saturating_sub(limit));
            selected.truncate(range.limit.unwrap_or(usize::MAX));
            return Ok(Ok(Page { objects: selected, revision: page.revision, remaining }));
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
    let rv = i64::try_from(revision).map_err(|error| Status::internal_error(error.to_string()))?;
    let token = Token { v: "meta.k8s.io/v1".to_owned(), rv, start: format!("{last}\0") };
    let json = serde_json::to_vec(&token).map_err(|error| Status::internal_error(error.to_string()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// The revision of a token, `None` for "now", and the key after which its page starts.
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
    // A key that Go's `path.Clean` would change is refused.
    let key = token.start.strip_prefix('/').unwrap_or(&token.start);
    if !key.is_empty() && key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refuse(&format!(": {}", token.start)));
    }
    let after = key.strip_suffix('\0').unwrap_or(key).to_owned();
    Ok((u64::try_from(token.rv).ok(), after))
}

/// A list of stored bytes, in pieces, so that a long list is never in memory twice.
struct Pieces {
    resource: Arc<Resource>,
    api_version: String,
    objects: std::vec::IntoIter<Arc<Object>>,
    /// The text before the items.
    head: String,
    /// The text after the items. `None`: it was sent.
    tail: Option<String>,
    separator: bool,
}

impl Pieces {
    fn new(resource: &Arc<Resource>, objects: Vec<Arc<Object>>, metadata: &Value) -> Self {
        let api_version = resource.api_version();
        let list = to_json(&json!({
            "kind": resource.list_kind, "apiVersion": api_version, "metadata": metadata, "items": [],
        }));
        let list = String::from_utf8_lossy(&list);
        // In a text, quotes are escaped.
        let (head, tail) = list.split_once(r#""items":[]"#).unwrap_or_default();
        let objects = objects.into_iter();
        Self {
            resource: Arc::clone(resource),
            api_version,
            objects,
            head: format!(r#"{head}"items":["#),
            tail: Some(format!("]{tail}\n")),
            separator: false,
        }
    }

    /// A short list as a whole, a long one as a stream.
    fn body(mut self) -> Body {
        let first = self.next().unwrap_or_default();
        if self.tail.is_none() {
            return first.into();
        }
        let pieces = std::iter::once(first).chain(self).map(Ok::<_, std::convert::Infallible>);
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    /// The approximate number of bytes left, if they are fewer than a piece.
    fn size(&self) -> usize {
        let mut sizes = self.objects.as_slice().iter().map(|object| object.bytes.len() + 1);
        sizes
            .try_fold(64, |sum, size| if sum > PIECE { Err(sum) } else { Ok(sum + size) })
            .unwrap_or_else(|sum| sum)
    }

    fn write(&self, object: &Object, out: &mut Vec<u8>) {
        if self.resource.custom.is_some() {
            out.extend_from_slice(&render::with_version(&self.api_version, self.resource.bytes(object)));
            return;
        }
        // Items of built-in kinds do not repeat their version and kind.
        if object.is_of_version(&self.api_version) && object.write_untyped(out) {
            return;
        }
        let mut value = object.value();
        self.resource.set_type(&mut value);
        if !object.converted(&value).write_untyped(out) {
            out.extend_from_slice(b"{}");
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.tail.as_ref()?;
        let mut piece = std::mem::take(&mut self.head).into_bytes();
        piece.reserve(self.size().min(PIECE + PIECE / 8));
        while let Some(object) = self.objects.next() {
            if std::mem::replace(&mut self.separator, true) {
                piece.push(b',');
            }
            self.write(&object, &mut piece);
            if piece.len() >= PIECE && !self.objects.as_slice().is_empty() {
                return Some(piece.into());
            }
        }
        piece.extend_from_slice(self.tail.take().unwrap_or_default().as_bytes());
        Some(piece.into())
    }
}
