//! The task of one shard: takes it while it is wanted, and gives it up when the program has ended its work.

use std::collections::{BTreeMap, BTreeSet};

use kube_informer::Shard;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::event::{OwnedShard, RevokedShard, ShardEvent};
use crate::election::{CampaignEnded, Election, Known, Leadership, campaign_knowing};
use crate::fence::Fence;

/// The shards that this member should own, until it is not a member any more.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) shards: BTreeSet<u32>,
    /// What was known of those that others owned when this was decided.
    pub(super) known: BTreeMap<u32, Known>,
    /// Closed when the sign of life of this member has run out.
    pub(super) membership: Fence,
}

pub(super) struct ShardTask {
    pub(super) client: kube::Client,
    pub(super) election: Election,
    pub(super) rng: fastrand::Rng,
    pub(super) index: u32,
    pub(super) count: u32,
    pub(super) shard: Shard,
    /// When this member leaves, nothing is wanted and the sender is dropped.
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) events: mpsc::UnboundedSender<ShardEvent>,
}

impl ShardTask {
    pub(super) async fn run(mut self) -> Result<(), CampaignEnded> {
        let index = self.index;
        while self.wanted.wait_for(|wanted| wanted.shards.contains(&index)).await.is_ok() {
            let known = self.wanted.borrow().known.get(&index).cloned();
            // The options were checked at the start.
            let Ok(mut campaign) =
                campaign_knowing(self.client.clone(), &self.election, self.rng.fork(), known)
            else {
                break;
            };
            let mut leadership = campaign.leadership();
            tokio::select! {
                () = self.hold(&mut leadership) => {}
                error = campaign.ended() => return Err(error),
            }
            campaign.release().await;
        }
        Ok(())
    }

    /// Competes for the shard until it is not wanted any more and the program has ended its work.
    async fn hold(&mut self, leadership: &mut watch::Receiver<Leadership>) {
        loop {
            let fence = tokio::select! {
                biased;
                () = unwanted(&mut self.wanted, self.index) => return,
                fence = leads(leadership) => fence,
            };
            // The time may be past: a process that was stopped finds itself here before it hears that it is no member.
            if self.wanted.borrow().membership.check(Instant::now()).is_err() {
                return;
            }
            let shard = OwnedShard::new(self.index, self.count, self.shard.clone(), fence.clone());
            let _ = self.events.send(ShardEvent::Acquired(shard.clone()));
            tokio::select! {
                () = unwanted(&mut self.wanted, self.index) => {}
                () = fence.closed_wait() => {}
            }
            let (revoked, acknowledged) = RevokedShard::new(shard);
            let _ = self.events.send(ShardEvent::Revoked(revoked));
            // Fails when it is dropped, which is the acknowledgement.
            let _ = acknowledged.await;
        }
    }
}

async fn unwanted(wanted: &mut watch::Receiver<Wanted>, index: u32) {
    // If the sender is gone, so is the member.
    let _ = wanted.wait_for(|wanted| !wanted.shards.contains(&index)).await;
}

async fn leads(leadership: &mut watch::Receiver<Leadership>) -> Fence {
    let is_open = |leadership: &Leadership| match leadership {
        Leadership::Leading { fence } => fence.check(Instant::now()).is_ok(),
        Leadership::Standby { .. } => false,
    };
    if let Ok(leadership) = leadership.wait_for(is_open).await
        && let Leadership::Leading { fence } = &*leadership
    {
        return fence.clone();
    }
    // The task of the election has ended; its owner finds out.
    std::future::pending().await
}
