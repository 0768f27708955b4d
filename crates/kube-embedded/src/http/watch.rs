//! Watches: GET of a collection's changes.
//!
//! A stream takes events from the store when its client is ready for them. If it falls behind the store's history, it
//! ends without an error event, as kube-apiserver's does: the client opens a new watch from where it was.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use kube_tables::IncludeObject;
use serde_json::{Value, json};
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::holds::{Change, Gate, Item};
use super::negotiate::{Accept, As, Encoding};
use super::query::ListOptions;
use super::read::{prefix, reach};
use super::render::{self, Response, View};
use super::request::Request;
use crate::clock::{Clock, Timer};
use crate::cluster::{Conversions, Selection};
use crate::resource::{Resource, to_json};
use crate::status::Status;
use crate::store::{Event, Object, Range, Watch};

/// How often a client that allows bookmarks receives one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before the deadline it receives a last one.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// When a watch ends if its client does not set a timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// The number of bytes that are sent at a time.
const PIECE: usize = 64 * 1024;

/// Marks the response to a watch, which may be ended after any line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsWatch;

/// A client's watch.
struct Stream {
    watch: Watch,
    /// The objects that are sent before the events.
    initial: std::vec::IntoIter<Arc<Object>>,
    /// Whether a bookmark marks the end of these objects.
    end_of_initial: bool,
    /// Events that were read and not sent yet.
    pending: VecDeque<Arc<Event>>,
    prefix: String,
    selection: Selection,
    conversions: Conversions,
    writer: Writer,
    gate: Gate,
    bookmark: Option<Timer>,
    last_bookmark: Option<Timer>,
    deadline: Timer,
    ended: CancellationToken,
}

/// Writes the lines of a watch.
struct Writer {
    resource: Arc<Resource>,
    accept: Accept,
    include: IncludeObject,
    clock: Clock,
    /// Whether a `Table` was sent: only the first one has column definitions.
    columns_sent: bool,
}

/// Opens a watch.
pub(super) async fn watch(request: Request<'_>, options: &ListOptions) -> Result<Response, Status> {
    let Request { cluster, resource, .. } = request;
    let selection = Selection::parse(resource, &options.labels, &options.fields)?;
    let prefix = prefix(request);
    let view = request.view()?;
    if view.accept.encoding != Encoding::Json {
        return Err(Status::not_acceptable());
    }
    let asked = options.resource_version.filter(|version| *version > 0);
    let with_state = options.initial_events.unwrap_or(asked.is_none());
    let collection = &resource.collection;
    let (initial, from) = if with_state {
        if let Some(version) = asked {
            reach(cluster, version).await?;
        }
        let range = Range { prefix: &prefix, ..Range::default() };
        let page = cluster
            .store
            .list(collection, range, None)
            .map_err(|error| Status::internal_error(error.to_string()))?;
        (cluster.conversions.shown(resource, page.objects).await?, page.revision)
    } else {
        (Vec::new(), asked.unwrap_or_else(|| cluster.store.revision()))
    };
    let Ok(watch) = cluster.store.watch(collection, from) else {
        let gone = Status::expired(format!(
            "too old resource version: {from} ({})",
            cluster.store.floor(collection)
        ));
        return Ok(response(line("ERROR", &gone.json())));
    };
    // If the resource has changed, and the watch was opened too late to be ended by that, its client opens another one.
    let (info, scheme) = (request.info, cluster.scheme());
    let current = scheme.get(&info.group, &info.version, &info.resource);
    if !current.is_some_and(|current| current.is_same(resource)) {
        return Ok(response(Bytes::new()));
    }
    let timeout = options.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let bookmark = |after| options.bookmarks.then(|| cluster.clock.timer(after));
    let stream = Stream {
        watch,
        initial: initial.into_iter(),
        end_of_initial: options.bookmarks && options.initial_events == Some(true),
        pending: VecDeque::new(),
        prefix,
        selection,
        conversions: cluster.conversions.clone(),
        writer: Writer {
            resource: Arc::clone(resource),
            accept: view.accept.clone(),
            include: view.include,
            clock: cluster.clock.clone(),
            columns_sent: false,
        },
        gate: request.holds.gate(request.info),
        bookmark: bookmark(BOOKMARK_EVERY),
        last_bookmark: timeout.checked_sub(BOOKMARK_BEFORE_END).and_then(bookmark),
        deadline: cluster.clock.timer(timeout),
        ended: cluster.watches.child_token(),
    };
    let lines = futures_util::stream::unfold(stream, |mut stream| async move {
        let lines = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(lines), stream))
    });
    Ok(response(Body::from_stream(lines)))
}

