//! Does what the engines ask for: sends their requests and hands them what comes, with the time.
//!
//! One task for all scopes of an informer, which the informer's handle owns; so there is one writer, whatever the number
//! of namespaces. However the task ends, subscribers and waiters are told.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

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
    protocol::{Action, Request, Settings, Target, Time, WatchLists},
    scope::Scope,
    state::State,
};

const JSON: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The way to a server, and what is known of it.
pub(crate) struct Connection {
    transport: Transport,
    /// From when on time is counted.
    started: Instant,
    watch_lists: Arc<WatchLists>,
}

pub(crate) struct Driver<K: Cached> {
    connection: Arc<Connection>,
    target: Target,
    settings: Settings,
    scopes: mpsc::UnboundedReceiver<Scope>,
    cancelled: CancellationToken,
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
        Self { transport: Transport::new(client), started: Instant::now(), watch_lists: Arc::default() }
    }
}

impl<K: Cached> Driver<K> {
    /// A driver of the scopes that it is sent.
    pub(crate) fn new(
        connection: Arc<Connection>,
        target: Target,
        settings: Settings,
        state: Arc<State<K>>,
        scopes: mpsc::UnboundedReceiver<Scope>,
        cancelled: CancellationToken,
    ) -> Self {
        Self { connection, target, settings, scopes, cancelled, state: CloseOnDrop(state) }
    }

    /// Runs until it is cancelled, or until what the user brought panics.
    pub(crate) async fn run(mut self) {
        let (cancelled, resource) = (self.cancelled.clone(), self.target.path());
        let driving = AssertUnwindSafe(self.drive()).catch_unwind();
        match cancelled.run_until_cancelled(driving).await {
            // The panic's own message was printed by its hook.
            Some(Err(_)) => error!(resource, "ended by a panic of an index function or of a Deserialize"),
            Some(Ok(())) | None => debug!(resource, "cancelled"),
        }
    }

    async fn drive(&mut self) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(scope) = self.scopes.recv() => running.push(self.watch(scope)),
                Some(()) = running.next() => {}
                // Nothing is watched, and nothing will be.
                else => std::future::pending().await,
            }
        }
    }

    /// Follows a scope until it is removed.
    fn watch(&self, scope: Scope) -> impl Future<Output = ()> + use<K> {
        let removed = scope.removed.clone();
        let (target, state) = (self.target.clone(), Arc::clone(&self.state.0));
        let Connection { transport, started, watch_lists } = &*self.connection;
        let (seed, started, watch_lists) = (fastrand::u64(..), *started, Arc::clone(watch_lists));
        let counters = state.counters().clone();
        let engine = Engine::new(target, scope, self.settings.clone(), seed, started, watch_lists, state);
        let watch = Watch { transport: transport.clone(), engine, counters, started };
        // It is large.
        let watching = Box::pin(watch.run());
        async move {
            removed.run_until_cancelled_owned(watching).await;
        }
    }
}

/// What follows one scope.
struct Watch<K: Cached> {
    transport: Transport,
    engine: Engine<K>,
    counters: Counters,
    started: Instant,
}

impl<K: Cached> Watch<K> {
    async fn run(mut self) {
        loop {
            match self.engine.next_action(self.now()) {
                Action::Send(request) => {
                    // What the client logs about a request tells whose it is.
                    let span =
                        debug_span!("exchange", resource = %self.engine.path(), request = request.verb());
                    self.exchange(&request).instrument(span).await;
                }
                Action::WaitUntil(until) => {
                    let until = self.engine.next_timeout().map_or(until, |timeout| timeout.min(until));
                    sleep_until(self.started + until).await;
                    let _ = self.engine.on_timeout(self.now());
                }
                // The engine has not said what follows; it will the next time.
                Action::InFlight => tokio::task::yield_now().await,
            }
        }
    }

    /// One request and its answer. Returns when the engine has to be asked what is next.
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
                    let now = self.now();
                    if self.counters.time_decoding(|| self.engine.on_chunk(now, chunk)) == Flow::Stop {
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

    /// Waits for something, and wakes the engine when it wants to be. None when the engine gave up waiting.
    async fn with_timeouts<T>(&mut self, awaited: impl Future<Output = T>) -> Option<T> {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            // Every request under way has a deadline; should it ever have none, it waits for a minute and asks again.
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
    /// Makes request bodies that cannot be cloned. kube's retry layer sends a request again only if it can clone the
    /// body, and a body of that kind can only be had as that of a response.
    bodies: Client,
}

impl Transport {
    fn new(client: Client) -> Self {
        let empty = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        });
        Self { client, bodies: Client::new(empty, "default") }
    }

    async fn get(self, uri: String, accept: &'static str) -> Result<Response<Body>, kube::Error> {
        let body = self.bodies.send(http::Request::new(Body::empty())).await?.into_body();
        let request = http::Request::get(uri)
            .header(header::ACCEPT, accept)
            // A compressed watch is held back until a block is full, and newer servers send one gzip member an event.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.client.send(request).await
    }
}

/// Reads what is left of a list, so that the next page does not need a connection of its own. It is a line end at most:
/// what takes longer is not worth it.
async fn drain(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(Duration::from_millis(100), rest).await;
}

/// How many seconds the server wants to be left alone. Kubernetes sends seconds, never a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
