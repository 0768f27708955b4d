//! The task of a controller: it owns the queue, so that nothing is locked.
//!
//! While another replica leads, it reads the changes of the caches and drops them. When a term of leadership begins, every
//! object runs once, because it is not known how far the leader before came.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::OptionFuture;
use kube::Client;
use kube_informer::ObjectKey;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::cache::Cache;
use crate::dry_run::DryRun;
use crate::election::Leadership;
use crate::fence::Fence;
use crate::hot_loop::HotLoop;
use crate::inspect;
use crate::ledger::Account;
use crate::metrics::{ControllerMetrics, Requests, RunId, RunResult};
use crate::observer::Observer;
use crate::own_writes::{OwnWrites, Released};
use crate::queue::{self, Change, Debounce, Queue, QueueOptions, Taken};
use crate::reason::{Reason, Trigger};
use crate::run::{Job, Outcome, Perform, Report};
use crate::source::{Role, Seen, Source};

/// How many changes are read, and runs started, before others get a turn.
const TURN: usize = 128;

/// Lists the keys that there are, with their priorities.
pub(crate) type List = Box<dyn Fn() -> Vec<(ObjectKey, i32)> + Send + Sync>;

/// The priority of a key, if its object is there.
pub(crate) type Priority = Box<dyn Fn(&ObjectKey) -> Option<i32> + Send + Sync>;

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) name: Arc<str>,
    pub(crate) concurrency: usize,
    pub(crate) debounce: Option<Debounce>,
    pub(crate) backoff: Backoff,
    pub(crate) caches: Vec<Arc<dyn Cache>>,
    pub(crate) sources: Vec<Box<dyn Source>>,
    pub(crate) list: List,
    pub(crate) priority: Option<Priority>,
    pub(crate) perform: Perform,
    pub(crate) client: Client,
    pub(crate) dry_run: Option<DryRun>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) metrics: Arc<ControllerMetrics>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) rng: fastrand::Rng,
}

/// How a worker learns what to do.
pub(crate) struct Orders {
    pub(crate) leadership: watch::Receiver<Leadership>,
    /// Take no more.
    pub(crate) drain: CancellationToken,
    /// Let no run continue.
    pub(crate) cancel: CancellationToken,
    /// Requests for the state of the queue.
    pub(crate) inspections: mpsc::Receiver<oneshot::Sender<inspect::Queue>>,
}

/// The task of a controller.
pub(crate) struct Worker {
    parts: Parts,
    orders: Orders,
    queue: Queue,
    running: JoinSet<(ObjectKey, Report)>,
    /// The runs under way.
    runs: HashMap<ObjectKey, Running>,
    own_writes: OwnWrites,
    hot: HotLoop,
    /// Keys in a hot loop, of which the next change is to be explained.
    suspects: HashSet<ObjectKey>,
    /// The last errors of keys that failed.
    errors: HashMap<ObjectKey, String>,
    /// The fence of the present term.
    term: Option<Fence>,
}

struct Running {
    id: RunId,
    since: Instant,
    reasons: Vec<Reason>,
    failures: u32,
    /// Whether its object was deleted meanwhile.
    gone: bool,
}

/// Why a worker ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("a cache of the controller {controller} has stopped")]
pub(crate) struct CacheStopped {
    pub(crate) controller: Arc<str>,
}

enum Wake {
    Drain,
    Leadership,
    Finished(Result<(ObjectKey, Report), JoinError>),
    Seen(Vec<Seen>),
    CacheStopped,
    Inspect(oneshot::Sender<inspect::Queue>),
    Due,
    Turn,
}

impl Worker {
    pub(crate) fn new(parts: Parts, orders: Orders) -> Self {
        let queue = queue(&parts);
        Self {
            queue,
            parts,
            orders,
            running: JoinSet::new(),
            runs: HashMap::new(),
            own_writes: OwnWrites::default(),
            hot: HotLoop::default(),
            suspects: HashSet::new(),
            errors: HashMap::new(),
            term: None,
        }
    }

