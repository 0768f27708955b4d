//! A [`Subscription`] is the present state, then [`Event::Synced`], then every later state. What is not yet read waits
//! in its [`Mailbox`].

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;

use crate::{Cached, Event, mailbox::Mailbox};

/// A subscriber's view of an informer: the present state, then every later one.
///
/// It ends (`None`) when the informer stops. It counts as a handle: as long as it is there, the informer runs.
pub struct Subscription<K: Cached> {
    mailbox: Arc<Mailbox<K>>,
    /// Keeps the informer alive.
    _informer: Arc<dyn Send + Sync>,
}

impl<K: Cached> Subscription<K> {
    pub(crate) fn new(mailbox: Arc<Mailbox<K>>, informer: Arc<dyn Send + Sync>) -> Self {
        Self { mailbox, _informer: informer }
    }

    /// The next event; waits until there is one. `None` when the informer has stopped and everything was read.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<K>> {
        poll_fn(|context| self.mailbox.poll_next(context)).await
    }

    /// How many changes wait to be read, the initial state aside.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.mailbox.pending()
    }
}

impl<K: Cached> Drop for Subscription<K> {
    fn drop(&mut self) {
        self.mailbox.abandon();
    }
}

impl<K: Cached> Stream for Subscription<K> {
    type Item = Event<K>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.mailbox.poll_next(context)
    }
}
