//! An API server that responds as a test says. It is a tower service, so requests pass through the real client of
//! kube.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and this only helps them")]

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use kube_informer::{Change, Event, Subscription};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

#[derive(kube::CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(group = "web.helloworld", version = "v1", kind = "Blog", namespaced, schema = "disabled")]
pub struct BlogSpec {
    pub url: String,
}

pub type Service =
    tower::util::BoxCloneService<Request<Body>, Response<UnsyncBoxBody<Bytes, io::Error>>, Infallible>;

/// A request as the server received it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The number of requests before it.
    pub index: usize,
    pub at: Instant,
    /// Path and query.
    pub uri: String,
    pub accept: String,
}

impl Call {
    pub fn is_watch_list(&self) -> bool {
        self.uri.contains("sendInitialEvents=true")
    }

    pub fn is_watch(&self) -> bool {
        self.uri.contains("watch=true") && !self.is_watch_list()
    }

    pub fn is_list(&self) -> bool {
        !self.uri.contains("watch=true") && !self.is_discovery()
    }

    pub fn is_discovery(&self) -> bool {
        !self.uri.contains("blogs")
    }
}

/// A response of the server.
pub struct Reply {
    code: u16,
    retry_after: Option<u64>,
    body: UnsyncBoxBody<Bytes, io::Error>,
    /// Whether the headers never come.
    pending: bool,
}

/// What follows the last line of a watch.
pub enum Then {
    /// The connection stays open, and nothing more is sent.
    Stay,
    /// The stream ends cleanly.
    Close,
    /// The stream breaks.
    Break,
    /// The lines that the test sends.
    More(mpsc::UnboundedReceiver<String>),
}

impl Reply {
    pub fn json(code: u16, body: &Value) -> Self {
        let bytes = Bytes::from(body.to_string());
        let body = http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        Self { code, retry_after: None, body, pending: false }
    }

    pub fn status(code: u16, reason: &str, message: &str) -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message
        });
        Self::json(code, &status)
    }

    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// No response at all, while the connection stays open.
    pub fn pending() -> Self {
        Self { pending: true, ..Self::watch(vec![], Then::Stay) }
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn list(version: u64, items: &[Value]) -> Self {
        let metadata = json!({"resourceVersion": version.to_string()});
        Self::json(200, &json!({"kind": "BlogList", "items": items, "metadata": metadata}))
    }

    /// A watch-list with these objects, complete at this version.
    pub fn watch_list(version: u64, items: &[Value], then: Then) -> Self {
        let mut lines: Vec<String> = items.iter().map(|item| event("ADDED", item)).collect();
        lines.push(bookmark(version, true));
        Self::watch(lines, then)
    }

    pub fn watch(lines: Vec<String>, then: Then) -> Self {
        let lines = futures_util::stream::iter(lines.into_iter().map(|line| Ok(frame(line))));
        let body = match then {
            Then::Close => StreamBody::new(lines).boxed_unsync(),
            Then::Stay => StreamBody::new(lines.chain(futures_util::stream::pending())).boxed_unsync(),
            Then::Break => {
                let fault = futures_util::stream::iter([Err(io::Error::other("reset by a test"))]);
                StreamBody::new(lines.chain(fault)).boxed_unsync()
            }
            Then::More(more) => {
                let more = futures_util::stream::unfold(more, |mut more| async {
                    more.recv().await.map(|line| (Ok(frame(line)), more))
                });
                StreamBody::new(lines.chain(more)).boxed_unsync()
            }
        };
        Self { code: 200, retry_after: None, body, pending: false }
    }
}

fn frame(line: String) -> Frame<Bytes> {
    Frame::data(Bytes::from(line))
}

pub fn event(kind: &str, object: &Value) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

pub fn bookmark(version: u64, ends_initial: bool) -> String {
    let annotations = if ends_initial { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
    event(
        "BOOKMARK",
        &json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}),
    )
}

pub fn blog(name: &str, version: u64) -> Value {
    blog_with_uid(name, version, &format!("uid-of-{name}"))
}

