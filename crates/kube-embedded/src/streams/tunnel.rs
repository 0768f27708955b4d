//! SPDY through WebSocket, as kubectl forwards ports: the bytes of the one are the messages of the other.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::channels::{CLOSE, close, next_message, websocket};

/// The number of bytes on their way in each direction.
const BUFFER: usize = 64 * 1024;

/// Lets `speak` speak through a WebSocket, until it or the client ends.
pub(crate) async fn through_websocket<S, F>(io: S, speak: impl FnOnce(DuplexStream) -> F) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    F: Future<Output = io::Result<()>>,
{
    let (near, far) = tokio::io::duplex(BUFFER);
    let (mut sender, mut receiver) = websocket(io).await.split();
    let (mut from, mut to) = tokio::io::split(near);
    let receiving = async {
        while let Some(message) = next_message(&mut receiver).await {
            to.write_all(&message).await?;
        }
        to.shutdown().await?;
        Ok::<_, io::Error>(())
    };
    let sending = async {
        let mut piece = vec![0; BUFFER];
        loop {
            match from.read(&mut piece).await? {
                0 => return Ok(()),
                length => {
                    let message = Message::binary(piece[..length].to_vec());
                    sender.send(message).await.map_err(io::Error::other)?;
                }
            }
        }
    };
    let (sent, spoken) = {
        let mut speaking = std::pin::pin!(async { tokio::join!(sending, speak(far)) });
        tokio::select! {
            ended = &mut speaking => ended,
            // The client has left, which is the end of what `speak` reads. The client may not read what `speak` still sends.
            _ = receiving => timeout(CLOSE, speaking).await?,
        }
    };
    if let Ok(socket) = sender.reunite(receiver) {
        close(socket).await;
    }
    spoken.and(sent)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_without_reading_holds_nothing_up() {
        let (mut client, server) = tokio::io::duplex(64);
        client.shutdown().await.unwrap();
        let speak = async |mut io: DuplexStream| io.write_all(&[0; 2 * BUFFER]).await;
        let ended = timeout(Duration::from_secs(60), through_websocket(server, speak)).await;
        assert!(ended.expect("it has ended").is_err());
    }
}
