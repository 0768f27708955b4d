//! The way from the operator to the server, where the faults strike.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, advance, sleep, sleep_until};
use tower::BoxError;

use super::log::Log;
use super::program::Invariant;
use super::schedule::{EventFault, Schedule, WriteFault};
use super::state::{Collection, State};
use super::violation::Violation;
use crate::ledger::{Target, target};
use crate::lock::lock;

/// How long a request of [`WriteFault::Slow`] takes, and events of [`EventFault::Held`] wait.
const LONG: Duration = Duration::from_secs(30);

/// How long events of [`EventFault::Merged`] wait.
const MERGED: Duration = Duration::from_secs(5);

/// How long the server works on the request at which leadership is lost.
const PAST_THE_LEASE: Duration = Duration::from_secs(70);

/// The Lease of operators that elect a leader.
pub(crate) const LEASE: &str = "simulation";

/// The lease duration of the election: longer than the usual one, because each renewal costs time, if no virtual one.
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(60);

/// What all ways to the server share in an execution.
pub(crate) struct Network {
    pub(crate) server: Client,
    pub(crate) log: Log,
    schedule: Schedule,
    writes: AtomicU32,
    events: AtomicU32,
    /// The operator must end now.
    pub(crate) crash: Notify,
    /// The Lease cannot be reached.
    cut: AtomicBool,
    /// Another holds the Lease.
    deposed: AtomicBool,
    collections: Mutex<BTreeSet<Collection>>,
    /// Counts what was written by anybody.
    pub(crate) written: watch::Sender<u64>,
    /// When the operator last changed something.
    last_write: Mutex<Instant>,
    violations: Mutex<Vec<Violation>>,
    invariants: Vec<(String, Invariant)>,
    /// How many faults are still going on.
    busy: AtomicU32,
}

