//! The program: controllers that share caches, a lease, a port and an end.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube_informer::Informers;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::controller::{Controller, Surroundings};
use crate::dry_run::DryRun;
use crate::election::{self, Campaign, CampaignEnded, Election, InvalidElection, Leadership};
use crate::events::Events;
use crate::fence::Fence;
use crate::metrics::OperatorMetrics;
use crate::observer::Observer;
use crate::server;
use crate::shards::OwnedShard;
use crate::shutdown::{Ended, Signals};
use crate::view::{self, View};
use crate::worker::{CacheStopped, Orders, Parts, Worker};

/// How long Events may take to be written when an operator ends.
const FLUSH: Duration = Duration::from_secs(5);

/// A program of controllers, which share the caches of [`informers`](Self::informers), and, if that is asked for, a lease, a
/// port and an orderly end.
///
/// Dropping the future of [`run`](Self::run) ends everything at once, as a crash would: the lease is not released then.
#[must_use = "an operator does nothing until it runs"]
pub struct Operator {
    client: Client,
    name: Arc<str>,
    informers: Informers,
    informers_end: DropGuard,
    election: Option<Election>,
    address: Option<SocketAddr>,
    shutdown: Option<Shutdown>,
    shard: Option<Fence>,
    dry_run: bool,
    seed: Option<u64>,
    observer: Option<Arc<dyn Observer>>,
}

struct Shutdown {
    on: Option<CancellationToken>,
    grace: Duration,
}

/// Why an operator did not run, or stopped running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Two controllers have the same name.
    #[error("there are two controllers named {0:?}")]
    SameName(String),
    /// The options of leader election contradict one another.
    #[error(transparent)]
    Election(#[from] InvalidElection),
    /// The address of [`Operator::serve`] cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task of this library panicked, which is a bug in it. (A panic of a reconciler is an error of that run.)
    #[error("a task of the operator panicked")]
    Panicked,
    /// The cache of a controller has ended: somebody cancelled its informer.
    #[error("a cache of the controller {controller} has stopped")]
    CacheStopped {
        /// The controller.
        controller: String,
    },
}

impl Operator {
    /// Describes an operator. The name is its field manager, the reporter of its Events, and the beginning of its identity.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, as [`Client::new`] does.
    pub fn new(client: Client, name: &str) -> Self {
        let end = CancellationToken::new();
        Self {
            informers: Informers::with_cancellation(client.clone(), end.clone()),
            informers_end: end.drop_guard(),
            client,
            name: name.into(),
            election: None,
            address: None,
            shutdown: None,
            shard: None,
            dry_run: false,
            seed: None,
            observer: None,
        }
    }

    /// Lets controllers run only while this process holds a Lease of this name, in the client's namespace, as those of client-go:
    /// a program in Go can be another candidate. The caches of a standby are warm.
    ///
    /// When the lease cannot be renewed, no request of a run leaves any more, runs are cancelled, and the operator stands by
    /// again: it does not exit.
    pub fn leader_election(self, lease: &str) -> Self {
        self.leader_election_with(Election::new(lease))
    }

    /// As [`leader_election`](Self::leader_election), with other times, namespace or identity.
    pub fn leader_election_with(mut self, election: Election) -> Self {
        self.election = Some(election);
        self
    }

    /// Lets controllers work on a shard, while this replica owns it: as with leader election, no request of a run leaves after
    /// that. Give them informers of [`OwnedShard::informer_shard`], and end the operator before the shard is acknowledged as
    /// revoked. See [`Shards`](crate::Shards).
    pub fn shard(mut self, shard: &OwnedShard) -> Self {
        self.shard = Some(shard.fence());
        self
    }

