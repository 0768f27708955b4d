//! The task of a member: gives signs of life, watches the Leases, and decides which shards are wanted.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, ObjectMeta, Preconditions};
use kube_informer::{Informers, Shard};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::event::{ShardEvent, ShardsEnded};
use super::members::{Role, View};
use super::shard::{ShardTask, Wanted};
use crate::election::{Election, Leadership, campaign};
use crate::fence::Fence;

const LABEL: &str = "kube-controller/shards";

pub(super) struct Coordinator {
    pub(super) client: kube::Client,
    pub(super) name: String,
    pub(super) count: u32,
    pub(super) identity: String,
    /// Its options, valid and with an identity, are those of all Leases.
    pub(super) election: Election,
    pub(super) rng: fastrand::Rng,
    pub(super) events: mpsc::UnboundedSender<ShardEvent>,
}

impl Coordinator {
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), ShardsEnded> {
        // Its own Lease is a sign of life, which nobody else competes for.
        let election = self.election(Role::Member { count: self.count });
        let Ok(mut member) = campaign(self.client.clone(), &election, self.rng.fork()) else { return Ok(()) };
        let mut membership = member.leadership();
        let nothing =
            || Wanted { shards: BTreeSet::new(), known: BTreeMap::new(), membership: Fence::closed() };
        let (wanted, receiver) = watch::channel(nothing());
        let mut tasks = self.shards(&receiver);
        drop(receiver);
        let mut cleanups = JoinSet::new();

        let namespace = self.election.namespace_or(self.client.default_namespace()).to_owned();
        let informers = Informers::new(self.client.clone());
        let selector = format!("{LABEL}={}", self.name);
        let leases = informers.typed::<Lease>().namespace(&namespace).label_selector(&selector).start();
        let mut changes = leases.subscribe();
        let (duration, margin) = (self.election.duration(), self.election.margin());
        let mut view = View::new(self.name.clone(), self.count, self.identity.clone(), duration, margin);

        while !stop.is_cancelled() {
            let now = Instant::now();
            if let Ok(snapshot) = leases.snapshot() {
                view.update(now, snapshot.iter().map(AsRef::as_ref));
            }
            let membership_now = fence(&membership.borrow_and_update(), now);
            if wanted.borrow().membership.check(now).is_err() {
                // Not a member, or a member again: others may have what it had.
                wanted.send_replace(nothing());
            }
            if let Some(membership) = membership_now
                && let Some(shards) = view.plan(now)
            {
                wanted.send_if_modified(|wanted| {
                    wanted.membership = membership;
                    if wanted.shards == shards {
                        return false;
                    }
                    wanted.known = view.known(&shards);
                    wanted.shards = shards;
                    true
                });
            }
            for lease in view.garbage(now) {
                cleanups.spawn(self.delete(&namespace, lease));
            }
            let next = view.next_change(now);
            tokio::select! {
                () = stop.cancelled() => {}
                error = member.ended() => return Err(error.into()),
                Some(ended) = tasks.join_next() => ended??,
                // The informer ends only when it is dropped.
                Some(_) = changes.next() => {}
                Ok(()) = membership.changed() => {}
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
                Some(_) = cleanups.join_next() => {}
            }
        }
        // All shards are revoked, and their tasks end. Others learn from the Lease of this member that they are to take them.
        wanted.send_replace(nothing());
        drop(wanted);
        let ended = async {
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Ok(())
        };
        tokio::join!(member.release(), ended).1
    }

    fn election(&self, role: Role) -> Election {
        self.election.on(role.lease(&self.name, &self.identity), (LABEL, self.name.clone()))
    }

    fn shards(
        &mut self,
        wanted: &watch::Receiver<Wanted>,
    ) -> JoinSet<Result<(), crate::election::CampaignEnded>> {
        let mut tasks = JoinSet::new();
        for index in 0..self.count {
            // The index is less than the count.
            let Ok(shard) = Shard::by_namespace(index, self.count) else { continue };
            let task = ShardTask {
                client: self.client.clone(),
                election: self.election(Role::Shard { index, count: self.count }),
                rng: self.rng.fork(),
                index,
                count: self.count,
                shard,
                wanted: wanted.clone(),
                events: self.events.clone(),
            };
            tasks.spawn(task.run());
        }
        tasks
    }

    /// Deletes a Lease as it was seen. Whoever may not does not, and another does.
    fn delete(&self, namespace: &str, lease: ObjectMeta) -> impl Future<Output = ()> + use<> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        let limit = self.election.request_timeout();
        let preconditions = Preconditions { uid: lease.uid, resource_version: lease.resource_version };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = lease.name.unwrap_or_default();
        async move {
            match timeout(limit, api.delete(&name, &parameters)).await {
                Ok(Ok(_)) => tracing::debug!(name, "deleted a Lease that nobody needs"),
                Ok(Err(error)) => {
                    tracing::debug!(name, %error, "a Lease that nobody needs could not be deleted");
                }
                Err(_) => tracing::debug!(name, "no answer when deleting a Lease that nobody needs"),
            }
        }
    }
}

/// Returns the fence of a term that lasts.
fn fence(leadership: &Leadership, now: Instant) -> Option<Fence> {
    match leadership {
        Leadership::Leading { fence } if fence.check(now).is_ok() => Some(fence.clone()),
        Leadership::Leading { .. } | Leadership::Standby { .. } => None,
    }
}