    /// Works until it is told to drain, and its runs have ended.
    pub(crate) async fn run(mut self) -> Result<(), CacheStopped> {
        if !self.synced().await? {
            return Ok(());
        }
        loop {
            self.follow_leadership().await;
            let more = self.start_runs().await;
            self.parts.metrics.set_depth(self.queue.depth());
            match self.wake(more).await {
                Wake::Drain => break,
                Wake::Leadership | Wake::Turn => {}
                Wake::Finished(run) => self.joined(run),
                Wake::Seen(changes) => changes.into_iter().for_each(|change| self.seen(change)),
                Wake::CacheStopped => {
                    return Err(CacheStopped { controller: Arc::clone(&self.parts.name) });
                }
                Wake::Inspect(answer) => self.inspect(answer),
                Wake::Due => self.check_own_writes(),
            }
        }
        self.drain().await;
        Ok(())
    }

    /// Waits until all caches are complete. Returns false if the worker is told to end before.
    async fn synced(&mut self) -> Result<bool, CacheStopped> {
        for cache in self.parts.caches.clone() {
            let mut status = cache.watch_status();
            loop {
                tokio::select! {
                    biased;
                    () = self.orders.drain.cancelled() => return Ok(false),
                    Some(answer) = self.orders.inspections.recv() => self.inspect(answer),
                    synced = status.wait_for(|status| status.synced && !status.from_disk) => {
                        synced.map_err(|_| CacheStopped { controller: Arc::clone(&self.parts.name) })?;
                        break;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Begins or ends a term.
    async fn follow_leadership(&mut self) {
        let fence = match &*self.orders.leadership.borrow_and_update() {
            Leadership::Leading { fence } => Some(fence.clone()),
            Leadership::Standby { .. } => None,
        };
        let fence = fence.filter(|fence| fence.check(Instant::now()).is_ok());
        match (&self.term, fence) {
            (Some(term), Some(fence)) if term.is(&fence) => {}
            (None, None) => {}
            (_, fence) => {
                if self.term.take().is_some() {
                    self.end_runs().await;
                }
                self.queue = queue(&self.parts);
                self.own_writes.clear();
                self.suspects.clear();
                self.errors.clear();
                if let Some(fence) = fence {
                    self.term = Some(fence);
                    let now = Instant::now();
                    for (key, priority) in (self.parts.list)() {
                        self.parts.metrics.added();
                        self.queue.list(now, &key, priority);
                    }
                }
            }
        }
    }

    /// Starts what may run. Returns whether there is more.
    async fn start_runs(&mut self) -> bool {
        let Some(fence) = self.term.clone() else { return false };
        for _ in 0..TURN {
            if self.runs.len() >= self.parts.concurrency {
                return false;
            }
            let now = Instant::now();
            let Some(taken) = self.queue.take(now) else { return false };
            self.start(now, taken, &fence).await;
        }
        true
    }

    async fn start(&mut self, now: Instant, taken: Taken, fence: &Fence) {
        let Taken { key, priority, reasons, failures, waited } = taken;
        let metrics = &self.parts.metrics;
        metrics.taken(waited);
        let (mut reasons, omitted) = (reasons.list().to_vec(), reasons.omitted());
        // Changes are counted when they come; nobody adds what the queue itself knows to be due.
        if reasons.iter().any(|reason| matches!(reason.trigger, Trigger::Timer | Trigger::Retry)) {
            metrics.added();
        }
        for reason in &mut reasons {
            if let Some(object) = &mut reason.object {
                object.own_write = self.own_writes.is_own(&key, object.new_version.as_ref());
            }
        }
        // Also what was deleted as soon as it had been written: by the garbage collector, if the owner is gone.
        let own_writes = &self.own_writes;
        let is_own = |reason: &Reason| {
            reason.object.as_ref().is_some_and(|object| {
                object.own_write
                    || (reason.trigger == Trigger::Deleted && own_writes.has_written(&key, &object.key))
            })
        };
        let by_itself = omitted == 0 && !reasons.is_empty() && reasons.iter().all(is_own);
        if let Some(hot) = self.hot.run(now, &key, by_itself) {
            metrics.hot_loop();
            self.queue.slow(now, &key, hot.delay);
            if hot.report {
                self.suspects.insert(key.clone());
            }
        }
        tracing::debug!(
            controller = &*self.parts.name, object = %key, reasons = %Listed(&reasons), omitted, priority, failures, "run"
        );
        if let Some(observer) = &self.parts.observer {
            observer.run_started(&self.parts.name, &key, &reasons);
        }
        let id = metrics.started(now);
        let running = Running { id, since: now, reasons: reasons.clone(), failures, gone: false };
        self.runs.insert(key.clone(), running);
        let account = Account {
            client: self.parts.client.clone(),
            fence: fence.clone(),
            requests: Arc::clone(&self.parts.requests),
            dry_run: self.parts.dry_run.clone(),
            controller: Arc::clone(&self.parts.name),
        };
        let mut run = (self.parts.perform)(Job { key: key.clone(), reasons, account });
        // Most runs find nothing to do, and end without waiting: those need no task.
        match poll_fn(|context| Poll::Ready(run.as_mut().poll(context))).await {
            Poll::Ready(report) => self.finished(&key, report),
            Poll::Pending => {
                self.running.spawn(async move { (key, run.await) });
            }
        }
    }

    /// Waits for something to do.
    async fn wake(&mut self, more: bool) -> Wake {
        let Self { parts, orders, queue, running, own_writes, suspects, term, .. } = self;
        // A key that is due cannot run while all workers are busy.
        let is_free = term.is_some() && self.runs.len() < parts.concurrency;
        let due = queue.next_due().filter(|_| is_free).into_iter().chain(own_writes.next_check()).min();
        let sources = &mut parts.sources;
        let changes = poll_fn(|context| {
            let mut seen = Vec::new();
            for source in &mut *sources {
                while seen.len() < TURN {
                    match source.poll_next(context, suspects) {
                        Poll::Ready(Some(change)) => seen.push(change),
                        Poll::Ready(None) => return Poll::Ready(Wake::CacheStopped),
                        Poll::Pending => break,
                    }
                }
            }
            if seen.is_empty() { Poll::Pending } else { Poll::Ready(Wake::Seen(seen)) }
        });
        tokio::select! {
            biased;
            () = orders.drain.cancelled() => Wake::Drain,
            Ok(()) = orders.leadership.changed() => Wake::Leadership,
            Some(_) = OptionFuture::from(term.as_ref().map(Fence::closed_wait)) => Wake::Leadership,
            Some(run) = running.join_next() => Wake::Finished(run),
            changes = changes => changes,
            Some(answer) = orders.inspections.recv() => Wake::Inspect(answer),
            Some(()) = OptionFuture::from(due.map(sleep_until)) => Wake::Due,
            () = yield_now(), if more => Wake::Turn,
        }
    }

    fn seen(&mut self, change: Seen) {
        let now = Instant::now();
        for released in self.own_writes.seen(&change.object) {
            self.release(now, &released);
        }
        if self.term.is_none() {
            return;
        }
        for target in change.targets {
            let key = target.key;
            if let Some(fields) = &change.fields
                && self.suspects.remove(&key)
            {
                tracing::warn!(
                    controller = &*self.parts.name,
                    object = %key,
                    change = %change.reason,
                    fields = fields.join(", "),
                    "it runs again and again because of its own writes, and is slowed"
                );
            }
            if target.role == Role::Gone {
                self.queue.forget(&key);
                self.errors.remove(&key);
                if let Some(run) = self.runs.get_mut(&key) {
                    run.gone = true;
                }
                continue;
            }
            let resets = target.role == Role::Primary { resets: true };
            let priority =
                self.parts.priority.as_ref().and_then(|priority| priority(&key)).unwrap_or_default();
            self.parts.metrics.added();
            self.queue.add(now, &key, Change { priority, reason: change.reason.clone(), resets });
        }
    }

    fn joined(&mut self, run: Result<(ObjectKey, Report), JoinError>) {
        match run {
            Ok((key, report)) => self.finished(&key, report),
            // A panic of the reconciler is caught where it runs, so this one is ours.
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    fn finished(&mut self, key: &ObjectKey, report: Report) {
        let now = Instant::now();
        let Some(run) = self.runs.remove(key) else { return };
        let Report { outcome, writes } = report;
        if self.own_writes.wrote(now, key, writes, &self.parts.caches) {
            self.queue.hold(key);
        }
        let (result, ended) = match &outcome {
            Outcome::Done(action) => match action.requeue_after() {
                Some(after) => (RunResult::RequeueAfter, queue::Outcome::RequeueAfter(after)),
                None => (RunResult::Success, queue::Outcome::Done),
            },
            Outcome::Nothing { .. } => (RunResult::Success, queue::Outcome::Done),
            Outcome::Failed(_) => (RunResult::Error, queue::Outcome::Failed),
            Outcome::Terminal(_) => (RunResult::TerminalError, queue::Outcome::Terminal),
            Outcome::TimedOut(_) => (RunResult::Timeout, queue::Outcome::Failed),
            Outcome::Panicked(_) => (RunResult::Panic, queue::Outcome::Failed),
        };
        self.parts.metrics.finished(run.id, result, now - run.since);
        let retry = self.queue.finish(now, key, ended);
        if matches!(outcome, Outcome::Nothing { gone: true }) {
            self.queue.forget(key);
        }
        let error = outcome.error();
        if let Some(observer) = &self.parts.observer {
            observer.run_finished(&self.parts.name, key, error.as_deref().unwrap_or("done"));
        }
        let Some(error) = error else {
            self.errors.remove(key);
            return;
        };
        if let Some(after) = retry {
            self.parts.metrics.retried();
            tracing::warn!(
                controller = &*self.parts.name,
                object = %key,
                reasons = %Listed(&run.reasons),
                failures = run.failures + 1,
                retry_in = ?after,
                error,
                "the run failed"
            );
        } else {
            tracing::warn!(
                controller = &*self.parts.name,
                object = %key,
                reasons = %Listed(&run.reasons),
                error,
                "the run failed, and is not tried again before something changes"
            );
        }
        // An object that comes later by the same name has not failed, and most never come.
        if !run.gone {
            self.errors.insert(key.clone(), error);
        }
    }

    fn check_own_writes(&mut self) {
        let now = Instant::now();
        if self.own_writes.next_check().is_some_and(|at| at <= now) {
            for released in self.own_writes.check_all(now) {
                self.release(now, &released);
            }
        }
    }

    fn release(&mut self, now: Instant, released: &Released) {
        self.parts.metrics.own_write_waited(released.timed_out);
        if released.timed_out {
            tracing::debug!(
                controller = &*self.parts.name,
                object = %released.key,
                "the caches have not got what its last run wrote"
            );
        }
        self.queue.release(now, &released.key);
    }

    /// Lets the runs under way end, or, once that is ordered, cancels them.
    async fn drain(&mut self) {
        self.queue.stop();
        loop {
            tokio::select! {
                biased;
                () = self.orders.cancel.cancelled() => break,
                Some(_) = OptionFuture::from(self.term.as_ref().map(Fence::closed_wait)) => break,
                run = self.running.join_next() => match run {
                    Some(run) => self.joined(run),
                    None => return,
                },
                Some(answer) = self.orders.inspections.recv() => self.inspect(answer),
            }
        }
        self.end_runs().await;
    }

    /// Drops the runs under way, and waits until they are.
    async fn end_runs(&mut self) {
        self.running.abort_all();
        while let Some(run) = self.running.join_next().await {
            self.joined(run);
        }
        for (key, run) in self.runs.drain() {
            self.parts.metrics.finished(run.id, RunResult::Cancelled, run.since.elapsed());
            if let Some(observer) = &self.parts.observer {
                observer.run_finished(&self.parts.name, &key, "cancelled");
            }
        }
    }

    fn inspect(&self, answer: oneshot::Sender<inspect::Queue>) {
        let now = Instant::now();
        let run = |key: &ObjectKey| self.runs.get(key).map_or(&[][..], |run| &run.reasons);
        let error = |key: &ObjectKey| self.errors.get(key).cloned();
        let queue = inspect::queue(&self.parts.name, self.parts.concurrency, now, &self.queue, run, error);
        // Who asked may have gone.
        let _ = answer.send(queue);
    }
}

fn queue(parts: &Parts) -> Queue {
    let options = QueueOptions { debounce: parts.debounce, backoff: parts.backoff };
    Queue::new(options, parts.rng.clone())
}

/// Reasons in a log.
struct Listed<'a>(&'a [Reason]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, reason) in self.0.iter().enumerate() {
            write!(f, "{}{reason}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
