//! Performs the actions of the engines: sends their requests and passes them responses and the time.
//!
//! One task, which the informer's handle owns, drives all scopes of an informer, so there is one writer whatever the
//! number of namespaces. However the task ends, subscribers and waiters are notified.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use http::{HeaderMap, Response, header};
use http_body_util::{BodyExt, Empty};
use kube::{Client, client::Body};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, debug_span, error};

use crate::{
    Cached, Error,
    engine::{Engine, Flow},
    error::cause_of,
    metrics::Counters,
    persist::{Asked, Persister},
    protocol::{Action, Request, Settings, Target, Time, WatchLists},
    scope::Scope,
    state::State,
};

const JSON: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The maximum number of bytes that are decoded before other tasks get a turn: tens of small objects, which take some
/// tenths of a millisecond.
const TURN: usize = 64 << 10;

/// The connection to a server, and what is known about the server.
pub(crate) struct Connection {
    transport: Transport,
    /// The moment that time is counted from.
    started: Instant,
    watch_lists: Arc<WatchLists>,
    pub(crate) asked: Arc<Asked>,
}

pub(crate) struct Driver<K: Cached> {
    connection: Arc<Connection>,
    target: Target,
    settings: Settings,
    scopes: mpsc::UnboundedReceiver<Scope>,
    cancelled: CancellationToken,
    persister: Option<Arc<Persister<K>>>,
    /// Dropped with the task, whether it returns, is aborted or panics.
    state: CloseOnDrop<K>,
}

struct CloseOnDrop<K: Cached>(Arc<State<K>>);

impl<K: Cached> Drop for CloseOnDrop<K> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Connection {
    pub(crate) fn new(client: Client) -> Self {
        let asked = Arc::new(Asked::new(client.clone()));
        Self {
            transport: Transport::new(client),
            started: Instant::now(),
            watch_lists: Arc::default(),
            asked,
        }
    }
}

impl<K: Cached> Driver<K> {
    /// Returns a driver of the scopes that it receives.
    pub(crate) fn new(
        connection: Arc<Connection>,
        target: Target,
        settings: Settings,
        state: Arc<State<K>>,
        scopes: mpsc::UnboundedReceiver<Scope>,
        cancelled: CancellationToken,
        persister: Option<Arc<Persister<K>>>,
    ) -> Self {
        Self { connection, target, settings, scopes, cancelled, persister, state: CloseOnDrop(state) }
    }

    /// Runs until it is cancelled, or until the user's code panics.
    pub(crate) async fn run(mut self) {
        let (cancelled, resource) = (self.cancelled.clone(), self.target.path());
        let driving = AssertUnwindSafe(self.drive()).catch_unwind();
        match cancelled.run_until_cancelled(driving).await {
            // The panic hook has printed the panic's message.
            Some(Err(_)) => error!(
                resource,
                "informer stopped: an index function or a Deserialize implementation panicked"
            ),
            Some(Ok(())) | None => {
                debug!(resource, "informer cancelled");
                if let Some(persister) = &self.persister {
                    persister.save_at_end();
                }
            }
        }
    }

    async fn drive(&mut self) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(scope) = self.scopes.recv() => running.push(self.watch(scope)),
                Some(()) = running.next() => {}
                // Nothing is watched, and nothing can be added any more.
                else => std::future::pending().await,
            }
        }
    }

    /// Watches a scope until it is removed.
    fn watch(&self, scope: Scope) -> impl Future<Output = ()> + use<K> {
        let removed = scope.removed.clone();
        let (target, state) = (self.target.clone(), Arc::clone(&self.state.0));
        let Connection { transport, started, watch_lists, .. } = &*self.connection;
        let (seed, started, watch_lists) = (fastrand::u64(..), *started, Arc::clone(watch_lists));
        let counters = state.counters().clone();
        let engine =
            Engine::new(target, scope.clone(), self.settings.clone(), seed, started, watch_lists, state);
        let mut watch = Watch { transport: transport.clone(), engine, counters, started, decoded: 0 };
        let persister = self.persister.clone();
        // Boxed, because it is large.
        let watching = Box::pin(async move {
            let Some(persister) = persister else { return watch.run().await };
            if let Some((stored, version)) = persister.resume(&scope).await {
                watch.engine.resume(watch.now(), stored, version);
            }
            tokio::join!(watch.run(), persister.run(&scope));
        });
        async move {
            removed.run_until_cancelled_owned(watching).await;
        }
    }
}

