//! What a cluster's controllers do that clients rely on: namespaces and definitions end with what is in them, what is
//! owned goes with its owner, and each namespace has its ServiceAccount.
//!
//! One task does all of it, one piece of work at a time.

pub(crate) mod definition;
mod events;
pub(crate) mod garbage;
mod namespace;

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::api::Api;
use crate::server::Shared;
use crate::store::Place;

/// How often old history and old events are forgotten.
const EXPIRE_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// Something for a controller to look at. Looking twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A namespace that is being deleted.
    Namespace(String),
    /// A namespace that needs its `default` ServiceAccount.
    ServiceAccount(String),
    /// A definition that is being deleted.
    Definition(String),
    /// An object that names owners, some of which may be gone.
    Collect(Place),
    /// An object that is being deleted before or without what it owns.
    Finalize(Place),
}

/// Does work until the server is dropped.
pub(crate) async fn run(shared: Arc<Shared>, mut work: UnboundedReceiver<Work>) {
    let api = &shared.api;
    let mut expire = api.clock.timer(EXPIRE_EVERY);
    loop {
        tokio::select! {
            () = api.ended.cancelled() => return,
            next = work.recv() => match next {
                Some(work) => perform(api, work).await,
                None => return,
            },
            () = expire.due() => {
                api.store.expire();
                events::expire(api).await;
                expire = api.clock.timer(EXPIRE_EVERY);
            }
        }
        // A long queue must not hold up the other tasks of a runtime with one thread.
        tokio::task::yield_now().await;
    }
}

async fn perform(api: &Api, work: Work) {
    match work {
        Work::Namespace(name) => namespace::finalize(api, &name).await,
        Work::ServiceAccount(name) => namespace::service_account(api, &name),
        Work::Definition(name) => definition::finalize(api, &name).await,
        Work::Collect(place) => garbage::collect(api, &place),
        Work::Finalize(place) => garbage::finalize(api, &place),
    }
}
