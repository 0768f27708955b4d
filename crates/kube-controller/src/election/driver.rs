//! The task of a candidate: sends its requests, and publishes whether it leads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::candidate::{Answer, Candidate, Known, Step};
use super::options::{Election, InvalidElection};
use super::record;
use crate::fence::Fence;
use crate::lock::lock;

/// Whether this process leads.
#[derive(Clone, Debug)]
pub(crate) enum Leadership {
    /// It does not.
    Standby {
        /// Who holds the Lease, as far as it is known.
        holder: Option<String>,
    },
    /// It does, until the fence closes.
    Leading {
        /// The fence of this term.
        fence: Fence,
    },
}

impl Leadership {
    /// Whether this process leads, and its lease has not run out.
    pub(crate) fn leads(&self) -> bool {
        match self {
            Self::Leading { fence } => fence.check(Instant::now()).is_ok(),
            Self::Standby { .. } => false,
        }
    }
}

/// A candidacy. It ends when this is dropped; the Lease then runs out, unless it was [released](Self::release).
#[derive(Debug)]
pub(crate) struct Campaign {
    leadership: watch::Receiver<Leadership>,
    status: ElectionStatus,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// What people want to know of a candidacy. Clones show the same one.
#[derive(Clone, Debug)]
pub(crate) struct ElectionStatus {
    leadership: watch::Receiver<Leadership>,
    identity: Arc<str>,
    error: Arc<Mutex<Option<String>>>,
}

/// The task of the election has ended by itself, which only a panic explains.
#[derive(Debug, thiserror::Error)]
#[error("the task of the leader election has ended")]
pub(crate) struct CampaignEnded(#[source] Option<tokio::task::JoinError>);

/// Becomes a candidate. The client must not be that of a run: its fence is not for requests of the election.
///
/// # Panics
/// Panics outside of a tokio runtime.
pub(crate) fn campaign(
    client: kube::Client,
    election: &Election,
    rng: fastrand::Rng,
) -> Result<Campaign, InvalidElection> {
    campaign_knowing(client, election, rng, None)
}

/// Becomes a candidate that has observed the Lease before, and so need not wait for its whole duration.
pub(crate) fn campaign_knowing(
    client: kube::Client,
    election: &Election,
    rng: fastrand::Rng,
    known: Option<Known>,
) -> Result<Campaign, InvalidElection> {
    election.check()?;
    let (election, identity) = election.clone().identified();
    let (sender, leadership) = watch::channel(Leadership::Standby { holder: None });
    let status = ElectionStatus {
        leadership: leadership.clone(),
        identity: identity.as_str().into(),
        error: Arc::default(),
    };
    let api = match &election.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::default_namespaced(client),
    };
    let stop = CancellationToken::new();
    let mut candidate = Candidate::new(&election, identity, rng, Instant::now());
    if let Some(known) = known {
        candidate = candidate.knowing(known);
    }
    let driver = Driver {
        candidate,
        observer: Observer { api: api.clone(), lease: election.lease.clone(), events: None },
        api,
        lease: election.lease.clone(),
        request_timeout: election.request_timeout(),
        leadership: sender,
        error: Arc::clone(&status.error),
        term: None,
    };
    let task = AbortOnDropHandle::new(tokio::spawn(driver.run(stop.clone())));
    Ok(Campaign { leadership, status, stop, task })
}

impl Campaign {
    /// Returns whether it leads, now and whenever that changes.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    pub(crate) fn status(&self) -> ElectionStatus {
        self.status.clone()
    }

    /// Waits until the task ends by itself. The fence is closed then.
    pub(crate) async fn ended(&mut self) -> CampaignEnded {
        CampaignEnded((&mut self.task).await.err())
    }

    /// Ends the candidacy, and releases the Lease if it leads, so that another can lead at once. Everything that needed
    /// the leadership must have ended before. Takes at most two timeouts of a request.
    pub(crate) async fn release(self) {
        self.stop.cancel();
        // A task that has panicked has nothing to release.
        let _ = self.task.await;
    }
}

