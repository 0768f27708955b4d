//! Ports over channels of a WebSocket, as kube's clients forward them: a channel for the data of each port, and one for its error.

use std::io;
use std::sync::Arc;

use futures_util::stream::{SplitSink, StreamExt};
use futures_util::{SinkExt, future};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::channels::{Codec, close, next_message, websocket};
use super::forward::{Outlet, Ports, pipe};

type Sender<S> = Arc<Mutex<SplitSink<WebSocketStream<S>, Message>>>;

/// A channel of a client.
struct Channel<S> {
    sender: Sender<S>,
    codec: Codec,
    number: u8,
}

/// Forwards ports until all are closed, or the client leaves. There are at most 127, so that a byte numbers their channels.
pub(crate) async fn forward_channels<S>(io: S, codec: Codec, ports: Ports, wanted: Vec<u16>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (sender, mut receiver) = websocket(io).await.split();
    let sender = Arc::new(Mutex::new(sender));
    let (mut inputs, mut forwards) = (Vec::new(), Vec::new());
    for (number, port) in (0..).step_by(2).zip(wanted) {
        let channel = |number| Channel { sender: Arc::clone(&sender), codec, number };
        let (mut data, mut error) = (channel(number), channel(number + 1));
        // First, each channel names its port.
        data.send(&port.to_le_bytes()).await?;
        error.send(&port.to_le_bytes()).await?;
        let (input, received) = pipe();
        inputs.push(Some(input));
        let ports = &ports;
        forwards.push(async move {
            if let Err(why) = ports.forward(port, received, data).await {
                // The client may have left.
                let _ = error.send(why.as_bytes()).await;
            }
        });
    }
    let reading = async {
        while let Some(message) = next_message(&mut receiver).await {
            let Some((channel, bytes)) = codec.decode(message) else { continue };
            let is_data = channel % 2 == 0;
            let input = inputs.get_mut(usize::from(channel / 2)).filter(|_| is_data);
            if let Some(slot) = input
                && let Some(input) = slot
                && input.send(bytes).await.is_err()
            {
                // The test has closed the port.
                *slot = None;
            }
        }
    };
    tokio::select! {
        () = reading => return Ok(()),
        _ = future::join_all(forwards) => {}
    }
    if let Some(sender) = Arc::into_inner(sender)
        && let Ok(socket) = sender.into_inner().reunite(receiver)
    {
        close(socket).await;
    }
    Ok(())
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Outlet for Channel<S> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let message = self.codec.encode(self.number, bytes);
        self.sender.lock().await.send(message).await.map_err(io::Error::other)
    }
}
