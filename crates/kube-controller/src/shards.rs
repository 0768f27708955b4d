//! One controller over several replicas.

mod assignment;
mod coordinator;
mod event;
mod members;
mod shard;

use std::time::Duration;

use kube_informer::{InvalidShard, Shard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::coordinator::Coordinator;
pub use self::event::{OwnedShard, RevokedShard, ShardEvent, ShardsEnded};
use crate::election::{Election, InvalidElection};
use crate::fence::Fence;

/// The most shards of one name. Each costs its owner a request per [`Shards::retry_period`].
const MOST: u32 = 1024;

/// Spreads the namespaces of a cluster over the replicas of a program. Each namespace belongs to one of `count` shards by
/// a hash of its name, and each shard to at most one replica at a time. [`Operator::run_sharded`](crate::Operator::run_sharded)
/// runs controllers on them; this type is for programs without.
///
/// The hash is that of Kubernetes (KEP-5866), so that servers can leave out the objects of other shards. It spreads names that
/// differ in their last character only badly: `team-a` and `team-b` are in the same shard.
///
/// Shards move when replicas come and go: as few as possible, such that no replica has two more than another. A replica
/// gives up a shard in steps: it is told so ([`ShardEvent::Revoked`]), ends its work, and acknowledges that; only then
/// does another take the shard. If a replica dies or cannot reach the server, its shards are taken when their Leases have
/// run out, and it stops before that, as a leader does: see [`Election`].
///
/// For the shards there is a Lease for each (`NAME-shard-INDEX-of-COUNT`) and one for each replica
/// (`NAME-member-of-COUNT-HASH`), all with the label `kube-controller/shards: NAME`. The user of each replica needs the
/// verbs `get`, `list`, `watch`, `create` and `update` on `leases.coordination.k8s.io`, and should have `delete`, with
/// which Leases of replicas that are gone are removed.
///
/// Replicas with another `count` under the same name, as in a rolling update, wait until those that started before them
/// are gone.
///
/// ```no_run
/// use kube_controller::{ShardEvent, Shards};
///
/// async fn work(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
///     let mut shards = Shards::new(client, "blog-operator", 16).start()?;
///     while let Some(event) = shards.next().await? {
///         match event {
///             ShardEvent::Acquired(shard) => { /* start an informer of `shard.informer_shard()` */ }
///             ShardEvent::Revoked(shard) => { /* end its work, and then: */ shard.ack() }
///             _ => {}
///         }
///     }
///     Ok(())
/// }
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct Shards {
    client: kube::Client,
    name: String,
    count: u32,
    election: Election,
    seed: Option<u64>,
}

/// The shards of a replica. Dropping it ends everything without waiting: the shards are taken by others when their
/// Leases have run out. See [`stop`](Self::stop) for a better end.
pub struct ShardSet {
    events: mpsc::UnboundedReceiver<ShardEvent>,
    identity: String,
    stop: CancellationToken,
    /// `None`: it has ended, and that was returned.
    task: Option<AbortOnDropHandle<Result<(), ShardsEnded>>>,
}

/// An option of [`Shards`] cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidShards {
    /// There must be 1 to 1024 shards.
    #[error("{0} shards: there must be 1 to {MOST}")]
    Count(u32),
    /// The name is part of names of Leases, and a value of a label.
    #[error("{0:?} is not 1 to 40 lower case letters, digits and dashes, which may be only in between")]
    Name(String),
    /// There is no such shard.
    #[error(transparent)]
    Shard(#[from] InvalidShard),
    /// An option of the Leases.
    #[error(transparent)]
    Election(#[from] InvalidElection),
}

impl Shards {
    /// Returns a builder for `count` shards. All replicas use the same name and count; other programs in the namespace
    /// use other names.
    pub fn new(client: kube::Client, name: impl Into<String>, count: u32) -> Self {
        let name = name.into();
        Self { client, election: Election::new(name.clone()), name, count, seed: None }
    }

    /// Sets the namespace of the Leases. The default is the client's default namespace: in a pod its own.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.election = self.election.namespace(namespace);
        self
    }

    /// Sets the name of this replica, which must differ from those of all others. The default is the host's name and a
    /// random part.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.election = self.election.identity(identity);
        self
    }

    /// Sets how long after the last sign of life of a replica its shards are taken by others, 15 s by default.
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.election = self.election.lease_duration(duration);
        self
    }

    /// Sets how long after the start of the last successful renewal a replica stops working on a shard, 10 s by default.
    pub fn renew_deadline(mut self, deadline: Duration) -> Self {
        self.election = self.election.renew_deadline(deadline);
        self
    }

    /// Sets the time between two renewals, 2 s by default.
    pub fn retry_period(mut self, period: Duration) -> Self {
        self.election = self.election.retry_period(period);
        self
    }

    /// Sets the seed of the random parts of waits, for tests that are repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Becomes a member and takes shards.
    ///
    /// # Errors
    /// Fails if an option cannot work.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub fn start(self) -> Result<ShardSet, InvalidShards> {
        self.check()?;
        let (election, identity) = self.election.identified();
        let (sender, events) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let coordinator = Coordinator {
            client: self.client,
            name: self.name,
            count: self.count,
            identity: identity.clone(),
            election,
            rng: self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            events: sender,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(coordinator.run(stop.clone())));
        Ok(ShardSet { events, identity, stop, task: Some(task) })
    }

    /// Returns one of the shards, which this replica does not own.
    ///
    /// # Errors
    /// Fails if an option cannot work.
    pub(crate) fn example(&self) -> Result<OwnedShard, InvalidShards> {
        self.check()?;
        Ok(OwnedShard::new(0, self.count, Shard::by_namespace(0, self.count)?, Fence::closed()))
    }

    fn check(&self) -> Result<(), InvalidShards> {
        if self.count == 0 || self.count > MOST {
            return Err(InvalidShards::Count(self.count));
        }
        if !is_name(&self.name) {
            return Err(InvalidShards::Name(self.name.clone()));
        }
        Ok(self.election.check()?)
    }
}

impl ShardSet {
    /// Returns the name of this replica.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Waits for the next event. Returns `None` after [`stop`](Self::stop), when all shards are released. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// Fails if a task of the shards has panicked. All shards are lost then.
    pub async fn next(&mut self) -> Result<Option<ShardEvent>, ShardsEnded> {
        if let Some(event) = self.events.recv().await {
            return Ok(Some(event));
        }
        let Some(task) = &mut self.task else { return Ok(None) };
        let ended = task.await;
        self.task = None;
        ended?.map(|()| None)
    }

    /// Leaves: gives up all shards, so that others take them. Go on to call [`next`](Self::next) until it returns `None`:
    /// each shard is still revoked, and waits for your acknowledgement.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// Whether a text can be part of the name of a Lease.
fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
