//! One connection: TLS, the user of each request, and an orderly end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use super::linger::Lent;
use super::tls::Clients;
#[cfg(feature = "streams")]
use crate::http::Session;
use crate::http::{
    Body, ClientAddress, Handler, IsLost, IsWatch, Response, is_for_human, plain_text, shown, status,
};
use crate::status::Status;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request over HTTP/1.
const HEAD: Duration = Duration::from_secs(30);
/// How long a connection stays open without a request, as in kube-apiserver.
const IDLE: Duration = Duration::from_secs(90);
/// How long requests have to finish when the server stops.
const GRACE: Duration = Duration::from_secs(1);
/// How often a silent HTTP/2 client is pinged.
const PING_EVERY: Duration = Duration::from_secs(30);
/// The maximum size of a request's head: Go's default, with what it adds to that.
const MAX_HEAD: usize = 1024 * 1024 + 4096;

/// A response body. Its request is pending until it is sent. The body of a watch ends when the server stops.
struct Answer {
    body: Body,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _request: Pending,
}

/// A request whose response is not completely sent.
struct Pending(Arc<watch::Sender<usize>>);

/// The tasks of a connection: hyper has one for each HTTP/2 request, which end once it is dropped. What follows an upgrade is
/// one, too.
#[derive(Clone, Default)]
struct Tasks(TaskTracker);

/// Serves a connection until its client closes it, it has been idle for too long, or the server stops.
pub(super) async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    clients: Clients,
    handler: Arc<Handler>,
    stop: CancellationToken,
) {
    // Events are small and should be sent at once.
    let _ = stream.set_nodelay(true);
    let address = stream.peer_addr().ok().map(|address| ClientAddress(address.ip().to_canonical()));
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => accepted,
        () = stop.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let holder = Arc::new(clients.holder(&handler.cluster.store, certificates));
    let clients = Arc::new(clients);
    let pending = Arc::new(watch::Sender::new(0));
    let mut unused = pending.subscribe();
    let stopped = stop.clone();
    let tasks = Tasks::default();
    #[cfg(feature = "streams")]
    let sessions = tasks.0.clone();
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let request_pending = Pending::new(&pending);
        if let Some(address) = address {
            request.extensions_mut().insert(address);
        }
        let (handler, stop) = (Arc::clone(&handler), stop.clone());
        let (holder, clients) = (Arc::clone(&holder), Arc::clone(&clients));
        #[cfg(feature = "streams")]
        let (connection, sessions) = (hyper::upgrade::on(&mut request), sessions.clone());
        async move {
            let response = match wrong_host(&request) {
                Some(refused) => refused,
                None => match holder.user(&handler.cluster, request.headers()) {
                    Some(user) => {
                        clients.clear(request.headers_mut());
                        handler.answer(&user, request.map(Body::new)).await
                    }
                    None => shown(status(&Status::unauthorized()), is_for_human(&request)).await,
                },
            };
            match response.extensions().get::<IsLost>() {
                // hyper breaks the connection, or over HTTP/2 the stream.
                Some(IsLost) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                None => {
                    #[cfg(feature = "streams")]
                    if let Some(session) = response.extensions().get::<Session>() {
                        sessions.spawn(session.clone().run(connection, stop.clone()));
                    }
                    Ok(answer(response, request_pending, stop))
                }
            }
        }
    });
    let (stream, left) = Lent::new(stream);
    let mut builder = auto::Builder::new(tasks.clone());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .max_concurrent_streams(1000)
        .max_header_list_size(MAX_HEAD as u32);
    let ended = {
        let mut connection =
            std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stopped.cancelled() => None,
            () = idle(&mut unused) => None,
        };
        match ended {
            Some(ended) => Ok(ended),
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(GRACE, connection).await
            }
        }
    };
    tasks.0.close();
    tasks.0.wait().await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "connection ended");
            if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
                left.close().await;
            }
        }
        Err(_) => tracing::debug!("connection cut: a request did not finish in time"),
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Waits until no request has been pending for [`IDLE`].
async fn idle(pending: &mut watch::Receiver<usize>) {
    loop {
        let unused = pending.wait_for(|requests| *requests == 0).await.is_ok();
        if !unused {
            // The connection is closed; its task notices that by itself.
            return std::future::pending().await;
        }
        if tokio::time::timeout(IDLE, pending.changed()).await.is_err() {
            return;
        }
    }
}

/// Go's response to an HTTP/1.1 request that does not have exactly one host (RFC 9112, 3.2). The connection is closed
/// afterwards.
fn wrong_host<B>(request: &http::Request<B>) -> Option<Response> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let why = match (request.version(), hosts) {
        (http::Version::HTTP_11, 0) => "400 Bad Request: missing required Host header",
        (http::Version::HTTP_11, 2..) => "400 Bad Request: too many Host headers",
        _ => return None,
    };
    let mut response = plain_text(StatusCode::BAD_REQUEST, why);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

/// A response whose request is pending until it is sent.
fn answer(response: Response, request: Pending, stop: CancellationToken) -> Response {
    let is_watch = response.extensions().get::<IsWatch>().is_some();
    let stop = is_watch.then(|| Box::pin(stop.cancelled_owned()));
    response.map(|body| Body::new(Answer { body, stop, _request: request }))
}

impl Pending {
    fn new(requests: &Arc<watch::Sender<usize>>) -> Self {
        requests.send_modify(|requests| *requests += 1);
        Self(Arc::clone(requests))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(stop) = &mut self.stop
            && stop.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