/// Who sends a request.
#[derive(Clone)]
pub(crate) enum Sender {
    /// The users of the scenario, and the world: no fault strikes them.
    Outside(&'static str),
    /// The operator, as long as it has not crashed.
    Operator { alive: Arc<AtomicBool> },
}

/// The client's service.
#[derive(Clone)]
pub(crate) struct Way {
    network: Arc<Network>,
    sender: Sender,
}

type Answer = Response<StreamBody<BoxStream<'static, Result<hyper::body::Frame<Bytes>, BoxError>>>>;

impl Network {
    pub(crate) fn new(
        server: Client,
        log: Log,
        schedule: Schedule,
        invariants: Vec<(String, Invariant)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            server,
            log,
            schedule,
            writes: AtomicU32::new(0),
            events: AtomicU32::new(0),
            crash: Notify::new(),
            cut: AtomicBool::new(false),
            deposed: AtomicBool::new(false),
            // Always: some are there before anybody writes one, and would seem to be without need.
            collections: Mutex::new(BTreeSet::from([("/api/v1".to_owned(), "namespaces".to_owned())])),
            written: watch::Sender::new(0),
            last_write: Mutex::new(Instant::now()),
            violations: Mutex::default(),
            invariants,
            busy: AtomicU32::new(0),
        })
    }

    pub(crate) fn client(self: &Arc<Self>, sender: Sender) -> Client {
        Client::new(Way { network: Arc::clone(self), sender }, "default")
    }

    /// How many writes and events the operator had.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.writes.load(Relaxed), self.events.load(Relaxed))
    }

    /// Whether a fault is still going on.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Relaxed) > 0
    }

    pub(crate) fn collections(&self) -> BTreeSet<Collection> {
        lock(&self.collections).clone()
    }

    pub(crate) fn last_write(&self) -> Instant {
        *lock(&self.last_write)
    }

    pub(crate) fn violate(&self, what: Violation) {
        self.log.line(format_args!("VIOLATED: {what}"));
        let mut violations = lock(&self.violations);
        if !violations.contains(&what) {
            violations.push(what);
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        lock(&self.violations).clone()
    }

    fn strike(&self, fault: &dyn std::fmt::Display) {
        self.log.line(format_args!("FAULT: {fault}"));
    }

    async fn send(self: Arc<Self>, sender: Sender, request: Request<Body>) -> Result<Answer, BoxError> {
        let (is_lease, is_event) = what(request.uri().path());
        let is_read = request.method() == Method::GET;
        let alive = match &sender {
            Sender::Outside(who) => return self.perform(who, request).await,
            Sender::Operator { alive } => Arc::clone(alive),
        };
        if !alive.load(Relaxed) || (is_lease && self.cut.load(Relaxed)) {
            return std::future::pending().await;
        }
        if is_read {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let answer = self.perform("operator", request).await?;
            let is_followed = is_watch && !is_lease && answer.status().is_success();
            return Ok(if is_followed { self.watch(alive, answer) } else { answer });
        }
        if is_lease || is_event {
            return self.perform("operator", request).await;
        }
        let number = self.writes.fetch_add(1, Relaxed) + 1;
        *lock(&self.last_write) = Instant::now();
        let Some(fault) = self.schedule.at_write(number) else { return self.write(request).await };
        self.strike(&format_args!("write {number}: {fault}"));
        match fault {
            WriteFault::CrashBefore => self.end(&alive).await,
            WriteFault::CrashAfter => {
                // Nobody reads the answer.
                let _ = self.write(request).await;
                self.end(&alive).await
            }
            WriteFault::AnswerLost => {
                let _ = self.write(request).await;
                Err("the connection was closed before the answer came".into())
            }
            WriteFault::Conflict => {
                Ok(refusal(StatusCode::CONFLICT, "Conflict", "the object has been modified"))
            }
            WriteFault::Forbidden => {
                Ok(refusal(StatusCode::FORBIDDEN, "Forbidden", "the operator may not do that"))
            }
            WriteFault::Denied => {
                let message = "admission webhook \"simulation\" denied the request: as the schedule says";
                Ok(refusal(StatusCode::BAD_REQUEST, "BadRequest", message))
            }
            WriteFault::Slow => {
                sleep(LONG).await;
                self.write(request).await
            }
            WriteFault::LeadershipLost => {
                tokio::spawn(Arc::clone(&self).depose());
                sleep(PAST_THE_LEASE).await;
                self.write(request).await
            }
            WriteFault::ClockJump => {
                let answer = self.write(request).await;
                let jump = Duration::from_secs(3600);
                // The time that nobody had to write in is no quiet time. It may be that this future does not survive the jump.
                *lock(&self.last_write) = Instant::now() + jump;
                advance(jump).await;
                answer
            }
        }
    }

    /// Lets a write of the operator through.
    async fn write(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        if self.deposed.load(Relaxed) {
            self.violate(Violation::WriteAfterLease);
        }
        self.perform("operator", request).await
    }

    async fn end(&self, alive: &AtomicBool) -> Result<Answer, BoxError> {
        alive.store(false, Relaxed);
        self.crash.notify_one();
        std::future::pending().await
    }

    /// Makes the Lease another's, once it has run out, and gives it back later.
    async fn depose(self: Arc<Self>) {
        self.busy.fetch_add(1, Relaxed);
        self.cut.store(true, Relaxed);
        // The last renewal may have been just before; then it is the candidate's right until then.
        sleep(LEASE_DURATION + Duration::from_secs(1)).await;
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/default/leases/{LEASE}");
        let hold = |holder: &str, seconds: u64| {
            let patch = json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}});
            Request::patch(&path)
                .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
                .body(patch.to_string().into_bytes())
        };
        let (Ok(take), Ok(give)) = (hold("another", 60), hold("", 1)) else { return };
        if self.server.request::<Value>(take).await.is_ok() {
            self.deposed.store(true, Relaxed);
            self.log.line("the lease is another's");
            sleep(Duration::from_secs(14)).await;
            self.deposed.store(false, Relaxed);
            let _ = self.server.request::<Value>(give).await;
            self.log.line("the lease is free");
        }
        self.cut.store(false, Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    /// Performs a request on the server.
    async fn perform(&self, who: &str, request: Request<Body>) -> Result<Answer, BoxError> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (is_lease, is_event) = what(&path);
        let answer = self.server.send(request).await?;
        if method != Method::GET && !is_lease {
            let status = answer.status();
            if !is_event {
                self.log.line(format_args!("{who}: {method} {path}: {}", status.as_u16()));
            }
            if status.is_success() {
                if let Some(collection) = collection(&path) {
                    lock(&self.collections).insert(collection);
                }
                self.written.send_modify(|count| *count += 1);
                self.check_invariants().await;
            }
        }
        let (head, body) = answer.into_parts();
        Ok(Response::from_parts(
            head,
            StreamBody::new(BodyStream::new(body).map(|frame| frame.map_err(Into::into)).boxed()),
        ))
    }

    async fn check_invariants(&self) {
        if self.invariants.is_empty() {
            return;
        }
        let state = State::read(&self.server, self.collections()).await;
        for (name, holds) in &self.invariants {
            if let Err(error) = holds(&state) {
                self.violate(Violation::Invariant { name: name.clone(), error });
            }
        }
    }

    /// Follows the events of a watch.
    fn watch(self: &Arc<Self>, alive: Arc<AtomicBool>, answer: Answer) -> Answer {
        let (head, body) = answer.into_parts();
        let lines = Lines {
            network: Arc::clone(self),
            alive,
            body: body.into_data_stream().boxed(),
            read: BytesMut::new(),
            ready: VecDeque::new(),
            held: Vec::new(),
            until: None,
            ended: false,
        };
        let frames = unfold(lines, |mut lines| async move {
            let line = lines.next().await?;
            Some((Ok(hyper::body::Frame::data(line)), lines))
        });
        Response::from_parts(head, StreamBody::new(frames.boxed()))
    }
}