pub fn blog_with_uid(name: &str, version: u64, uid: &str) -> Value {
    json!({
        "apiVersion": "web.helloworld/v1",
        "kind": "Blog",
        "metadata": {
            "name": name, "namespace": "default", "uid": uid, "resourceVersion": version.to_string()
        },
        "spec": {"url": format!("https://{name}/{version}")},
    })
}

/// The server: its calls, and how many of its responses are being read and were read to the end.
#[derive(Clone)]
pub struct Server {
    calls: Arc<Mutex<Vec<Call>>>,
    open: Arc<AtomicUsize>,
    read_out: Arc<AtomicUsize>,
    answer: Arc<dyn Fn(&Call) -> Reply + Send + Sync>,
}

impl Server {
    pub fn new(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            calls: Arc::default(),
            open: Arc::default(),
            read_out: Arc::default(),
            answer: Arc::new(answer),
        }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn open_answers(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub fn answers_read_out(&self) -> usize {
        self.read_out.load(Ordering::SeqCst)
    }

    pub fn client(&self) -> Client {
        Client::new(self.service(), "default")
    }

    pub fn service(&self) -> Service {
        let server = self.clone();
        Service::new(tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                match server.reply(&request) {
                    Some(response) => Ok::<_, Infallible>(response),
                    None => std::future::pending().await,
                }
            }
        }))
    }

    /// Waits, in virtual time, until this many requests were received.
    pub async fn called(&self, count: usize) -> Vec<Call> {
        eventually(|| self.calls().len() >= count).await;
        self.calls()
    }

    fn reply(&self, request: &Request<Body>) -> Option<Response<UnsyncBoxBody<Bytes, io::Error>>> {
        let header =
            |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let call = {
            let mut calls = self.calls.lock().unwrap();
            let call = Call {
                index: calls.len(),
                at: Instant::now(),
                uri: request.uri().to_string(),
                accept: header("accept"),
            };
            calls.push(call.clone());
            call
        };
        let Reply { code, retry_after, body, pending } = (self.answer)(&call);
        if pending {
            return None;
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        let reading = Reading(Arc::clone(&self.open));
        let read_out = Arc::clone(&self.read_out);
        let body = body
            .with_trailers(async move {
                read_out.fetch_add(1, Ordering::SeqCst);
                None
            })
            .map_frame(move |frame| {
                let _ = &reading;
                frame
            })
            .boxed_unsync();
        let mut response = Response::builder().status(code);
        if let Some(seconds) = retry_after {
            response = response.header("retry-after", seconds.to_string());
        }
        Some(response.body(body).unwrap())
    }
}

struct Reading(Arc<AtomicUsize>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for a condition for at most an hour of virtual time.
pub async fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(3600);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Returns the next event as a short text: `+a/5` (`*a/5` initially), `~a/5-6`, `-a/6 Deleted`, `synced 2 at 7`.
pub async fn next(subscription: &mut Subscription<Blog>) -> String {
    let Ok(event) = tokio::time::timeout(Duration::from_secs(3600), subscription.next()).await else {
        return "nothing".to_owned();
    };
    let version = |blog: &Blog| blog.metadata.resource_version.clone().unwrap_or_default();
    match event {
        Some(Event::Change(Change::Added { key, object, initial: true })) => {
            format!("*{}/{}", key.name(), version(&object))
        }
        Some(Event::Change(Change::Added { key, object, .. })) => {
            format!("+{}/{}", key.name(), version(&object))
        }
        Some(Event::Change(Change::Updated { key, old, new })) => {
            format!("~{}/{}-{}", key.name(), version(&old), version(&new))
        }
        Some(Event::Change(Change::Deleted { key, last, reason })) => {
            format!("-{}/{} {reason:?}", key.name(), version(&last))
        }
        Some(Event::Synced { count, resource_version: Some(version), .. }) => {
            format!("synced {count} at {version}")
        }
        Some(Event::Synced { count, resource_version: None, .. }) => format!("synced {count}"),
        Some(_) => "something else".to_owned(),
        None => "end".to_owned(),
    }
}

/// Returns the next events, as [`next`] formats them.
///
pub async fn read(subscription: &mut Subscription<Blog>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(next(subscription).await);
    }
    texts
}
