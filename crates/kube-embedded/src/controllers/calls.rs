//! Work that waits for other servers, done beside the other work: one that does not answer holds nobody up.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::clock::{Clock, Timer};
use crate::cluster::Work;

/// How many pieces of work of one kind wait for other servers at a time, as kube-controller-manager's garbage collector has
/// workers.
const AT_A_TIME: usize = 20;
/// The kinds of work: what is collected, what is removed with its namespace, and what is asked whether it is available.
const KINDS: usize = 3;

type Call = BoxFuture<'static, Event>;

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is left to do.
    Done,
    /// It is to be done again after some time.
    After(Duration),
    /// It failed, and is to be done again: the first time after 5 ms, and each time after twice as long, at most this long.
    Failed { at_most: Duration },
}

/// The work that waits for other servers, or to be tried again.
#[derive(Default)]
pub(super) struct Calls {
    clock: Clock,
    /// What runs, and the timers of what is tried again.
    running: FuturesUnordered<Call>,
    /// How many of these are not timers, by kind.
    active: [usize; KINDS],
    waiting: [VecDeque<Call>; KINDS],
    known: HashMap<Work, State>,
    timers: u64,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// Whether it was to be done again while it ran.
    is_stale: bool,
    failures: u32,
    /// The timer that is not outdated.
    timer: u64,
}

enum Event {
    Ended(Work, Outcome),
    Due(Work, u64),
}

impl Calls {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), ..Self::default() }
    }

    /// Does a piece of work. If it is being done, it is returned by [`next`](Self::next) when it has ended.
    pub(super) fn start(&mut self, work: Work, call: impl FnOnce() -> BoxFuture<'static, Outcome>) {
        self.timers += 1;
        let state = self.known.entry(work.clone()).or_default();
        // What was to be done later is done now.
        state.timer = self.timers;
        if state.is_running {
            state.is_stale = true;
            return;
        }
        state.is_running = true;
        let (call, kind) = (call(), kind(&work));
        self.waiting[kind].push_back(Box::pin(async move { Event::Ended(work, call.await) }));
        self.fill(kind);
    }

    /// Whether no work runs or waits.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets the failures of work that nobody has to do any more.
    pub(super) fn forget(&mut self, work: &Work) {
        if self.known.get(work).is_some_and(|state| !state.is_running) {
            self.known.remove(work);
        }
    }

    /// Waits for work that is to be done again.
    pub(super) async fn next(&mut self) -> Work {
        loop {
            match self.running.next().await {
                None => std::future::pending().await,
                Some(Event::Ended(work, outcome)) => {
                    self.active[kind(&work)] -= 1;
                    self.fill(kind(&work));
                    if self.end(&work, outcome) {
                        return work;
                    }
                }
                Some(Event::Due(work, timer)) => {
                    if self.known.get(&work).is_some_and(|state| state.timer == timer) {
                        return work;
                    }
                }
            }
        }
    }

    /// Notes how a call has ended. Returns whether it is to be done again at once.
    fn end(&mut self, work: &Work, outcome: Outcome) -> bool {
        let Some(state) = self.known.get_mut(work) else { return false };
        state.is_running = false;
        let again = std::mem::take(&mut state.is_stale);
        let delay = match outcome {
            Outcome::Failed { at_most } => {
                let delay = Duration::from_millis(5).saturating_mul(1 << state.failures.min(20));
                state.failures += 1;
                Some(delay.min(at_most))
            }
            Outcome::After(delay) => {
                state.failures = 0;
                Some(delay)
            }
            Outcome::Done => None,
        };
        match delay {
            _ if again => {}
            None => _ = self.known.remove(work),
            Some(delay) => {
                let (timer, id, work) = (self.clock.timer(delay), state.timer, work.clone());
                self.running.push(Box::pin(due(timer, work, id)));
            }
        }
        again
    }

    fn fill(&mut self, kind: usize) {
        while self.active[kind] < AT_A_TIME
            && let Some(call) = self.waiting[kind].pop_front()
        {
            self.active[kind] += 1;
            self.running.push(call);
        }
    }
}

/// The kind of a piece of work: those of one kind may all wait for a server that does not answer.
fn kind(work: &Work) -> usize {
    match work {
        Work::Collect(_) => 0,
        Work::Namespace(_) => 1,
        _ => 2,
    }
}

async fn due(mut timer: Timer, work: Work, id: u64) -> Event {
    timer.due().await;
    Event::Due(work, id)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::sync::oneshot;

    use super::*;
    use crate::ManualClock;

    fn work(name: &str) -> Work {
        Work::ApiService(name.to_owned())
    }

    async fn is_idle(calls: &mut Calls) -> bool {
        tokio::time::timeout(Duration::from_millis(20), calls.next()).await.is_err()
    }

    #[tokio::test]
    async fn failures_are_tried_again_and_later_each_time() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let mut calls = Calls::new(&Clock::Manual(clock.clone()));
        for delay in [5, 10, 20, 30, 30] {
            let at_most = Duration::from_millis(30);
            calls.start(work("a"), || Box::pin(async move { Outcome::Failed { at_most } }));
            assert!(is_idle(&mut calls).await);
            clock.advance(Duration::from_millis(delay - 1));
            assert!(is_idle(&mut calls).await);
            clock.advance(Duration::from_millis(1));
            assert_eq!(calls.next().await, work("a"));
        }
        // After a success there is nothing left, and the next failure is the first one.
        calls.start(work("a"), || Box::pin(async { Outcome::Done }));
        assert!(is_idle(&mut calls).await);
        assert!(calls.known.is_empty());
    }

    #[tokio::test]
    async fn work_that_comes_while_it_is_done_is_done_again() {
        let mut calls = Calls::new(&Clock::default());
        let (end, ended) = oneshot::channel::<()>();
        calls.start(work("a"), || {
            Box::pin(async {
                let _ = ended.await;
                Outcome::Done
            })
        });
        calls.start(work("a"), || panic!("two at once"));
        // Others do not wait for it.
        calls.start(work("b"), || Box::pin(async { Outcome::After(Duration::ZERO) }));
        assert_eq!(calls.next().await, work("b"));
        end.send(()).unwrap();
        assert_eq!(calls.next().await, work("a"));
    }
}
