//! A reader of a collection's history: it holds a position, not a queue, so a slow one costs nothing.

use std::sync::Arc;

use super::{Event, Signal, Store, after};

/// Events that are taken out of the history at a time.
const BATCH: usize = 256;

/// Why a watch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The history no longer has what comes next.
    TooSlow,
    /// The collection is gone.
    Removed,
}

/// A position in a collection's history.
#[derive(Debug)]
pub(crate) struct Watch {
    store: Arc<Store>,
    collection: Arc<str>,
    signal: tokio::sync::watch::Receiver<Signal>,
    revision: u64,
}

impl Watch {
    pub(super) fn new(
        store: Arc<Store>,
        collection: Arc<str>,
        signal: tokio::sync::watch::Receiver<Signal>,
        revision: u64,
    ) -> Self {
        Self { store, collection, signal, revision }
    }

    /// Everything up to here has been read.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The next events, without waiting; empty when there are none.
    pub(crate) fn ready(&mut self) -> Result<Vec<Arc<Event>>, End> {
        // Marked as seen before the history is read: a write after this wakes the next wait.
        let signal = self.signal.borrow_and_update().clone();
        let (events, reached) = match signal {
            Signal::Written => self.store.events(&self.collection, self.revision, BATCH)?,
            Signal::Removed(history) => match after(&history, self.revision, BATCH, u64::MAX) {
                (events, _) if events.is_empty() => return Err(End::Removed),
                (events, _) => {
                    let reached = events.last().map_or(self.revision, |event| event.revision);
                    (events, reached)
                }
            },
        };
        self.revision = reached;
        Ok(events)
    }

    /// The next events, at least one.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Event>>, End> {
        loop {
            let events = self.ready()?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.signal.changed().await.map_err(|_| End::Removed)?;
        }
    }
}
