//! A server as a service of HTTP requests.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::{Body, BoxError};
use super::handler::Handler;
#[cfg(feature = "streams")]
use super::pipe;
use crate::user::User;

/// A server as a [`tower_service::Service`] of HTTP requests, for clients in the same process. Every request is made as
/// the cluster's administrator. Clones are handles to the same service. It is always ready and never fails.
#[derive(Clone, Debug)]
pub struct Service(Arc<Handler>);

impl Service {
    pub(crate) fn new(handler: Arc<Handler>) -> Self {
        Self(handler)
    }
}

impl<B> tower_service::Service<http::Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let handler = Arc::clone(&self.0);
        let request = request.map(Body::new);
        #[cfg(feature = "streams")]
        if request.headers().contains_key(http::header::UPGRADE) {
            return Box::pin(async move { Ok(pipe::answer(handler, User::admin(), request).await) });
        }
        Box::pin(async move { Ok(handler.answer(&User::admin(), request).await) })
    }
}
