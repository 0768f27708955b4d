//! Health, metrics and queues over HTTP.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::view::View;

/// How many connections are open at the same time. A further one closes the oldest, so that no client can block another one,
/// such as the kubelet.
const CONNECTIONS: usize = 64;

/// How long a connection may stay open. It is closed after one answer.
const CONNECTION: Duration = Duration::from_secs(10);

/// The maximum size of a request's head.
const REQUEST: usize = 8 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";

/// Serves until it is cancelled.
pub(crate) async fn serve(listener: TcpListener, view: Arc<View>, cancelled: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = cancelled.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                while connections.try_join_next().is_some() {}
                by_age.retain(|connection| !connection.is_finished());
                if by_age.len() >= CONNECTIONS
                    && let Some(oldest) = by_age.pop_front()
                {
                    oldest.abort();
                }
                let answer = timeout(CONNECTION, connection(stream, peer, Arc::clone(&view)));
                by_age.push_back(connections.spawn(answer));
            }
            // For example, there are no more file descriptors. It is retried a little later.
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, view: Arc<View>) {
    let service = service_fn(move |request| {
        let view = Arc::clone(&view);
        async move { Ok::<_, Infallible>(answer(&request, peer.ip(), &view).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(CONNECTION).max_buf_size(REQUEST).keep_alive(false);
    // On an error the client has disconnected, or its request was malformed.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: &Request<Incoming>, peer: IpAddr, view: &View) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/healthz" | "/livez" | "/readyz" | "/metrics" | "/debug/queue") {
        return response(StatusCode::NOT_FOUND, TEXT, "there is no such page\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/metrics" => response(StatusCode::OK, METRICS, view.metrics()),
        "/readyz" => health(&view.not_ready()),
        "/debug/queue" => {
            if !peer.to_canonical().is_loopback() || !names_this_machine(request) {
                let text = "only from the machine itself, by the name localhost or a loopback address\n";
                return response(StatusCode::FORBIDDEN, TEXT, text.to_owned());
            }
            match serde_json::to_string(&view.queues().await) {
                Ok(queues) => response(StatusCode::OK, JSON, queues + "\n"),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            }
        }
        _ => health(&view.not_healthy()),
    }
}

/// Whether the request was made to a name of this machine. A web page can make a browser send requests to a name that it has
/// resolve to the loopback address.
fn names_this_machine(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| host.parse::<http::uri::Authority>().ok()) else { return false };
    let host = host.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn health(problems: &[String]) -> Response<Full<Bytes>> {
    if problems.is_empty() {
        return response(StatusCode::OK, TEXT, "ok\n".to_owned());
    }
    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, problems.join("\n") + "\n")
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
