//! What a program learns of its shards.

use kube_informer::{InvalidShard, Shard};
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::election::CampaignEnded;
use crate::fence::Fence;

/// A shard came or goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShardEvent {
    /// This replica owns a shard now.
    Acquired(OwnedShard),
    /// A shard is to be given up, or was lost. The work on it must end.
    Revoked(RevokedShard),
}

/// A shard that this replica owns, until it is revoked. Clones are the same one.
#[derive(Clone, Debug)]
pub struct OwnedShard {
    index: u32,
    count: u32,
    shard: Shard,
    fence: Fence,
}

/// A shard that this replica has to give up. It keeps the shard until this is acknowledged or dropped: keep it until the
/// work on the shard has ended.
#[derive(Debug)]
#[must_use = "dropping it says that the work on the shard has ended"]
pub struct RevokedShard {
    shard: OwnedShard,
    /// Dropped to acknowledge.
    _drained: oneshot::Sender<()>,
}

/// The tasks of the shards have ended by themselves, which only a panic explains.
#[derive(Debug, thiserror::Error)]
#[error("a task of the shards has ended")]
pub struct ShardsEnded(#[source] Option<Box<dyn std::error::Error + Send + Sync>>);

impl OwnedShard {
    pub(super) fn new(index: u32, count: u32, shard: Shard, fence: Fence) -> Self {
        Self { index, count, shard, fence }
    }

    /// Returns the only one of one shard, which nobody else can own.
    pub(crate) fn everything() -> Result<Self, InvalidShard> {
        Ok(Self::new(0, 1, Shard::by_namespace(0, 1)?, Fence::open()))
    }

    /// Returns its number, counted from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns how many shards there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Returns the shard for an informer: [`kube_informer::InformerBuilder::shard`].
    #[must_use]
    pub fn informer_shard(&self) -> Shard {
        self.shard.clone()
    }

    /// Whether objects of this namespace are in this shard. Those of cluster-scoped types have an empty namespace.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        self.shard.contains(namespace)
    }

    /// Whether this replica still owns the shard. Check it right before a write; a write that was sent before may arrive
    /// later.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.fence.check(Instant::now()).is_ok()
    }

    /// Waits until this replica does not own the shard any more. Dropping the future loses nothing.
    pub async fn lost(&self) {
        self.fence.closed_wait().await;
    }

    /// Returns the fence of the requests of runs on this shard.
    pub(crate) fn fence(&self) -> Fence {
        self.fence.clone()
    }
}

impl RevokedShard {
    /// Returns the shard, and what is acknowledged when the first is dropped.
    pub(super) fn new(shard: OwnedShard) -> (Self, oneshot::Receiver<()>) {
        let (drained, acknowledged) = oneshot::channel();
        (Self { shard, _drained: drained }, acknowledged)
    }

    /// Returns its number, counted from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.shard.index
    }

    /// Whether this replica still owns the shard, so that what is under way can be finished. If not, the shard was lost.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.shard.is_owned()
    }

    /// Acknowledges that the work on the shard has ended. Another replica may take it from now on.
    pub fn ack(self) {}
}

impl From<JoinError> for ShardsEnded {
    fn from(error: JoinError) -> Self {
        Self(Some(Box::new(error)))
    }
}

impl From<CampaignEnded> for ShardsEnded {
    fn from(error: CampaignEnded) -> Self {
        Self(Some(Box::new(error)))
    }
}
