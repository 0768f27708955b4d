//! The end of a connection whose request was too large to be read.
//!
//! A client that is still sending when the connection is closed is reset, and may never see the answer. So the rest of the
//! request is read for a moment, and ignored.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// How long the rest of a request is read, and how much of it.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX: u64 = 16 * 1024 * 1024;

/// The most that is read at once, a record of TLS: hyper compares the length of a head with its limit only between two reads.
const PIECE: usize = 16 * 1024;

/// A stream that outlives its user: it is left in [`Left`] when it is dropped.
#[derive(Debug)]
pub(super) struct Lent<S> {
    stream: Option<S>,
    left: Left<S>,
}

/// Where a stream is left.
#[derive(Debug)]
pub(super) struct Left<S>(Arc<Mutex<Option<S>>>);

impl<S> Lent<S> {
    /// Lends a stream.
    pub(super) fn new(stream: S) -> (Self, Left<S>) {
        let left = Arc::default();
        (Self { stream: Some(stream), left: Left(Arc::clone(&left)) }, Left(left))
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        // It is only taken when this is dropped.
        let stream = self.get_mut().stream.as_mut();
        stream.map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Left<S> {
    /// Ends the connection in an orderly way: nothing more is sent, and what still arrives is read.
    pub(super) async fn close(self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut stream) = stream else { return };
        let rest = async {
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(MAX), &mut tokio::io::sink()).await
        };
        // Whatever happens, the connection is over.
        let _ = tokio::time::timeout(TIMEOUT, rest).await;
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        *self.left.0.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buffer.remaining().min(PIECE);
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(length));
        let polled = self.stream()?.poll_read(context, &mut piece);
        let read = piece.filled().len();
        buffer.advance(read);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
