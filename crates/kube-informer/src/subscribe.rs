//! A [`Subscription`] yields the present state, then [`Event::Synced`], then every change. Unread events wait in its
//! [`Mailbox`].

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;

use crate::{Cached, Event, mailbox::Mailbox};

/// A stream of [`Event`]s: the present state of an informer, then every change.
///
/// The stream ends (`None`) when the informer stops. A subscription counts as a handle: it keeps the informer
/// running.
///
/// A slow reader delays neither the informer nor other subscribers. Unread changes of an object are merged, so a
/// subscription holds at most one pending change per object, and up to 256 of the newest changes that all subscribers
/// share.
pub struct Subscription<K: Cached> {
    mailbox: Arc<Mailbox<K>>,
    /// Keeps the informer running.
    _informer: Arc<dyn Send + Sync>,
}

impl<K: Cached> Subscription<K> {
    pub(crate) fn new(mailbox: Arc<Mailbox<K>>, informer: Arc<dyn Send + Sync>) -> Self {
        Self { mailbox, _informer: informer }
    }

    /// Waits for the next event. Returns `None` once the informer has stopped and all events were read.
    ///
    /// This method is cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event<K>> {
        poll_fn(|context| self.mailbox.poll_next(context)).await
    }

    /// Returns the number of unread changes, without the initial state and after merging to one per object. Costs
    /// time proportional to the changes that were not merged yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.mailbox.pending()
    }
}

impl<K: Cached> fmt::Debug for Subscription<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
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
