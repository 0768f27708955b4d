//! Ports over SPDY: two streams for each connection of the client, for its data and its error. The server side of `portforward`
//! of `k8s.io/cri-streaming`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::forward::{Outlet, Ports, pipe};
use super::spdy::{Frame, Headers, Reader, Writer};

/// The number of connections that a client may have at once, of which it has opened one or both streams.
const CONNECTIONS: usize = 100;
/// The longest name of a connection, in bytes. Clients number them.
const REQUEST_ID: usize = 64;

type Sender<S> = Arc<Mutex<Writer<WriteHalf<S>>>>;

/// The client's connections.
struct Session<S> {
    sender: Sender<S>,
    ports: Ports,
    /// Streams without their counterpart, by the number of the connection.
    halves: HashMap<String, Half>,
    /// By their data streams.
    connections: HashMap<u32, Connection>,
    /// Each ends with its data stream. They end with the session.
    forwards: JoinSet<u32>,
}

/// One of the two streams of a connection.
struct Half {
    stream: u32,
    is_data: bool,
}

/// A connection that is forwarded until this is dropped.
struct Connection {
    /// `None`: the client sends no more.
    input: Option<mpsc::Sender<Bytes>>,
    _forward: DropGuard,
}

/// The data stream of a connection.
struct DataStream<S> {
    sender: Sender<S>,
    stream: u32,
}

/// Forwards ports until the client leaves.
pub(crate) async fn forward_streams<S>(io: S, ports: Ports) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(io);
    let mut reader = Reader::new(reader);
    let mut session = Session {
        sender: Arc::new(Mutex::new(Writer::new(writer))),
        ports,
        halves: HashMap::new(),
        connections: HashMap::new(),
        forwards: JoinSet::new(),
    };
    while let Some(frame) = reader.next().await? {
        while let Some(ended) = session.forwards.try_join_next() {
            // A panic was reported by tokio.
            ended.map(|stream| session.connections.remove(&stream)).ok();
        }
        session.take(frame).await?;
    }
    Ok(())
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Session<S> {
    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Open { stream, headers } => self.open(stream, &headers).await?,
            Frame::Data { stream, bytes, is_last } => {
                let connection = self.connections.get_mut(&stream);
                if let Some(connection) = connection
                    && let Some(input) = &connection.input
                {
                    // It fails if the test has closed its side.
                    let is_gone = !bytes.is_empty() && input.send(bytes).await.is_err();
                    if is_last || is_gone {
                        connection.input = None;
                    }
                }
            }
            Frame::Reset { stream } => {
                self.connections.remove(&stream);
                self.halves.retain(|_, half| half.stream != stream);
            }
            Frame::Ping { id } => self.sender.lock().await.ping(id).await?,
        }
        Ok(())
    }

    /// Accepts a stream, and forwards its connection if it is the second one.
    async fn open(&mut self, stream: u32, headers: &Headers) -> io::Result<()> {
        let port = headers.get("port").parse().ok().filter(|port| *port != 0);
        let is_data = match headers.get("streamtype") {
            "data" => true,
            "error" => false,
            _ => return self.sender.lock().await.refuse(stream).await,
        };
        let is_full = self.halves.len() + self.connections.len() >= CONNECTIONS;
        let is_named = headers.get("requestid").len() <= REQUEST_ID;
        let Some(port) = port.filter(|_| is_named && !is_full) else {
            return self.sender.lock().await.refuse(stream).await;
        };
        // Clients that do not number their connections open the error stream first.
        let number = match headers.get("requestid") {
            "" if is_data => stream.wrapping_sub(2).to_string(),
            "" => stream.to_string(),
            number => number.to_owned(),
        };
        let half = Half { stream, is_data };
        let (data, error) = match self.halves.remove(&number) {
            Some(other) if other.is_data != is_data => {
                if is_data {
                    (stream, other.stream)
                } else {
                    (other.stream, stream)
                }
            }
            Some(other) => {
                self.halves.insert(number, other);
                return self.sender.lock().await.refuse(stream).await;
            }
            None => {
                self.halves.insert(number, half);
                return self.sender.lock().await.reply(stream).await;
            }
        };
        self.sender.lock().await.reply(stream).await?;
        self.forward(port, data, error);
        Ok(())
    }

    fn forward(&mut self, port: u16, data: u32, error: u32) {
        let (input, received) = pipe();
        let stopped = CancellationToken::new();
        let connection = Connection { input: Some(input), _forward: stopped.clone().drop_guard() };
        self.connections.insert(data, connection);
        let (sender, ports) = (Arc::clone(&self.sender), self.ports.clone());
        self.forwards.spawn(async move {
            let outlet = DataStream { sender: Arc::clone(&sender), stream: data };
            let forwarded = tokio::select! {
                forwarded = ports.forward(port, received, outlet) => forwarded,
                () = stopped.cancelled() => Ok(()),
            };
            let why = forwarded.err().unwrap_or_default();
            let mut sender = sender.lock().await;
            // The client may have left, or closed the streams.
            let _ = sender.data(data, &[], true).await;
            let _ = sender.data(error, why.as_bytes(), true).await;
            data
        });
    }
}

impl<S: AsyncRead + AsyncWrite + Send> Outlet for DataStream<S> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sender.lock().await.data(self.stream, bytes, false).await
    }
}