/// The watch of one scope.
struct Watch<K: Cached> {
    transport: Transport,
    engine: Engine<K>,
    counters: Counters,
    started: Instant,
    /// How many bytes were decoded since other tasks got a turn.
    decoded: usize,
}

impl<K: Cached> Watch<K> {
    async fn run(mut self) {
        loop {
            match self.engine.next_action(self.now()) {
                Action::Send(request) => {
                    // Shows in the client's own logs which request they are about.
                    let span =
                        debug_span!("exchange", resource = %self.engine.path(), request = request.verb());
                    self.exchange(&request).instrument(span).await;
                }
                Action::WaitUntil(until) => {
                    let until = self.engine.next_timeout().map_or(until, |timeout| timeout.min(until));
                    sleep_until(self.started + until).await;
                    let _ = self.engine.on_timeout(self.now());
                }
                // The engine has not decided yet; it will when asked again.
                Action::InFlight => tokio::task::yield_now().await,
            }
        }
    }

    /// Sends one request and feeds its response to the engine. Returns when the engine must be asked for its next
    /// action.
    async fn exchange(&mut self, request: &Request) {
        let uri = self.engine.target().uri(request);
        let accept = match request {
            Request::Discover => JSON,
            _ if !self.engine.target().metadata_only => JSON,
            Request::List { .. } => METADATA_LIST,
            Request::WatchList { .. } | Request::Watch { .. } => METADATA,
        };
        let transport = self.transport.clone();
        let Some(sent) = self.with_timeouts(transport.get(uri, accept)).await else { return };
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                let error = Error::from_send(self.engine.path(), error);
                return self.engine.on_error(self.now(), error);
            }
        };
        self.engine.on_headers(self.now(), response.status(), retry_after(response.headers()));
        let mut body = response.into_body();
        while let Some(frame) = self.with_timeouts(body.frame()).await {
            match frame {
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if self.decode(chunk).await == Flow::Stop {
                        if matches!(request, Request::List { .. }) {
                            drain(body).await;
                        }
                        return;
                    }
                }
                Some(Err(error)) => {
                    let resource = Arc::clone(self.engine.path());
                    let error = Error::Interrupted { resource, source: Some(cause_of(error)) };
                    return self.engine.on_error(self.now(), error);
                }
                None => return self.engine.on_eof(self.now()),
            }
        }
    }

    /// Passes a chunk to the engine, and lets other tasks run before it is done with a long one. Cancellation takes
    /// effect at the same points.
    async fn decode(&mut self, mut chunk: Bytes) -> Flow {
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(TURN - self.decoded));
            self.decoded += part.len();
            let now = self.now();
            if self.counters.time_decoding(|| self.engine.on_chunk(now, part)) == Flow::Stop {
                return Flow::Stop;
            }
            if self.decoded == TURN {
                self.decoded = 0;
                tokio::task::yield_now().await;
            }
        }
        Flow::Continue
    }

    /// Awaits `awaited` and meanwhile calls the engine's timeouts. Returns `None` if the engine gave up waiting.
    async fn with_timeouts<T>(&mut self, awaited: impl Future<Output = T>) -> Option<T> {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            // Every request in flight has a deadline. This is a safety net should one ever have none.
            let timeout = self.engine.next_timeout().unwrap_or_else(|| self.now() + Duration::from_secs(60));
            tokio::select! {
                done = &mut awaited => return Some(done),
                () = sleep_until(self.started + timeout) => {
                    if self.engine.on_timeout(self.now()) == Flow::Stop {
                        return None;
                    }
                }
            }
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }
}

/// Sends requests through the user's client, without the client's own retries.
#[derive(Clone)]
struct Transport {
    client: Client,
    /// Makes request bodies that cannot be cloned, because kube's retry layer resends a request only if it can clone
    /// its body. Such a body can only be obtained from a response.
    bodies: Client,
}

impl Transport {
    fn new(client: Client) -> Self {
        let empty = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        Self { client, bodies: Client::new(empty, "default") }
    }

    async fn get(self, uri: String, accept: &'static str) -> Result<Response<Body>, kube::Error> {
        let body = self.bodies.send(http::Request::new(Body::empty())).await?.into_body();
        let request = http::Request::get(uri)
            .header(header::ACCEPT, accept)
            // A compressed watch is buffered until a block is full, and newer servers send one gzip member per event.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.client.send(request).await
    }
}

/// Reads the rest of a list, so that the next page can reuse the connection. That is at most a line break; more is
/// not worth waiting for.
async fn drain(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(Duration::from_millis(100), rest).await;
}

/// Parses `Retry-After`. Kubernetes sends seconds, never a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
