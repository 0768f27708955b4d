//! The controllers that clients rely on: namespaces and definitions are removed with their contents, dependents with
//! their owners, storage once nothing uses it, each namespace gets its `default` ServiceAccount, quotas count what their namespace
//! uses, the types of policies are checked, servers behind APIServices are asked whether they are available, and Events expire.
//!
//! One task does all the work, one piece at a time, with the operations of the [`Cluster`]. Only what waits for other servers is
//! done beside it.

mod aggregated;
mod api_service;
mod calls;
mod definition;
mod events;
mod garbage;
mod namespace;
#[cfg(feature = "cel")]
mod policy_status;
mod protection;
mod remote;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;

use self::calls::{Calls, Outcome};
use self::garbage::GarbageCollector;
use crate::clock::Timer;
use crate::cluster::{Cluster, Work};

/// How often old history and old Events are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Works until the server is dropped. If it panics, the server fails.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let _guard = Guard(&cluster);
    let mut garbage = GarbageCollector::default();
    let mut calls = Calls::new(&cluster.clock);
    let mut expire = cluster.clock.timer(EXPIRE_EVERY);
    let mut delayed = Delayed::default();
    loop {
        tokio::select! {
            // In this order, so that what happens does not depend on chance.
            biased;
            () = cluster.ended.cancelled() => return,
            () = expire.due() => {
                cluster.store.expire();
                events::expire(&cluster).await;
                expire = cluster.clock.timer(EXPIRE_EVERY);
            }
            work = delayed.next() => perform(&cluster, &mut garbage, &mut calls, work).await,
            work = calls.next() => cluster.work.push(work),
            work = cluster.work.pop() => match (&work, cluster.options.namespace_deletion_delay) {
                (Work::Namespace(_), Some(delay)) => delayed.push(work, || cluster.clock.timer(delay)),
                _ => perform(&cluster, &mut garbage, &mut calls, work).await,
            },
        }
        // A long queue must not starve the other tasks of a single-threaded runtime.
        consume_budget().await;
    }
}

async fn perform(cluster: &Arc<Cluster>, garbage: &mut GarbageCollector, calls: &mut Calls, work: Work) {
    match work {
        // These controllers and the expiry of Events are kube-apiserver's own, the others kube-controller-manager's.
        Work::Definition(name) => definition::finalize(cluster, &name).await,
        Work::ApiService(ref name) => {
            let (cluster, name) = (Arc::clone(cluster), name.clone());
            calls.start(work, || Box::pin(api_service::check(cluster, name)));
        }
        #[cfg(test)]
        Work::Panic => panic!("as a test wants it"),
        _ if cluster.options.no_controllers => {}
        Work::Namespace(ref name) => {
            let done = namespace::finalize(Arc::clone(cluster), name.clone());
            // Others take their time.
            if cluster.asks_about_deletions() || cluster.api_services.current(&cluster.store).has_remote() {
                calls.start(work, || Box::pin(done));
            } else {
                match done.await {
                    failed @ Outcome::Failed { .. } => {
                        calls.start(work, || Box::pin(std::future::ready(failed)));
                    }
                    _ => calls.forget(&work),
                }
            }
        }
        Work::ServiceAccount(name) => cluster.create_default_account(&name),
        Work::Collect(location) => garbage.collect(cluster, calls, &location).await,
        Work::Finalize(location) => garbage.finalize(cluster, calls, &location).await,
        Work::OwnerGone(gone) => garbage.owner_gone(cluster, calls, gone).await,
        Work::Disowned(uid) => garbage.disowned(cluster, &uid),
        Work::Quotas(namespace) => cluster.recount_quotas(&namespace),
        Work::Protected(location) => protection::release(cluster, &location),
        Work::SchemeChanged => garbage.scheme_changed(cluster),
        #[cfg(feature = "cel")]
        Work::Policy(name) => policy_status::check(cluster, &name).await,
    }
}

/// Work for later, all of it with the same delay.
#[derive(Debug, Default)]
struct Delayed {
    queue: VecDeque<(Timer, Work)>,
}

impl Delayed {
    /// Adds a piece of work, unless it already waits.
    fn push(&mut self, work: Work, timer: impl FnOnce() -> Timer) {
        if !self.queue.iter().any(|(_, waiting)| *waiting == work) {
            self.queue.push_back((timer(), work));
        }
    }

    /// Waits until a piece of work is due.
    async fn next(&mut self) -> Work {
        if let Some((timer, _)) = self.queue.front_mut() {
            timer.due().await;
            if let Some((_, work)) = self.queue.pop_front() {
                return work;
            }
        }
        std::future::pending().await
    }
}

/// Fails the server if a controller panics. Otherwise deletions would never complete, and nobody would know why.
struct Guard<'a>(&'a Cluster);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a controller has panicked, which is a bug of this server");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::Options;
    use crate::random::Random;
    use crate::store::Store;

    #[tokio::test]
    async fn a_panic_fails_the_server() {
        let cluster = Arc::new(Cluster::new(
            Store::new(Clock::default()),
            Clock::default(),
            Random::default(),
            Options::default(),
        ));
        assert_eq!(cluster.settled().await, Ok(()));
        cluster.work.push(Work::Panic);
        assert!(tokio::spawn(run(Arc::clone(&cluster))).await.is_err());
        assert_eq!(cluster.settled().await.unwrap_err().code, 500);
        assert!(cluster.watches.is_cancelled() && !cluster.ended.is_cancelled());
    }
}
