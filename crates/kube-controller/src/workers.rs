//! The tasks of an operator's controllers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube_informer::Shard;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::controller::{Controller, Surroundings};
use crate::dry_run::DryRun;
use crate::election::Leadership;
use crate::events::Events;
use crate::observer::Observer;
use crate::shutdown::RunError;
use crate::view::{self, View};
use crate::worker::{CacheStopped, Orders, Parts, Worker};

/// Starts the controllers of an operator, with what they share.
pub(crate) struct Spawner {
    pub(crate) client: Client,
    pub(crate) name: Arc<str>,
    pub(crate) dry_run: Option<DryRun>,
    pub(crate) events: Events,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) view: Arc<View>,
}

/// Controllers that begin and end together.
pub(crate) struct Workers {
    tasks: JoinSet<Result<(), CacheStopped>>,
    drain: CancellationToken,
    cancel: CancellationToken,
    names: Vec<Arc<str>>,
    view: Arc<View>,
}

/// Checks that no two controllers have the same name.
///
/// # Errors
/// Fails if two have.
pub(crate) fn check(controllers: &[Controller]) -> Result<(), RunError> {
    let mut names = HashSet::new();
    match controllers.iter().find(|controller| !names.insert(&controller.name)) {
        Some(twice) => Err(RunError::SameName(twice.name.clone())),
        None => Ok(()),
    }
}

/// Checks that controllers are for the objects of a shard only: with those of others, several replicas would run one object.
/// What they own, watch and read may be of all shards.
///
/// # Errors
/// Fails if the informer of one has another shard, or none.
pub(crate) fn check_shard(controllers: &[Controller], shard: &Shard) -> Result<(), RunError> {
    let is_of_others =
        |controller: &&Controller| controller.caches.first().is_some_and(|of| of.shard() != Some(shard));
    match controllers.iter().find(is_of_others) {
        Some(controller) => Err(RunError::NotOfTheShard { controller: controller.name.clone() }),
        None => Ok(()),
    }
}

impl Spawner {
    /// Starts controllers, whose names were [checked](check). They can be seen from outside until they end.
    pub(crate) fn start(
        &mut self,
        controllers: Vec<Controller>,
        leadership: &watch::Receiver<Leadership>,
    ) -> Workers {
        let mut workers = Workers {
            tasks: JoinSet::new(),
            drain: CancellationToken::new(),
            cancel: CancellationToken::new(),
            names: Vec::new(),
            view: Arc::clone(&self.view),
        };
        for controller in controllers {
            let (inspect, inspections) = mpsc::channel(4);
            let name: Arc<str> = controller.name.into();
            workers.names.push(Arc::clone(&name));
            let metrics = self.view.metrics.controller(&name, controller.concurrency);
            self.view.show(view::Controller {
                name: Arc::clone(&name),
                caches: controller.caches.clone(),
                inspect,
                metrics: Arc::clone(&metrics),
                ending: workers.drain.clone(),
            });
            let orders = Orders {
                leadership: leadership.clone(),
                drain: workers.drain.clone(),
                cancel: workers.cancel.clone(),
                inspections,
            };
            let surroundings = Surroundings {
                events: self.events.clone(),
                field_manager: Arc::clone(&self.name),
                shutting_down: workers.drain.clone(),
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
                dry_run: self.dry_run.clone(),
                requests: self.view.metrics.requests(),
                metrics,
                observer: self.observer.clone(),
                rng: self.rng.fork(),
            };
            workers.tasks.spawn(Worker::new(parts, orders).run());
        }
        workers
    }
}

impl Workers {
    /// Waits until one ends by itself, which none should.
    pub(crate) async fn failed(&mut self) -> RunError {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    return RunError::CacheStopped { controller: error.controller.to_string() };
                }
                Some(Err(_)) => return RunError::Panicked,
                None => std::future::pending().await,
            }
        }
    }

    /// Ends them: no more runs begin, and those under way are cancelled after this time.
    ///
    /// # Errors
    /// Fails if one has panicked.
    pub(crate) async fn end(mut self, grace: Duration) -> Result<(), RunError> {
        self.drain.cancel();
        let drained = timeout(grace, self.all()).await;
        self.cancel.cancel();
        let rest = match drained {
            Ok(rest) => rest,
            Err(_) => self.all().await,
        };
        self.view.hide(&self.names);
        rest
    }

    async fn all(&mut self) -> Result<(), RunError> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err() {
                result = Err(RunError::Panicked);
            }
        }
        result
    }
}
