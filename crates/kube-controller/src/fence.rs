//! The fence: no request leaves after the lease has run out.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Lets the requests of one term of leadership through, until a deadline. Clones are the same fence.
///
/// Each term has a fence of its own, and one that is closed never opens again: a run that outlives its term does not
/// get through in a later one.
///
/// It covers requests that are about to be sent. A request that was sent just before the deadline may still arrive; the
/// time between the deadline and the end of the lease is for those.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    state: Arc<watch::Sender<State>>,
}

/// The term of leadership that a request belongs to is over. It was not sent; or, if the term ended while it was under way,
/// its answer was not waited for, and it may have been performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the leader any more: the request was not sent")]
pub struct Fenced;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no election.
    Open,
    Until(Instant),
    Closed,
}

impl Fence {
    /// Returns a fence that is open until it is closed, for programs without an election.
    pub(crate) fn open() -> Self {
        Self::new(State::Open)
    }

    /// Returns a fence that is open until a deadline.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self::new(State::Until(deadline))
    }

    /// Returns a fence that nothing passes, for programs that do not lead.
    pub(crate) fn closed() -> Self {
        Self::new(State::Closed)
    }

    fn new(state: State) -> Self {
        Self { state: Arc::new(watch::Sender::new(state)) }
    }

    /// Whether both are the fence of the same term.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// Checks whether a request may be sent now.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Fenced> {
        match *self.state.borrow() {
            State::Open => Ok(()),
            State::Until(deadline) if now < deadline => Ok(()),
            State::Until(_) | State::Closed => Err(Fenced),
        }
    }

    /// Moves the deadline, because the lease was renewed. A fence that was closed stays closed.
    pub(crate) fn open_until(&self, deadline: Instant) {
        self.state.send_if_modified(|state| match state {
            State::Closed => false,
            State::Open | State::Until(_) => {
                *state = State::Until(deadline);
                true
            }
        });
    }

    /// Closes it for good.
    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Waits until it is closed or its deadline has passed. Dropping the future loses nothing.
    pub(crate) async fn closed_wait(&self) {
        let mut states = self.state.subscribe();
        loop {
            let state = *states.borrow_and_update();
            let passed = async {
                match state {
                    State::Open => pending().await,
                    State::Until(deadline) => sleep_until(deadline).await,
                    State::Closed => {}
                }
            };
            tokio::select! {
                biased;
                () = passed => return,
                // The sender is in `self`, so this cannot fail.
                _ = states.changed() => {}
            }
        }
    }

    /// Returns the time at which it closes unless the lease is renewed. `None`: it is closed, or there is no election.
    #[cfg(test)]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self.state.borrow() {
            State::Until(deadline) => Some(deadline),
            State::Open | State::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // Rule 23
    #[test]
    fn nothing_passes_at_or_after_the_deadline() {
        let now = Instant::now();
        let fence = Fence::until(now + SECOND);
        assert_eq!(fence.check(now), Ok(()));
        assert_eq!(fence.check(now + SECOND), Err(Fenced));
        fence.open_until(now + 2 * SECOND);
        assert_eq!(fence.check(now + SECOND), Ok(()));
        assert_eq!(fence.deadline(), Some(now + 2 * SECOND));
        assert_eq!(Fenced.to_string(), "not the leader any more: the request was not sent");
    }

    // Rule 26: a term that is over stays over.
    #[test]
    fn a_closed_fence_does_not_open_again() {
        let now = Instant::now();
        for fence in [Fence::open(), Fence::until(now + SECOND), Fence::closed()] {
            let clone = fence.clone();
            fence.close();
            fence.open_until(now + SECOND);
            assert_eq!(clone.check(now), Err(Fenced));
            assert_eq!(clone.deadline(), None);
        }
    }

    #[test]
    fn without_an_election_it_is_always_open() {
        let fence = Fence::open();
        assert_eq!(fence.check(Instant::now() + 1_000_000 * SECOND), Ok(()));
        assert_eq!(fence.deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_as_last_moved() {
        let start = Instant::now();
        let fence = Fence::until(start + SECOND);
        let waiting = tokio::spawn({
            let fence = fence.clone();
            async move {
                fence.closed_wait().await;
                Instant::now()
            }
        });
        advance(SECOND / 2).await;
        fence.open_until(start + 3 * SECOND);
        assert_eq!(waiting.await.unwrap(), start + 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_it_is_closed() {
        let fence = Fence::open();
        assert!(timeout(1000 * SECOND, fence.closed_wait()).await.is_err());
        let start = Instant::now();
        let close = async {
            tokio::time::sleep(SECOND).await;
            fence.close();
        };
        tokio::join!(fence.closed_wait(), close);
        assert_eq!(Instant::now(), start + SECOND);
        Fence::closed().closed_wait().await;
    }
}