impl ElectionStatus {
    /// Returns who holds the Lease, as far as it is known.
    pub(crate) fn holder(&self) -> Option<String> {
        match &*self.leadership.borrow() {
            Leadership::Standby { holder } => holder.clone(),
            Leadership::Leading { .. } => Some(self.identity.to_string()),
        }
    }

    /// Whether this candidate leads.
    #[cfg(test)]
    pub(crate) fn leads(&self) -> bool {
        self.leadership.borrow().leads()
    }

    /// Returns why the last request for the Lease failed. `None`: it succeeded.
    pub(crate) fn error(&self) -> Option<String> {
        lock(&self.error).clone()
    }
}

struct Driver {
    candidate: Candidate,
    observer: Observer,
    api: Api<Lease>,
    lease: String,
    request_timeout: Duration,
    leadership: watch::Sender<Leadership>,
    error: Arc<Mutex<Option<String>>>,
    term: Option<Term>,
}

/// A term whose fence closes when this is dropped, be it by a panic.
struct Term {
    number: u64,
    fence: Fence,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.fence.close();
    }
}

impl Driver {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.publish();
            match self.candidate.next(Instant::now(), Timestamp::now()) {
                Step::Wait(until) => self.wait(until, &stop).await,
                Step::Get => {
                    let started = Instant::now();
                    let answer = self.get().await;
                    self.candidate.read(started, Instant::now(), answer);
                    self.observer.reopen(self.candidate.version());
                }
                Step::Create(lease) => {
                    let (started, api) = (Instant::now(), self.api.clone());
                    let create = async move { api.create(&PostParams::default(), &lease).await };
                    let answer = self.request(create, false).await;
                    self.candidate.wrote(started, Instant::now(), answer);
                }
                Step::Update(lease) => {
                    let started = Instant::now();
                    let answer = self.update(*lease).await;
                    self.candidate.wrote(started, Instant::now(), answer);
                }
            }
        }
        // Also a renewal that was under way has ended: it cannot follow the release.
        if timeout(self.request_timeout, self.release()).await.is_err() {
            tracing::warn!(lease = self.lease, "the Lease could not be released: it runs out");
        }
    }

    /// Waits until a time, the end of the term, or an event.
    async fn wait(&mut self, until: Instant, stop: &CancellationToken) {
        let term = self.candidate.term(Instant::now());
        let until = term.map_or(until, |term| until.min(term.until));
        tokio::select! {
            // What ends the wait comes before what may come without end.
            biased;
            () = stop.cancelled() => {}
            () = sleep_until(until) => {}
            lease = self.observer.next(), if term.is_none() => self.candidate.observed(Instant::now(), lease),
        }
    }

    async fn get(&mut self) -> Answer {
        let (api, name) = (self.api.clone(), self.lease.clone());
        self.request(async move { api.get(&name).await }, true).await
    }

    async fn update(&mut self, lease: Lease) -> Answer {
        let (api, name) = (self.api.clone(), self.lease.clone());
        self.request(async move { api.replace(&name, &PostParams::default(), &lease).await }, true).await
    }

    /// Sends a request. `missing`: whether 404 says that the Lease is missing, and not its namespace.
    async fn request(&mut self, request: impl Future<Output = kube::Result<Lease>>, missing: bool) -> Answer {
        let mut answer = std::pin::pin!(timeout(self.request_timeout, request));
        let answer = loop {
            let term = self.candidate.term(Instant::now()).map(|term| term.until);
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                // The term may end while the request is under way.
                () = sleep_until(term.unwrap_or_else(Instant::now)), if term.is_some() => self.publish(),
            }
        };
        let (answer, error) = match answer {
            Ok(Ok(lease)) => (Answer::Lease(Box::new(lease)), None),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && missing => (Answer::Missing, None),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => (Answer::Conflict, None),
            Ok(Err(error)) => (Answer::Failed, Some(text(&error))),
            Err(_) => (Answer::Failed, Some(format!("no answer within {:?}", self.request_timeout))),
        };
        self.note(error);
        answer
    }

    /// Keeps the error for the status. Only the first of a row is a warning, so that an outage does not fill the log.
    fn note(&self, error: Option<String>) {
        let mut last = lock(&self.error);
        match &error {
            Some(error) if last.is_none() => {
                tracing::warn!(lease = self.lease, error, "the Lease cannot be reached");
            }
            Some(error) => tracing::debug!(lease = self.lease, error, "the Lease cannot be reached"),
            None if last.is_some() => tracing::info!(lease = self.lease, "the Lease can be reached again"),
            None => {}
        }
        *last = error;
    }

    /// Publishes whether it leads now.
    fn publish(&mut self) {
        let Some(term) = self.candidate.term(Instant::now()) else { return self.stand_by() };
        if let Some(current) = &self.term
            && current.number == term.number
        {
            return current.fence.open_until(term.until);
        }
        // Closes the fence of the term before, if there was one.
        drop(self.term.take());
        let fence = Fence::until(term.until);
        tracing::info!(lease = self.lease, term = term.number, "leads");
        self.term = Some(Term { number: term.number, fence: fence.clone() });
        // The leader knows the Lease: it wrote it.
        self.observer.events = None;
        self.leadership.send_replace(Leadership::Leading { fence });
    }

    fn stand_by(&mut self) {
        let holder = self.candidate.holder().map(str::to_owned);
        if let Some(term) = self.term.take() {
            tracing::warn!(lease = self.lease, term = term.number, holder, "does not lead any more");
        }
        self.leadership.send_if_modified(|leadership| match leadership {
            Leadership::Standby { holder: known } if *known == holder => false,
            _ => {
                *leadership = Leadership::Standby { holder };
                true
            }
        });
    }

    async fn release(&mut self) {
        let Some(mut lease) = self.candidate.release(Instant::now(), Timestamp::now()) else { return };
        tracing::info!(lease = self.lease, "releases the lead");
        // Closes the fence.
        self.term = None;
        loop {
            match self.update(lease).await {
                Answer::Lease(written) => {
                    self.candidate.observed(Instant::now(), Some(*written));
                    return self.stand_by();
                }
                // A renewal that seemed to have failed was done after all, or another has written a label.
                Answer::Conflict => match self.get().await {
                    Answer::Lease(seen) if self.candidate.is_held(&seen) => {
                        lease = record::released(*seen, Timestamp::now());
                    }
                    _ => return self.stand_by(),
                },
                Answer::Missing | Answer::Failed => return self.stand_by(),
            }
        }
    }
}

/// Sees changes of the Lease at once. Polling finds them, too: this may fail, be silent or be forbidden.
struct Observer {
    api: Api<Lease>,
    lease: String,
    /// `None`: failed or ended. It is opened again after the next poll.
    events: Option<BoxStream<'static, kube::Result<WatchEvent<Lease>>>>,
}

impl Observer {
    /// Watches again if it does not, from a version that was read.
    fn reopen(&mut self, version: Option<&str>) {
        if self.events.is_some() {
            return;
        }
        let (api, version) = (self.api.clone(), version.unwrap_or("0").to_owned());
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.lease));
        let events = async move { api.watch(&params, &version).await }.into_stream().try_flatten();
        self.events = Some(events.boxed());
    }

    /// Waits for the next state of the Lease, and returns `None` if it was deleted.
    async fn next(&mut self) -> Option<Lease> {
        while let Some(events) = &mut self.events {
            match events.next().await {
                Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => return Some(lease),
                Some(Ok(WatchEvent::Deleted(_))) => return None,
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => self.events = None,
            }
        }
        std::future::pending().await
    }
}

/// An error and its causes in one line. The server's message says all of an answer.
fn text(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
