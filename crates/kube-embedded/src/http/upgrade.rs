//! Turns the connection of a request into a stream: the handshakes of WebSocket and of Kubernetes' SPDY.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::render::Response;
use crate::status::Status;
use crate::streams::accept_key;

/// A connection that is no longer HTTP.
pub(super) type Io = TokioIo<Upgraded>;

/// What follows a response with the code 101, taken from its extensions by whoever has the connection.
#[derive(Clone)]
pub(crate) struct Session(Arc<Mutex<Option<Speak>>>);

type Speak = Box<dyn FnOnce(Io) -> BoxFuture<'static, ()> + Send>;

/// How long the end of a connection may take.
const CLOSE: Duration = Duration::from_secs(5);

/// What a client wants its connection to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    WebSocket,
    Spdy,
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

impl Wanted {
    /// What the headers of a request want.
    ///
    /// # Errors
    /// Fails with 400 if that is nothing of these.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let upgrades = values(headers, &header::CONNECTION).any(|it| it.eq_ignore_ascii_case("upgrade"));
        let protocol = headers.get(header::UPGRADE).and_then(|it| it.to_str().ok()).filter(|_| upgrades);
        match protocol {
            Some(protocol) if protocol.eq_ignore_ascii_case("websocket") => Ok(Self::WebSocket),
            Some(protocol) if protocol.eq_ignore_ascii_case("SPDY/3.1") => Ok(Self::Spdy),
            _ => Err(Status::bad_request("Upgrade request required")),
        }
    }

    /// Whether a client offers a protocol.
    pub(super) fn offers(self, headers: &HeaderMap, protocol: &str) -> bool {
        values(headers, &self.protocol_header()).any(|it| it == protocol)
    }

    /// Answers the handshake with the first protocol of the client that is among these, after which the connection is what
    /// `speak` makes of it; or with a refusal. Without a protocol of the client's, it is the last of these.
    pub(super) fn upgrade<P, F>(
        self,
        headers: &HeaderMap,
        supported: &[(&'static str, P)],
        speak: impl FnOnce(Io, P) -> F + Send + 'static,
    ) -> Response
    where
        P: Copy + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let of_client = self.protocol_header();
        let mut asked = values(headers, &of_client).peekable();
        let chosen = match asked.peek() {
            None => supported.last().map(|(_, protocol)| (None, *protocol)),
            Some(_) => asked.find_map(|asked| {
                let (name, protocol) = supported.iter().find(|(name, _)| *name == asked)?;
                Some((Some(*name), *protocol))
            }),
        };
        let Some((name, protocol)) = chosen else { return self.refusal(supported) };
        let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
        let answer = response.headers_mut();
        answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match self {
            Self::WebSocket => {
                let version = headers.get(header::SEC_WEBSOCKET_VERSION);
                let key = headers.get(header::SEC_WEBSOCKET_KEY);
                let Some(key) = key.filter(|_| version.is_some_and(|version| version == "13")) else {
                    return empty(StatusCode::BAD_REQUEST);
                };
                let accept = HeaderValue::from_str(&accept_key(key.as_bytes()));
                answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                answer.extend(accept.ok().map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)));
            }
            Self::Spdy => {
                answer.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            }
        }
        if let Some(name) = name {
            answer.insert(of_client.clone(), HeaderValue::from_static(name));
        }
        response.extensions_mut().insert(Session::new(move |io| speak(io, protocol)));
        response
    }

    fn protocol_header(self) -> HeaderName {
        match self {
            Self::WebSocket => header::SEC_WEBSOCKET_PROTOCOL,
            Self::Spdy => STREAM_PROTOCOL,
        }
    }

    fn refusal<P>(self, supported: &[(&'static str, P)]) -> Response {
        let mut response = empty(StatusCode::FORBIDDEN);
        if self == Self::Spdy {
            for (name, _) in supported {
                response.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(name));
            }
        }
        response
    }
}

/// Passes the upgrade of a connection to another server on: from then on each of both connections has what comes from the other.
pub(super) fn pass_on(mut answer: Response) -> Response {
    let other = hyper::upgrade::on(&mut answer);
    answer.extensions_mut().insert(Session::new(|client| async move {
        match other.await {
            Ok(server) => join(client, TokioIo::new(server)).await,
            Err(error) => tracing::debug!(%error, "the connection to an aggregated server was not upgraded"),
        }
    }));
    answer
}

/// Copies in both directions until one of both connections ends, which ends the other.
async fn join(client: Io, server: Io) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let ended = tokio::select! {
        ended = tokio::io::copy(&mut from_client, &mut to_server) => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an upgraded connection has ended");
    }
    let closed = async { tokio::join!(to_client.shutdown(), to_server.shutdown()) };
    // They are closed in any case.
    let _ = tokio::time::timeout(CLOSE, closed).await;
}

impl Session {
    fn new<F>(speak: impl FnOnce(Io) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let speak: Speak = Box::new(move |io| Box::pin(speak(io)));
        Self(Arc::new(Mutex::new(Some(speak))))
    }

    /// Speaks with the client, once its connection is upgraded, until one of both ends it or the server stops.
    pub(crate) async fn run(self, connection: OnUpgrade, stop: CancellationToken) {
        let speak = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(speak) = speak else { return };
        let session = async {
            match connection.await {
                Ok(upgraded) => speak(TokioIo::new(upgraded)).await,
                Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
            }
        };
        tokio::select! {
            () = session => {}
            () = stop.cancelled() => {}
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// The elements of a header that is a list.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|it| !it.is_empty())
}

fn empty(code: StatusCode) -> Response {
    let mut response = Response::new(Body::from(""));
    *response.status_mut() = code;
    response
}
