//! The only writer to stdout: a thread of its own, so that a reader who does not read holds up nothing but the output.

use std::{
    io::{self, Write},
    thread,
};

use anyhow::Result;
use tokio::sync::{mpsc, oneshot};

use crate::stdio::unless_closed;

/// How many texts may wait for the reader. Few: what waits longer is coalesced in the subscription.
const WAITING: usize = 16;

/// stdout cannot be written any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// Writes texts to stdout, in order.
pub(crate) struct Writer {
    texts: mpsc::Sender<String>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Writer {
    /// Starts the thread; it ends with this value, or when stdout closes.
    pub(crate) fn stdout() -> io::Result<Self> {
        let (texts, mut waiting) = mpsc::channel::<String>(WAITING);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("stdout".into()).spawn(move || {
            let mut out = io::stdout().lock();
            let mut write = || -> io::Result<()> {
                while let Some(text) = waiting.blocking_recv() {
                    out.write_all(text.as_bytes())?;
                    out.flush()?;
                }
                Ok(())
            };
            // Nobody may be waiting for the result any more.
            let _ = end.send(write());
        })?;
        Ok(Self { texts, ended })
    }

    /// Hands over a text, waiting while the reader lags; nothing is printed for an empty one.
    pub(crate) async fn write(&self, text: String) -> Result<(), Closed> {
        if text.is_empty() { Ok(()) } else { self.texts.send(text).await.map_err(|_| Closed) }
    }

    /// Waits until stdout cannot be written any more.
    pub(crate) async fn closed(&self) {
        self.texts.closed().await;
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.texts);
        unless_closed(self.ended.await.unwrap_or(Ok(())))
    }
}