fn response(lines: impl Into<Body>) -> Response {
    let mut response = render::response(StatusCode::OK, Encoding::Json, lines);
    response.extensions_mut().insert(IsWatch);
    response
}

impl Stream {
    /// The next lines. `None`: the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let lines = self.ready().await?;
            if !lines.is_empty() {
                return Some(lines);
            }
            tokio::select! {
                // If a clock skips several of these moments, the outcome is always the same.
                biased;
                () = self.ended.cancelled() => return None,
                () = self.deadline.due() => return None,
                events = self.watch.next() => {
                    self.pending.extend(events.ok()?);
                    continue;
                }
                () = self.gate.changed() => continue,
                () = due(&mut self.bookmark) => {
                    self.bookmark = Some(self.writer.clock.timer(BOOKMARK_EVERY));
                }
                () = due(&mut self.last_bookmark) => self.last_bookmark = None,
            }
            // A bookmark says that everything before it was sent.
            if !self.gate.is_held() {
                return Some(self.writer.bookmark(self.watch.revision(), false));
            }
        }
    }

    /// The lines that are ready to be sent, about a piece at most; empty if there are none. `None`: the watch is over.
    ///
    /// If a client selects few objects, many events may have to be checked first. Other tasks run in the meantime.
    async fn ready(&mut self) -> Option<Bytes> {
        let mut lines = BytesMut::new();
        if self.ended.is_cancelled() || self.deadline.is_due() {
            return None;
        }
        while let Some(item) = self.gate.released() {
            consume_budget().await;
            self.writer.item(&mut lines, &item);
            if lines.len() >= PIECE {
                return Some(lines.freeze());
            }
        }
        for object in self.initial.by_ref() {
            consume_budget().await;
            if self.selection.matches(&self.writer.resource, &object) {
                let event = Arc::new(Event::found(object, self.writer.clock.now()));
                let item = Item::Change(Change::new(event, false, true));
                if let Some(item) = self.gate.pass(item) {
                    self.writer.item(&mut lines, &item);
                }
            }
            if lines.len() >= PIECE {
                return Some(lines.freeze());
            }
        }
        if std::mem::take(&mut self.end_of_initial)
            && let Some(item) = self.gate.pass(Item::EndOfInitial(self.watch.revision()))
        {
            self.writer.item(&mut lines, &item);
        }
        loop {
            if self.pending.is_empty() {
                match self.watch.ready() {
                    Ok(events) if events.is_empty() => return Some(lines.freeze()),
                    Ok(events) => self.pending.extend(events),
                    Err(_) if lines.is_empty() => return None,
                    Err(_) => return Some(lines.freeze()),
                }
            }
            while let Some(event) = self.pending.pop_front() {
                consume_budget().await;
                if !self.is_in_range(&event) {
                    continue;
                }
                match self.conversions.shown_event(&self.writer.resource, event).await {
                    Ok(event) => self.write(&mut lines, &event),
                    Err(status) => {
                        put_line(&mut lines, "ERROR", &status.json());
                        self.ended.cancel();
                        return Some(lines.freeze());
                    }
                }
                if lines.len() >= PIECE {
                    return Some(lines.freeze());
                }
            }
        }
    }

    fn is_in_range(&self, event: &Event) -> bool {
        event.key().starts_with(&self.prefix)
    }

    /// Writes an event as seen by a client that sees only selected objects.
    fn write(&mut self, lines: &mut BytesMut, event: &Arc<Event>) {
        let selected = |object: &Option<Arc<Object>>| {
            object.as_ref().is_some_and(|object| self.selection.matches(&self.writer.resource, object))
        };
        let (before, after) = (selected(&event.old), selected(&event.new));
        if (before || after)
            && let Some(item) = self.gate.pass(Item::Change(Change::new(Arc::clone(event), before, after)))
        {
            self.writer.item(lines, &item);
        }
    }
}

