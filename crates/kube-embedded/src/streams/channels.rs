//! Channels over WebSocket: each message begins with the number of its channel. `k8s.io/streaming/pkg/httpstream/wsstream`.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::command::{Client, Exit, Input, Output, Streams};

/// The largest message that a client may send. Clients send pieces of some kilobytes.
const MAX_MESSAGE: usize = 1024 * 1024;
/// How long a client may take to acknowledge the end.
pub(super) const CLOSE: Duration = Duration::from_secs(5);

/// What identifies a server that has understood the handshake (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// A message that closes the channel that it names.
const CLOSED: u8 = 255;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Binary,
    /// The channel is a digit.
    Base64,
}

/// The version of `channel.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// Failures are text.
    V1,
    /// The end is a `Status`.
    V4,
    /// Channels can be closed.
    V5,
}

/// A client of a process.
pub(crate) struct ProcessChannels<S> {
    socket: WebSocketStream<S>,
    version: Version,
    codec: Codec,
    streams: Streams,
}

/// The value of `Sec-WebSocket-Accept` for the client's key.
pub(crate) fn accept_key(key: &[u8]) -> String {
    let text = [key, GUID.as_bytes()].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    BASE64_STANDARD.encode(digest)
}

/// Speaks WebSocket, after the handshake.
pub(super) async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// The data of the next message. `None`: the client has left.
pub(super) async fn next_message<S>(socket: &mut S) -> Option<Bytes>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    loop {
        match socket.next().await? {
            Ok(Message::Binary(bytes)) => return Some(bytes),
            Ok(Message::Text(text)) => return Some(text.into()),
            // tungstenite answers pings.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(_)) => return None,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket broke");
                return None;
            }
        }
    }
}

/// Closes a connection in an orderly way.
pub(super) async fn close<S>(mut socket: S)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message> + Unpin,
{
    let ends = async {
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // Whatever the client still sends, the connection is over.
        if socket.send(Message::Close(Some(normal))).await.is_ok() {
            while next_message(&mut socket).await.is_some() {}
        }
    };
    let _ = tokio::time::timeout(CLOSE, ends).await;
}

impl Codec {
    pub(super) fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Self::Binary => Message::Binary([&[channel], bytes].concat().into()),
            Self::Base64 => Message::text(format!("{channel}{}", BASE64_STANDARD.encode(bytes))),
        }
    }

    /// A channel and its data. `None`: it is to be ignored.
    pub(super) fn decode(self, mut message: Bytes) -> Option<(u8, Bytes)> {
        if message.is_empty() {
            return None;
        }
        let channel = message.split_to(1)[0];
        match self {
            Self::Binary => Some((channel, message)),
            Self::Base64 => {
                let bytes = BASE64_STANDARD.decode(&message).ok()?;
                Some((channel.wrapping_sub(b'0'), bytes.into()))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ProcessChannels<S> {
    /// Begins after the handshake.
    pub(crate) async fn open(io: S, version: Version, codec: Codec, streams: Streams) -> io::Result<Self> {
        let mut opened = Self { socket: websocket(io).await, version, codec, streams };
        // So the client knows that it is connected.
        let first = match streams {
            Streams { stdout: true, .. } => STDOUT,
            Streams { stderr: true, .. } => STDERR,
            _ => ERROR,
        };
        opened.send_to(first, &[]).await?;
        Ok(opened)
    }

    async fn send_to(&mut self, channel: u8, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(self.codec.encode(channel, bytes)).await.map_err(io::Error::other)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Client for ProcessChannels<S> {
    async fn receive(&mut self) -> Option<Input> {
        loop {
            let message = next_message(&mut self.socket).await?;
            if self.version >= Version::V5 && message.first() == Some(&CLOSED) {
                match message[..] {
                    [_, STDIN] => return Some(Input::StdinEnd),
                    [_, STDOUT..=RESIZE] => continue,
                    _ => return None,
                }
            }
            match self.codec.decode(message) {
                Some((STDIN, bytes)) if self.streams.stdin => return Some(Input::Stdin(bytes)),
                Some((RESIZE, bytes)) => return Some(Input::Resize(bytes)),
                _ => {}
            }
        }
    }

    async fn send(&mut self, to: Output, bytes: &[u8]) -> io::Result<()> {
        let channel = match to {
            Output::Stdout => STDOUT,
            Output::Stderr => STDERR,
        };
        self.send_to(channel, bytes).await
    }

    async fn finish(mut self, exit: &Exit) -> io::Result<()> {
        match self.version {
            Version::V1 => {
                if let Some(failure) = exit.failure() {
                    self.send_to(ERROR, failure.as_bytes()).await?;
                }
            }
            Version::V4 | Version::V5 => self.send_to(ERROR, exit.status().to_string().as_bytes()).await?,
        }
        close(self.socket).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_as_in_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages_name_their_channel() {
        for (codec, message) in [(Codec::Binary, "\x01foo\n"), (Codec::Base64, "1Zm9vCg==")] {
            assert_eq!(codec.encode(1, b"foo\n").into_data(), message.as_bytes());
            let decoded = codec.decode(Bytes::from_static(message.as_bytes()));
            assert_eq!(decoded, Some((1, Bytes::from_static(b"foo\n"))));
            assert_eq!(codec.decode(Bytes::new()), None);
        }
        assert_eq!(Codec::Base64.decode(Bytes::from_static(b"1?")), None);
    }
}
