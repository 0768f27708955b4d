//! The program: controllers that share caches, a lease, a port and an end.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use kube::Client;
use kube_informer::Informers;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::controller::Controller;
use crate::dry_run::DryRun;
use crate::election::{self, Campaign, CampaignEnded, Election, Leadership};
use crate::events::Events;
use crate::fence::Fence;
use crate::metrics::OperatorMetrics;
use crate::observer::Observer;
use crate::server;
use crate::shards::{InvalidShards, OwnedShard, ShardEvent, Shards};
use crate::shutdown::{Ended, RunError, Signals};
use crate::view::View;
use crate::workers::{self, Spawner, Workers};

/// How long runs on a shard may take to end when another replica is to own it, unless the program says something else.
const GRACE: Duration = Duration::from_secs(30);

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
    end: End,
    grace: Option<Duration>,
    dry_run: bool,
    seed: Option<u64>,
    observer: Option<Arc<dyn Observer>>,
}

/// What ends an operator.
enum End {
    Never,
    Signal,
    Token(CancellationToken),
}

/// What is listened to, until this is dropped: a second signal counts also while the operator ends.
enum Asked {
    Never,
    Signal(Signals),
    Token(CancellationToken),
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
            end: End::Never,
            grace: None,
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
    /// finished, and the lease runs out. That is so, too, if the operator ends because of a failure: then it takes two
    /// signals.
    pub fn shutdown_on_signal(mut self, grace: Duration) -> Self {
        (self.end, self.grace) = (End::Signal, Some(grace));
        self
    }

    /// Ends the operator when the token is cancelled, as [`shutdown_on_signal`](Self::shutdown_on_signal) does, and leaves
    /// signals alone.
    pub fn shutdown_on(mut self, token: CancellationToken, grace: Duration) -> Self {
        (self.end, self.grace) = (End::Token(token), Some(grace));
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
        workers::check(&controllers)?;
        let listener = self.listen().await?;
        let election = self.election.clone().filter(|_| !self.dry_run);
        let mut rng = self.rng();
        let mut campaign = match &election {
            Some(election) => Some(election::campaign(self.client.clone(), election, rng.fork())?),
            None => None,
        };
        let leadership = campaign.as_ref().map_or_else(|| leads(Fence::open()), Campaign::leadership);
        let lease = election.as_ref().map(|election| (election.lease(), leadership.clone()));
        let metrics = OperatorMetrics::new(&self.informers, lease);
        let status = campaign.as_ref().map(Campaign::status);
        let view = View::new(Arc::clone(&self.name), leadership.clone(), status, metrics);
        let grace = self.grace.unwrap_or_default();
        let (mut open, mut end) = self.open(listener, view, rng);

        let mut workers = open.spawner.start(controllers, &leadership);
        let ended = tokio::select! {
            biased;
            ended = end.asked() => Ok(ended),
            error = workers.failed() => Err(error),
            _ = died(campaign.as_mut()) => Err(RunError::Panicked),
        };
        let ended = open.report(ended);
        // In this order: a run that is still under way needs the lease.
        let rest = workers.end(grace).await;
        open.flush().await;
        if let Some(campaign) = campaign {
            campaign.release().await;
        }
        rest.and(ended)
    }

