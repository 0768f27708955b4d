//! A process over SPDY: a stream for each of stdin, stdout, stderr, the error and the sizes of the terminal. The server side of
//! `remotecommand` of `k8s.io/cri-streaming`.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

use super::channels::{CLOSE, Version};
use super::command::{Client, Exit, Input, Output, Streams};
use super::spdy::{Frame, Reader, Writer};

/// How long a client may take to open its streams, as in a kubelet.
const OPEN: Duration = Duration::from_secs(30);
/// The number of bytes that a client may send to stdin before it has opened all its streams.
const EARLY: usize = 1024 * 1024;

/// A client of a process.
pub(crate) struct ProcessStreams<S> {
    reader: Reader<ReadHalf<S>>,
    writer: Writer<WriteHalf<S>>,
    version: Version,
    ids: Ids,
    /// What the client has sent to stdin before it has opened all its streams.
    early: BytesMut,
    /// Whether stdin has ended.
    is_ended: bool,
}

/// The streams that a client has opened.
#[derive(Clone, Copy, Default)]
struct Ids {
    error: Option<u32>,
    stdin: Option<u32>,
    stdout: Option<u32>,
    stderr: Option<u32>,
    resize: Option<u32>,
    last: u32,
}

impl<S: AsyncRead + AsyncWrite + Send> ProcessStreams<S> {
    /// Begins after the handshake. Waits until the client has opened all its streams. `resizes`: whether one of them may be for
    /// the sizes of a terminal.
    pub(crate) async fn open(io: S, version: Version, streams: Streams, resizes: bool) -> io::Result<Self> {
        let (reader, writer) = tokio::io::split(io);
        let mut opened = Self {
            reader: Reader::new(reader),
            writer: Writer::new(writer),
            version,
            ids: Ids::default(),
            early: BytesMut::new(),
            is_ended: false,
        };
        let Streams { stdin, stdout, stderr, tty } = streams;
        let wanted = [true, stdin, stdout, stderr, tty && resizes];
        let missing = wanted.into_iter().filter(|wanted| *wanted).count();
        tokio::time::timeout(OPEN, opened.accept(missing)).await??;
        Ok(opened)
    }

    async fn accept(&mut self, mut missing: usize) -> io::Result<()> {
        while missing > 0 {
            match self.reader.next().await? {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Frame::Open { stream, headers }) => {
                    let place = match headers.get("streamtype") {
                        "error" => &mut self.ids.error,
                        "stdin" => &mut self.ids.stdin,
                        "stdout" => &mut self.ids.stdout,
                        "stderr" => &mut self.ids.stderr,
                        "resize" => &mut self.ids.resize,
                        _ => {
                            self.writer.refuse(stream).await?;
                            continue;
                        }
                    };
                    *place = Some(stream);
                    self.ids.last = stream;
                    missing -= 1;
                    self.writer.reply(stream).await?;
                }
                Some(Frame::Ping { id }) => self.writer.ping(id).await?,
                Some(Frame::Data { stream, bytes, is_last }) if self.ids.stdin == Some(stream) => {
                    if self.early.len() + bytes.len() > EARLY {
                        let why = "too much for stdin before all streams are open";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                    self.early.extend_from_slice(&bytes);
                    self.is_ended |= is_last;
                }
                Some(Frame::Reset { stream }) if self.ids.stdin == Some(stream) => self.is_ended = true,
                // A client may close what it only reads at once.
                Some(Frame::Data { .. } | Frame::Reset { .. }) => {}
            }
        }
        Ok(())
    }

    async fn answer(&mut self) -> io::Result<Option<Input>> {
        if !self.early.is_empty() {
            return Ok(Some(Input::Stdin(self.early.split().freeze())));
        }
        loop {
            if std::mem::take(&mut self.is_ended) {
                return Ok(Some(Input::StdinEnd));
            }
            match self.reader.next().await? {
                None => return Ok(None),
                Some(Frame::Data { stream, bytes, is_last }) if self.ids.stdin == Some(stream) => {
                    self.is_ended = is_last;
                    return Ok(Some(Input::Stdin(bytes)));
                }
                Some(Frame::Data { stream, bytes, .. }) if self.ids.resize == Some(stream) => {
                    return Ok(Some(Input::Resize(bytes)));
                }
                Some(Frame::Reset { stream }) if self.ids.stdin == Some(stream) => self.is_ended = true,
                Some(Frame::Data { .. } | Frame::Reset { .. }) => {}
                Some(Frame::Open { stream, .. }) => self.writer.refuse(stream).await?,
                Some(Frame::Ping { id }) => self.writer.ping(id).await?,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send> Client for ProcessStreams<S> {
    async fn receive(&mut self) -> Option<Input> {
        self.answer().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a SPDY connection broke");
            None
        })
    }

    async fn send(&mut self, to: Output, bytes: &[u8]) -> io::Result<()> {
        let stream = match to {
            Output::Stdout => self.ids.stdout,
            Output::Stderr => self.ids.stderr,
        };
        match stream {
            Some(stream) => self.writer.data(stream, bytes, false).await,
            None => Ok(()),
        }
    }

    async fn finish(mut self, exit: &Exit) -> io::Result<()> {
        let end = match self.version {
            Version::V1 => exit.failure().unwrap_or_default(),
            Version::V4 | Version::V5 => exit.status().to_string(),
        };
        let Ids { error, stdin, stdout, stderr, resize, last } = self.ids;
        if let Some(error) = error {
            self.writer.data(error, end.as_bytes(), true).await?;
        }
        for stream in [stdin, stdout, stderr, resize].into_iter().flatten() {
            self.writer.data(stream, &[], true).await?;
        }
        self.writer.go_away(last).await?;
        let rest = async { while let Ok(Some(_)) = self.reader.next().await {} };
        // Whatever the client still sends, the connection is over.
        let _ = tokio::time::timeout(CLOSE, rest).await;
        Ok(())
    }
}
