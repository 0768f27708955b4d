//! Small pages over plain HTTP, for probes. Connections are few, short and closed after one answer, and a new one is always
//! accepted, so that no client can block another one, such as the kubelet.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::warn;

/// The maximum number of open connections. A further one closes the oldest.
pub(crate) const CONNECTIONS: usize = 16;
/// How long a connection may stay open.
pub(crate) const CONNECTION: Duration = Duration::from_secs(2);
/// The maximum size of a request's head.
pub(crate) const REQUEST: usize = 8 * 1024;
/// The media type of a page of text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A page: its status, its media type, and its text.
pub(crate) type Page = (StatusCode, &'static str, String);

/// Answers requests for as long as it is polled.
pub(crate) async fn serve(
    listener: &TcpListener,
    answer: impl Fn(&Method, &str) -> Page + Clone + Send + Sync + 'static,
) -> Infallible {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                by_age.retain(|connection| !connection.is_finished());
                if by_age.len() >= CONNECTIONS
                    && let Some(oldest) = by_age.pop_front()
                {
                    oldest.abort();
                }
                let answered = timeout(CONNECTION, connection(stream, answer.clone()));
                by_age.push_back(connections.spawn(answered));
            }
            // For example, there are no more file descriptors. It is retried a little later.
            Err(error) => {
                let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
                warn!(%error, address, "a connection cannot be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, answer: impl Fn(&Method, &str) -> Page) {
    let answer = service_fn(async |request: Request<Incoming>| {
        let (code, kind, text) = answer(request.method(), request.uri().path());
        Response::builder().status(code).header(header::CONTENT_TYPE, kind).body(text)
    });
    let mut connection = http1::Builder::new();
    connection
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION)
        .max_buf_size(REQUEST)
        .keep_alive(false);
    // On an error the client has disconnected, or its request was malformed.
    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
}