/// The events of a watch, of which some wait.
struct Lines {
    network: Arc<Network>,
    alive: Arc<AtomicBool>,
    body: BoxStream<'static, Result<Bytes, BoxError>>,
    read: BytesMut,
    ready: VecDeque<Bytes>,
    /// The lines that wait.
    held: Vec<Bytes>,
    /// Until when they wait, and whether they are merged then.
    until: Option<(Instant, bool)>,
    ended: bool,
}

impl Lines {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.alive.load(Relaxed) {
                return std::future::pending().await;
            }
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.ended && self.until.is_none() {
                return None;
            }
            let due = async {
                match self.until {
                    Some((at, _)) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {
                    let is_merged = self.until.take().is_some_and(|(_, merge)| merge);
                    let held = std::mem::take(&mut self.held);
                    self.ready.extend(if is_merged { merged(&held) } else { held });
                }
                chunk = self.body.next(), if !self.ended => match chunk {
                    Some(Ok(chunk)) => {
                        self.read.extend_from_slice(&chunk);
                        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                            let line = self.read.split_to(end + 1).freeze();
                            self.line(line);
                        }
                    }
                    Some(Err(_)) | None => self.ended = true,
                }
            }
        }
    }

    fn line(&mut self, line: Bytes) {
        let is_event = [r#"{"type":"ADDED""#, r#"{"type":"MODIFIED""#, r#"{"type":"DELETED""#];
        let is_event = is_event.iter().any(|start| line.starts_with(start.as_bytes()));
        if is_event {
            let number = self.network.events.fetch_add(1, Relaxed) + 1;
            if let Some(fault) = self.network.schedule.at_event(number) {
                self.network.strike(&format_args!("event {number}: {fault}"));
                match fault {
                    EventFault::Held => self.until = Some((Instant::now() + LONG, false)),
                    EventFault::Merged => self.until = Some((Instant::now() + MERGED, true)),
                    EventFault::Relist => {
                        let expired = status(StatusCode::GONE, "Expired", "too old resource version");
                        self.ready.push_back(Bytes::from(format!(
                            "{}\n",
                            json!({"type": "ERROR", "object": expired})
                        )));
                        self.ended = true;
                        return;
                    }
                }
            }
        }
        match self.until {
            Some(_) => self.held.push(line),
            None if !self.ended => self.ready.push_back(line),
            None => {}
        }
    }
}

/// What is left of events if only the last state of each object is seen. Bookmarks stay where they are.
fn merged(lines: &[Bytes]) -> Vec<Bytes> {
    struct Event {
        of: Option<(String, String)>,
        value: Value,
        line: Option<Bytes>,
    }
    let mut events: Vec<Event> = Vec::new();
    for line in lines {
        let Ok(mut value) = serde_json::from_slice::<Value>(line) else { continue };
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let type_ = text("/type");
        let uid = text("/object/metadata/uid");
        if type_ == "BOOKMARK" || type_ == "ERROR" {
            events.push(Event { of: None, value, line: Some(line.clone()) });
            continue;
        }
        let of = Some((uid, text("/object/kind")));
        let before = events.iter().position(|event| event.of == of);
        let before = before.map(|index| events.remove(index).value["type"].clone());
        match (before.as_ref().and_then(Value::as_str), type_.as_str()) {
            // It came and went unseen.
            (Some("ADDED"), "DELETED") => continue,
            (Some("ADDED"), _) => value["type"] = "ADDED".into(),
            _ => {}
        }
        events.push(Event { of, value, line: None });
    }
    let line = |event: Event| event.line.unwrap_or_else(|| Bytes::from(format!("{}\n", event.value)));
    events.into_iter().map(line).collect()
}

