//! Writes to stdout in a separate thread, so that a reader that does not read blocks nothing but the output.

use std::{
    io::{self, Write},
    thread,
};

use anyhow::Result;
use tokio::sync::{mpsc, oneshot};

use crate::stdio::unless_closed;

/// How many texts may wait for the reader. Few, because the subscription coalesces pending changes and this queue does not.
const WAITING: usize = 16;

/// stdout can no longer be written to.
#[derive(Debug)]
pub(crate) struct Closed;

/// Writes texts to stdout, in order.
pub(crate) struct Writer {
    texts: mpsc::Sender<String>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Writer {
    /// Starts the thread, which ends when this value is dropped or stdout is closed.
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
            // The receiver may have been dropped.
            let _ = end.send(write());
        })?;
        Ok(Self { texts, ended })
    }

    /// Queues a text, and waits while the reader lags behind. Ignores an empty text.
    pub(crate) async fn write(&self, text: String) -> Result<(), Closed> {
        if text.is_empty() { Ok(()) } else { self.texts.send(text).await.map_err(|_| Closed) }
    }

    /// Waits until stdout can no longer be written to.
    pub(crate) async fn closed(&self) {
        self.texts.closed().await;
    }

    /// Waits until everything has been written.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.texts);
        unless_closed(self.ended.await.unwrap_or(Ok(())))
    }
}