    /// Spreads controllers over the replicas of the program: runs those that a function makes for each shard that this replica
    /// owns, until another one is to own it. Then no more runs begin, those under way have the time of
    /// [`shutdown_on_signal`](Self::shutdown_on_signal) (30 s without it), and only when they have ended another replica takes the
    /// shard. As with leader election, no request of a run leaves after the shard could be another's.
    ///
    /// Give each controller an informer of [`OwnedShard::informer_shard`], which is checked; what it owns, watches and reads may
    /// be of all shards. The names end in `-shard-` and the number of the
    /// shard in metrics, logs and readiness. A replica without a shard is ready. In a dry run no Lease is written, so there is
    /// one shard with everything.
    ///
    /// The function is called once more at the start, with a shard that is [not owned](OwnedShard::is_owned), to check the
    /// controllers before any Lease is taken. Those do not run.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use k8s_openapi::api::core::v1::ConfigMap;
    /// use kube_controller::{Action, Context, Controller, Operator, Shards};
    /// # async fn reconcile(_: Arc<ConfigMap>, _: Context<ConfigMap, ()>) -> Result<Action, kube::Error> {
    /// #     Ok(Action::await_change())
    /// # }
    /// # async fn run(client: kube::Client) -> Result<(), kube_controller::RunError> {
    /// let operator = Operator::new(client.clone(), "blog-operator");
    /// let of = operator.informers();
    /// let shards = Shards::new(client, "blog-operator", 16);
    /// operator
    ///     .run_sharded(shards, |shard| {
    ///         let maps = of.typed::<ConfigMap>().shard(shard.informer_shard()).start();
    ///         [Controller::new("map", maps).reconciler(reconcile, ())]
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run); and if an option of the shards cannot work, if the objects of a controller are not those of its
    /// shard, or if leader election was asked for, too.
    ///
    /// # Panics
    /// Panics if the function does, once all runs have ended and the Leases are released.
    pub async fn run_sharded<C>(
        self,
        shards: Shards,
        mut controllers: impl FnMut(&OwnedShard) -> C,
    ) -> Result<Ended, RunError>
    where
        C: IntoIterator<Item = Controller>,
    {
        if self.election.is_some() {
            return Err(RunError::LeaderElectionOfShards);
        }
        let mut make = move |shard: &OwnedShard| {
            let controllers: Vec<Controller> = controllers(shard).into_iter().collect();
            workers::check(&controllers)?;
            workers::check_shard(&controllers, &shard.informer_shard())?;
            Ok::<_, RunError>(controllers)
        };
        if self.dry_run {
            let controllers = make(&OwnedShard::everything().map_err(InvalidShards::from)?)?;
            return self.run(controllers).await;
        }
        // What is wrong with the controllers is known before a shard is won, which may take long.
        drop(make(&shards.example()?)?);
        let listener = self.listen().await?;
        let rng = self.rng();
        let metrics = OperatorMetrics::new(&self.informers, None);
        let view = View::new(Arc::clone(&self.name), leads(Fence::open()), None, metrics);
        let grace = self.grace.unwrap_or(GRACE);
        let (mut open, mut asked) = self.open(listener, view, rng);

        let mut set = shards.start()?;
        let mut owned: HashMap<u32, Workers> = HashMap::new();
        let mut ending = JoinSet::new();
        let mut end: Option<Result<Ended, RunError>> = None;
        let mut panic = None;
        loop {
            let failure = tokio::select! {
                event = set.next() => match event {
                    // It came too late: it is revoked next.
                    Ok(Some(ShardEvent::Acquired(_))) if end.is_some() => continue,
                    Ok(Some(ShardEvent::Acquired(shard))) => {
                        // A panic must not keep the Leases from being released.
                        match catch_unwind(AssertUnwindSafe(|| make(&shard))) {
                            Ok(Ok(mut controllers)) => {
                                for controller in &mut controllers {
                                    controller.name = format!("{}-shard-{}", controller.name, shard.index());
                                }
                                let workers = open.spawner.start(controllers, &leads(shard.fence()));
                                owned.insert(shard.index(), workers);
                                continue;
                            }
                            Ok(Err(error)) => error,
                            Err(payload) => {
                                panic = Some(payload);
                                RunError::Panicked
                            }
                        }
                    }
                    Ok(Some(ShardEvent::Revoked(shard))) => {
                        // What can no longer be written need not be waited for.
                        let grace = if shard.is_owned() { grace } else { Duration::ZERO };
                        if let Some(workers) = owned.remove(&shard.index()) {
                            ending.spawn(async move {
                                let ended = workers.end(grace).await;
                                shard.ack();
                                ended
                            });
                        }
                        continue;
                    }
                    Ok(None) => break,
                    Err(_) => {
                        end = Some(open.report(Err(RunError::Panicked)));
                        break;
                    }
                },
                error = any_failed(&mut owned) => error,
                Some(ended) = ending.join_next() => match ended {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => error,
                    Err(_) => RunError::Panicked,
                },
                ended = asked.asked(), if end.is_none() => {
                    end = Some(open.report(Ok(ended)));
                    set.stop();
                    continue;
                }
            };
            if !matches!(end, Some(Err(_))) {
                end = Some(open.report(Err(failure)));
            }
            set.stop();
        }
        // None is left, unless a task of the shards has panicked.
        for workers in owned.into_values() {
            let _ = workers.end(Duration::ZERO).await;
        }
        open.flush().await;
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        end.unwrap_or(Ok(Ended::Cancelled))
    }

    fn rng(&self) -> fastrand::Rng {
        self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)
    }

    async fn listen(&self) -> Result<Option<TcpListener>, RunError> {
        let Some(address) = self.address else { return Ok(None) };
        let listener = TcpListener::bind(address).await;
        listener.map(Some).map_err(|source| RunError::Listen { address, source })
    }

    /// Serves, and is ready to start controllers.
    fn open(self, listener: Option<TcpListener>, view: View, rng: fastrand::Rng) -> (Open, Asked) {
        let view = Arc::new(view);
        let server_end = CancellationToken::new();
        if let Some(listener) = listener {
            tokio::spawn(server::serve(listener, Arc::clone(&view), server_end.clone()));
        }
        let events = if self.dry_run {
            Events::none()
        } else {
            Events::new(self.client.clone(), &self.name, view.metrics.dropped_events())
        };
        let spawner = Spawner {
            client: self.client,
            name: self.name,
            dry_run: self.dry_run.then(DryRun::default),
            events,
            observer: self.observer,
            rng,
            view,
        };
        let open = Open { spawner, _server_end: server_end.drop_guard(), _informers_end: self.informers_end };
        (open, self.end.listen())
    }
}