/// Whether a path is of Leases, and whether it is of Events: both say something about an operator, not what it is for.
fn what(path: &str) -> (bool, bool) {
    match target(path).map(|target| (target.group, target.plural)) {
        Some(("coordination.k8s.io", "leases")) => (true, false),
        Some(("" | "events.k8s.io", "events")) => (false, true),
        _ => (false, false),
    }
}

/// The collection that a path is in: where to list, and what.
fn collection(path: &str) -> Option<Collection> {
    let Target { group, version, plural, .. } = target(path)?;
    let is_compared = what(path) == (false, false)
        && (group, plural) != ("apiextensions.k8s.io", "customresourcedefinitions");
    let prefix =
        if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    is_compared.then(|| (prefix, plural.to_owned()))
}

fn status(code: StatusCode, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code.as_u16()})
}

fn refusal(code: StatusCode, reason: &str, message: &str) -> Answer {
    let body = Bytes::from(status(code, reason, message).to_string());
    let frames = futures_util::stream::once(async { Ok::<_, Infallible>(hyper::body::Frame::data(body)) });
    let mut answer = Response::new(StreamBody::new(frames.map(|frame| frame.map_err(Into::into)).boxed()));
    *answer.status_mut() = code;
    answer
}

impl tower::Service<Request<Body>> for Way {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(Arc::clone(&self.network).send(self.sender.clone(), request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(type_: &str, uid: &str, data: u32) -> Bytes {
        let object = json!({"kind": "ConfigMap", "metadata": {"uid": uid}, "data": data});
        Bytes::from(format!("{}\n", json!({"type": type_, "object": object})))
    }

    #[test]
    fn of_merged_events_the_last_state_of_each_object_is_left() {
        let lines = [
            event("ADDED", "a", 1),
            event("MODIFIED", "b", 2),
            event("MODIFIED", "a", 3),
            event("ADDED", "c", 4),
            event("DELETED", "c", 5),
            event("DELETED", "b", 6),
        ];
        let left: Vec<Value> =
            merged(&lines).iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
        let left: Vec<_> = left
            .iter()
            .map(|event| (event["type"].as_str().unwrap(), event["object"]["data"].as_u64()))
            .collect();
        assert_eq!(left, [("ADDED", Some(3)), ("DELETED", Some(6))]);
    }

    #[test]
    fn paths_are_in_collections() {
        let of = |path: &str| collection(path).map(|(prefix, plural)| format!("{prefix} {plural}"));
        assert_eq!(of("/api/v1/namespaces/a/pods/b/status").as_deref(), Some("/api/v1 pods"));
        assert_eq!(
            of("/apis/apps/v1/namespaces/a/deployments").as_deref(),
            Some("/apis/apps/v1 deployments")
        );
        assert_eq!(of("/api/v1/nodes/a").as_deref(), Some("/api/v1 nodes"));
        assert_eq!(of("/api/v1/namespaces/a").as_deref(), Some("/api/v1 namespaces"));
        assert_eq!(of("/apis/coordination.k8s.io/v1/namespaces/a/leases/b"), None);
        assert_eq!(of("/api/v1/namespaces/a/events"), None);
        assert_eq!(of("/apis/events.k8s.io/v1/namespaces/a/events/b"), None);
        assert_eq!(of("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a"), None);
        // Types and objects of the same name that are somebody's own.
        assert_eq!(
            of("/apis/example.com/v1/namespaces/a/leases").as_deref(),
            Some("/apis/example.com/v1 leases")
        );
        assert_eq!(of("/api/v1/namespaces/a/configmaps/events").as_deref(), Some("/api/v1 configmaps"));
    }
}
