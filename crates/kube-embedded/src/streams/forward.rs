//! Connects a client's stream with an address on which a test listens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::kubelet::{Kubelet, What};

/// The number of messages of a client that wait for the test to read them.
const WAITING: usize = 4;
/// The number of bytes that are read at a time.
const PIECE: usize = 32 * 1024;
/// How long a test may read nothing of what a client sends. Until then, what the client sends to other ports waits, too.
const UNREAD: Duration = Duration::from_secs(30);

/// The ports of a Pod. As a kubelet, it looks up where one leads for each connection.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) kubelet: Kubelet,
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

/// Where the answers go.
pub(super) trait Outlet: Send {
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

/// A pipe for what a client sends. Dropping the sender is the end of the data.
pub(super) fn pipe() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(WAITING)
}

impl Ports {
    /// Forwards a port until both directions are at their ends, or one has failed.
    ///
    /// # Errors
    /// Fails with a message for the client.
    pub(super) async fn forward(
        &self,
        port: u16,
        input: mpsc::Receiver<Bytes>,
        outlet: impl Outlet,
    ) -> Result<(), String> {
        let connected = match self.address(port) {
            Some(to) => TcpStream::connect(to).await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let forwarded = match connected {
            Ok(stream) => copy(stream, input, outlet).await,
            Err(error) => Err(error),
        };
        forwarded.map_err(|error| format!("error forwarding port {port} to pod {}, uid : {error}", self.pod))
    }

    fn address(&self, wanted: u16) -> Option<SocketAddr> {
        self.kubelet.latest(&self.namespace, &self.pod, None, |what| match what {
            What::Forward { port, to } if *port == wanted => Some(*to),
            _ => None,
        })
    }
}

async fn copy(
    mut stream: TcpStream,
    mut input: mpsc::Receiver<Bytes>,
    mut outlet: impl Outlet,
) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    let sending = async {
        while let Some(mut bytes) = input.recv().await {
            while !bytes.is_empty() {
                timeout(UNREAD, to.write_buf(&mut bytes)).await??;
            }
        }
        to.shutdown().await
    };
    let receiving = async {
        let mut piece = vec![0; PIECE];
        loop {
            match from.read(&mut piece).await? {
                0 => return Ok(()),
                length => outlet.send(&piece[..length]).await?,
            }
        }
    };
    // Once the test has closed its side, nobody reads what the client sends.
    tokio::select! {
        received = receiving => received,
        error = async {
            match sending.await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        } => Err(error),
    }
}