/// Returns a leadership that lasts as long as the fence is open, without a lease of the operator.
fn leads(fence: Fence) -> watch::Receiver<Leadership> {
    watch::Sender::new(Leadership::Leading { fence }).subscribe()
}

impl End {
    /// Begins to listen: a signal that comes from now on is not lost.
    fn listen(self) -> Asked {
        match self {
            Self::Never => Asked::Never,
            Self::Token(token) => Asked::Token(token),
            Self::Signal => match Signals::listen() {
                Ok(signals) => Asked::Signal(signals),
                Err(error) => {
                    tracing::error!(%error, "signals cannot be received");
                    Asked::Never
                }
            },
        }
    }
}

impl Asked {
    /// Waits until the operator is asked to end, and returns by what. It must not be called again then.
    async fn asked(&mut self) -> Ended {
        match self {
            Self::Never => std::future::pending().await,
            Self::Token(token) => {
                token.cancelled().await;
                Ended::Cancelled
            }
            Self::Signal(signals) => Ended::Signal(signals.first().await),
        }
    }
}

/// An operator that runs. When it is dropped, its server and its caches end.
struct Open {
    spawner: Spawner,
    _server_end: DropGuard,
    _informers_end: DropGuard,
}

/// Waits until the work on a shard fails.
async fn any_failed(owned: &mut HashMap<u32, Workers>) -> RunError {
    if owned.is_empty() {
        return std::future::pending().await;
    }
    select_all(owned.values_mut().map(|workers| workers.failed().boxed())).await.0
}

impl Open {
    /// Logs why it ends, before it waits for its runs.
    fn report(&self, ended: Result<Ended, RunError>) -> Result<Ended, RunError> {
        let operator = &*self.spawner.name;
        match &ended {
            Ok(ended) => tracing::info!(operator, "ends: {ended}"),
            Err(error) => tracing::error!(operator, %error, "ends"),
        }
        ended
    }

    /// Sends the Events that wait.
    async fn flush(&self) {
        self.spawner.events.flush(FLUSH).await;
    }
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
