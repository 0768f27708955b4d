//! A reader of a collection's history. It holds a position, not a queue, so a slow reader costs nothing.

use std::sync::Arc;

use super::collection::{Event, Signal, WatchEnd, after};
use super::store::{Error, Store};

/// The number of events that are read from the history at a time.
const BATCH: usize = 256;

/// A position in a collection's history.
#[derive(Debug)]
pub(crate) struct Watch {
    store: Arc<Store>,
    collection: Arc<str>,
    signal: tokio::sync::watch::Receiver<Signal>,
    revision: u64,
}

impl Store {
    /// Watches a collection after `revision`, which may be a future one.
    pub(crate) fn watch(self: &Arc<Self>, collection: &Arc<str>, revision: u64) -> Result<Watch, Error> {
        let mut inner = self.lock();
        let watched = inner.collection(collection);
        watched.expire(self.clock.now());
        if revision < watched.floor {
            return Err(Error::Compacted);
        }
        let signal = watched.signal.subscribe();
        drop(inner);
        Ok(Watch { store: Arc::clone(self), collection: Arc::clone(collection), signal, revision })
    }
}

impl Watch {
    /// The revision up to which everything was read.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The next events, without waiting. Empty if there are none.
    pub(crate) fn ready(&mut self) -> Result<Vec<Arc<Event>>, WatchEnd> {
        // Marked as seen before the history is read, so that a later write wakes the next wait.
        let signal = self.signal.borrow_and_update().clone();
        let (events, reached) = match signal {
            Signal::Written => {
                match self.store.events(&self.collection, &self.signal, self.revision, BATCH) {
                    Ok(events) => events,
                    Err(WatchEnd::TooSlow) => return Err(WatchEnd::TooSlow),
                    // The signal follows, with the rest of the history; on disk, once it is synced.
                    Err(WatchEnd::Removed) => return Ok(Vec::new()),
                }
            }
            Signal::Removed { floor, .. } if self.revision < floor => return Err(WatchEnd::TooSlow),
            Signal::Removed { history, .. } => match after(&history, self.revision, BATCH, u64::MAX) {
                (events, _) if events.is_empty() => return Err(WatchEnd::Removed),
                (events, _) => {
                    let reached = events.last().map_or(self.revision, |event| event.revision);
                    (events, reached)
                }
            },
        };
        self.revision = reached;
        Ok(events)
    }

    /// Waits for the next events. There is at least one.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Event>>, WatchEnd> {
        loop {
            let events = self.ready()?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.signal.changed().await.map_err(|_| WatchEnd::Removed)?;
        }
    }
}