impl Writer {
    fn item(&mut self, lines: &mut BytesMut, item: &Item) {
        let change = match item {
            Item::Change(change) => change,
            Item::EndOfInitial(revision) => return lines.put(self.bookmark(*revision, true)),
        };
        match (change.before, &change.event.new, change.after) {
            (false, Some(new), true) => self.event(lines, "ADDED", self.resource.bytes(new)),
            (true, Some(new), true) => self.event(lines, "MODIFIED", self.resource.bytes(new)),
            (true, _, _) => self.event(lines, "DELETED", self.resource.last(&change.event)),
            _ => {}
        }
    }

    fn event(&mut self, lines: &mut BytesMut, kind: &str, stored: Cow<'_, [u8]>) {
        let view = View {
            resource: &self.resource,
            accept: &self.accept,
            include: self.include,
            now: self.clock.now(),
        };
        if self.accept.content == As::Table {
            let mut table = view.value(render::parse(&stored));
            if std::mem::replace(&mut self.columns_sent, true) {
                table["columnDefinitions"] = Value::Null;
            }
            put_line(lines, kind, &to_json(&table));
        } else {
            put_line(lines, kind, &view.json(stored));
        }
    }

    fn bookmark(&mut self, revision: u64, end_of_initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({
            "apiVersion": self.resource.api_version(), "kind": self.resource.kind, "metadata": metadata,
        });
        let object = match self.accept.content {
            As::Object if self.resource.custom.is_none() => {
                // An empty object of its Go type.
                let empty = kube_builtin::decode(&self.resource.api_version(), &self.resource.kind, &object);
                empty.and_then(Result::ok).map_or(object, |empty| empty.object)
            }
            As::Object => object,
            As::Metadata => kube_tables::partial_object_metadata(object, &self.accept.meta_version),
            As::Table => {
                let definitions = match std::mem::replace(&mut self.columns_sent, true) {
                    false => json!(self.resource.columns.definitions()),
                    true => Value::Null,
                };
                json!({
                    "kind": "Table",
                    "apiVersion": self.accept.meta_version,
                    "metadata": {"resourceVersion": revision.to_string()},
                    "columnDefinitions": definitions,
                    "rows": [{"cells": [], "object": {
                        "kind": "PartialObjectMetadata",
                        "apiVersion": self.accept.meta_version,
                        "metadata": metadata,
                    }}],
                })
            }
        };
        line("BOOKMARK", &to_json(&object))
    }
}

/// Waits for a timer; without one, forever.
async fn due(timer: &mut Option<Timer>) {
    match timer {
        Some(timer) => timer.due().await,
        None => std::future::pending().await,
    }
}

/// An event as a line.
pub(super) fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut lines = BytesMut::new();
    put_line(&mut lines, kind, object);
    lines.freeze()
}

fn put_line(lines: &mut BytesMut, kind: &str, object: &[u8]) {
    lines.reserve(object.len() + 40);
    lines.put_slice(b"{\"type\":\"");
    lines.put_slice(kind.as_bytes());
    lines.put_slice(b"\",\"object\":");
    lines.put_slice(object);
    lines.put_slice(b"}\n");
}
