//! Requests of clients in the same process that want to upgrade their connection: they get one, in memory.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::body::Body;
use super::handler::Handler;
use super::render::{self, Response};
use super::upgrade::Session;
use crate::status::Status;
use crate::user::User;

/// The number of bytes on their way in each direction.
const BUFFER: usize = 64 * 1024;

/// Answers a request over a connection of its own.
pub(super) async fn answer(handler: Arc<Handler>, user: User, request: http::Request<Body>) -> Response {
    let (client, server) = tokio::io::duplex(BUFFER);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let (handler, user) = (Arc::clone(&handler), user.clone());
        async move {
            let connection = hyper::upgrade::on(&mut request);
            let response = handler.answer(&user, request.map(Body::new)).await;
            if let Some(session) = response.extensions().get::<Session>() {
                tokio::spawn(session.clone().run(connection, handler.cluster.ended.clone()));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(serving.with_upgrades());
    let failed = |error: hyper::Error| render::status(&Status::internal_error(error.to_string()));
    match hyper::client::conn::http1::handshake(TokioIo::new(client)).await {
        Ok((mut sender, connection)) => {
            tokio::spawn(connection.with_upgrades());
            sender.send_request(request).await.map_or_else(failed, |response| response.map(Body::new))
        }
        Err(error) => failed(error),
    }
}
