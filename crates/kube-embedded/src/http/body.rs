//! The bodies of requests and responses.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, TryStreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};

use crate::status::Status;

/// kube-apiserver's limit for request bodies.
const MAX_REQUEST: usize = 3 * 1024 * 1024;
/// How long a client may take to send a request's body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An error that ends a body early.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request or a response of the [`Service`](crate::Service), of any origin.
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, BoxError>);

impl Body {
    /// Wraps another body.
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(UnsyncBoxBody::new(body.map_err(Into::into)))
    }

    /// Creates a body that arrives in pieces.
    pub(crate) fn from_stream<S, E>(pieces: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::new(StreamBody::new(pieces.map_ok(Frame::data)))
    }

    /// Creates a body with a line: these bytes and the end of the line, without a copy of the bytes.
    pub(crate) fn line(bytes: Vec<u8>) -> Self {
        Self::new(Line([Some(bytes.into()), Some(Bytes::from_static(b"\n"))]).map_err(|never| match never {}))
    }

    /// Reads a request's whole body.
    ///
    /// # Errors
    /// Fails with 413 if it is larger than kube-apiserver accepts, 504 if it takes too long, and 400 if it breaks off.
    pub(crate) async fn collect_request(self) -> Result<Bytes, Status> {
        let body = Limited::new(self, MAX_REQUEST).collect();
        match tokio::time::timeout(REQUEST_TIMEOUT, body).await.map_err(|_| Status::timeout())? {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_REQUEST)),
            Err(error) => Err(Status::bad_request(format!("the body could not be read: {error}"))),
        }
    }
}

/// The pieces of a line that were not sent yet.
struct Line([Option<Bytes>; 2]);

impl http_body::Body for Line {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.iter_mut().find_map(Option::take);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().flatten().map(|piece| piece.len() as u64).sum())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}