    /// Serves `/healthz`, `/livez`, `/readyz`, `/metrics` and, to the machine itself, `/debug/queue` over HTTP, also on a standby and
    /// while the operator ends.
    pub fn serve(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Ends the operator on SIGTERM or SIGINT: no more runs begin, those under way have this much time, then they are
    /// cancelled, Events are sent, and last, the lease is released. 30 seconds is what a Pod has by default.
    ///
    /// A second signal ends the process at once, with exit code 1, as in controller-runtime: what is under way is not
    /// finished, and the lease runs out.
    pub fn shutdown_on_signal(mut self, grace: Duration) -> Self {
        self.shutdown = Some(Shutdown { on: None, grace });
        self
    }

    /// Ends the operator when the token is cancelled, as [`shutdown_on_signal`](Self::shutdown_on_signal) does, and leaves
    /// signals alone.
    pub fn shutdown_on(mut self, token: CancellationToken, grace: Duration) -> Self {
        self.shutdown = Some(Shutdown { on: Some(token), grace });
        self
    }

    /// Lets every run happen, but no write: those of a run's client are sent with `dryRun=All`, and each is logged with what it would
    /// change. Events and Leases are not sent at all; no lease is needed.
    ///
    /// What a run would have read of its own writes is missing, so that later steps of it may differ. Writes through
    /// another client than that of the run are not seen.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Makes jitter repeatable, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    #[cfg_attr(not(feature = "simulation"), expect(dead_code, reason = "the simulation looks on"))]
    pub(crate) fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Returns the informers of the operator. They end with it.
    #[must_use]
    pub fn informers(&self) -> Informers {
        self.informers.clone()
    }

    /// Returns the client of the operator, which is not fenced.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs controllers until the operator is asked to end, and returns why it ended. Without
    /// [`shutdown_on_signal`](Self::shutdown_on_signal) or [`shutdown_on`](Self::shutdown_on) it runs until the future is dropped.
    ///
    /// A controller begins when all its caches are complete. One that cannot be filled, because its type is not installed or
    /// may not be read, is named by `/readyz`, and the controller begins once it can.
    ///
    /// # Errors
    /// Fails at once if controllers have the same name, if the address is taken, or if the options of leader election are
    /// contradictory; later if a task of this library panics. Everything else is retried.
    pub async fn run(self, controllers: impl IntoIterator<Item = Controller>) -> Result<Ended, RunError> {
        let controllers: Vec<Controller> = controllers.into_iter().collect();
        let mut names = HashSet::new();
        if let Some(twice) = controllers.iter().find(|controller| !names.insert(controller.name.clone())) {
            return Err(RunError::SameName(twice.name.clone()));
        }
        let listener = match self.address {
            Some(address) => {
                let listening = TcpListener::bind(address).await;
                Some(listening.map_err(|source| RunError::Listen { address, source })?)
            }
            None => None,
        };
        let dry_run = self.dry_run.then(DryRun::default);
        let election = self.election.filter(|_| dry_run.is_none());
        let lease = election.as_ref().map(|election| election.lease().to_owned());
        let mut rng = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let mut campaign = match election {
            Some(election) => Some(election::campaign(self.client.clone(), &election, rng.fork())?),
            None => None,
        };
        let always =
            watch::Sender::new(Leadership::Leading { fence: self.shard.unwrap_or_else(Fence::open) });
        let leadership = campaign.as_ref().map_or_else(|| always.subscribe(), Campaign::leadership);
        let events = if self.dry_run { Events::none() } else { Events::new(self.client.clone(), &self.name) };
        let (drain, cancel) = (CancellationToken::new(), CancellationToken::new());

        let election = lease.as_deref().map(|lease| (lease, leadership.clone()));
        let mut metrics = OperatorMetrics::new(&self.informers, election);
        let (mut workers, mut viewed) = (JoinSet::new(), Vec::new());
        for controller in controllers {
            let counters = metrics.controller(&controller.name, controller.concurrency);
            let (inspect, inspections) = mpsc::channel(4);
            let name: Arc<str> = controller.name.into();
            viewed.push(view::Controller {
                name: Arc::clone(&name),
                caches: controller.caches.clone(),
                inspect,
            });
            let orders = Orders {
                leadership: leadership.clone(),
                drain: drain.clone(),
                cancel: cancel.clone(),
                inspections,
            };
            let surroundings = Surroundings {
                events: events.clone(),
                field_manager: Arc::clone(&self.name),
                shutting_down: drain.clone(),
            };
            let parts = Parts {
                name,
                concurrency: controller.concurrency,
                debounce: controller.debounce,
                backoff: controller.backoff,
                caches: controller.caches,
                sources: controller.sources,
                list: controller.list,
                priority: controller.priority,
                perform: (controller.program)(surroundings),
                client: self.client.clone(),
                dry_run: dry_run.clone(),
                requests: metrics.requests(),
                metrics: counters,
                observer: self.observer.clone(),
                rng: rng.fork(),
            };
            workers.spawn(Worker::new(parts, orders).run());
        }
        let view = View {
            operator: Arc::clone(&self.name),
            leadership,
            election: campaign.as_ref().map(Campaign::status),
            controllers: viewed,
            metrics,
            ending: drain.clone(),
        };
        let server_end = CancellationToken::new();
        let _server = listener.map(|listener| {
            AbortOnDropHandle::new(tokio::spawn(server::serve(listener, Arc::new(view), server_end.clone())))
        });

        let grace = self.shutdown.as_ref().map(|shutdown| shutdown.grace).unwrap_or_default();
        let asked = async {
            match self.shutdown {
                Some(Shutdown { on: Some(token), .. }) => {
                    token.cancelled().await;
                    (Ended::Cancelled, None)
                }
                Some(Shutdown { on: None, .. }) => match Signals::listen() {
                    Ok(mut signals) => (Ended::Signal(signals.next().await), Some(signals)),
                    Err(error) => {
                        tracing::error!(%error, "signals cannot be received");
                        std::future::pending().await
                    }
                },
                None => std::future::pending().await,
            }
        };
        let (ended, signals) = tokio::select! {
            (ended, signals) = asked => (Ok(ended), signals),
            error = failed(&mut workers) => (Err(error), None),
            _ = died(campaign.as_mut()) => (Err(RunError::Panicked), None),
        };
        let _second = signals.map(Signals::exit_at_next);
        match &ended {
            Ok(ended) => tracing::info!(operator = &*self.name, "ends: {ended}"),
            Err(error) => tracing::error!(operator = &*self.name, %error, "ends"),
        }
        // In this order: a run that is still under way needs the lease.
        drain.cancel();
        let drained = timeout(grace, all(&mut workers)).await;
        cancel.cancel();
        let rest = match drained {
            Ok(rest) => rest,
            Err(_) => all(&mut workers).await,
        };
        events.flush(FLUSH).await;
        if let Some(campaign) = campaign {
            campaign.release().await;
        }
        server_end.cancel();
        drop(self.informers_end);
        rest.and(ended)
    }
}

/// Waits until a worker ends by itself, which none should.
async fn failed(workers: &mut JoinSet<Result<(), CacheStopped>>) -> RunError {
    loop {
        match workers.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => {
                return RunError::CacheStopped { controller: error.controller.to_string() };
            }
            Some(Err(_)) => return RunError::Panicked,
            None => std::future::pending().await,
        }
    }
}

/// Waits until all workers have ended.
async fn all(workers: &mut JoinSet<Result<(), CacheStopped>>) -> Result<(), RunError> {
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        if ended.is_err() {
            result = Err(RunError::Panicked);
        }
    }
    result
}

/// Waits until the task that campaigns for the lease has died.
async fn died(campaign: Option<&mut Campaign>) -> CampaignEnded {
    match campaign {
        Some(campaign) => campaign.ended().await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("name", &self.name).finish_non_exhaustive()
    }
}
