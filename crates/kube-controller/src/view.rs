//! What can be seen of an operator from outside.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use kube_informer::Phase;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::election::{ElectionStatus, Leadership};
use crate::inspect::{Queue, Queues};
use crate::lock::lock;
use crate::metrics::{ControllerMetrics, OperatorMetrics};

/// How long a controller may take to describe its queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// An operator from outside.
pub(crate) struct View {
    pub(crate) operator: Arc<str>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) election: Option<ElectionStatus>,
    pub(crate) metrics: OperatorMetrics,
    controllers: Mutex<Vec<Controller>>,
}

/// A controller from outside.
#[derive(Clone)]
pub(crate) struct Controller {
    pub(crate) name: Arc<str>,
    pub(crate) caches: Vec<Arc<dyn Cache>>,
    pub(crate) inspect: mpsc::Sender<oneshot::Sender<Queue>>,
    pub(crate) metrics: Arc<ControllerMetrics>,
    /// Cancelled when it is to end.
    pub(crate) ending: CancellationToken,
}

impl View {
    /// Describes an operator without controllers.
    pub(crate) fn new(
        operator: Arc<str>,
        leadership: watch::Receiver<Leadership>,
        election: Option<ElectionStatus>,
        metrics: OperatorMetrics,
    ) -> Self {
        Self { operator, leadership, election, metrics, controllers: Mutex::default() }
    }

    /// Shows a controller.
    pub(crate) fn show(&self, controller: Controller) {
        lock(&self.controllers).push(controller);
    }

    /// Shows controllers of these names no longer. What they have counted stays.
    pub(crate) fn hide(&self, names: &[Arc<str>]) {
        let hidden = |controller: &mut Controller| names.contains(&controller.name);
        for controller in lock(&self.controllers).extract_if(.., hidden) {
            controller.metrics.end();
        }
    }

    /// Returns why it is not ready, a line for each cache that is not. A standby is ready if its caches are: it can take over at
    /// any moment.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for Controller { name, caches, .. } in lock(&self.controllers).iter() {
            for cache in caches {
                let status = cache.status();
                if status.is_ready() {
                    continue;
                }
                let phase = match &status.phase {
                    Phase::Watching if status.stale => "nothing was received for too long".to_owned(),
                    phase => phase.to_string(),
                };
                reasons.push(format!("{name}: {}: {}", cache.kind(), one_line(&phase)));
            }
        }
        if let Some(error) = self.election.as_ref().and_then(ElectionStatus::error) {
            reasons.push(format!("leader election: {}", one_line(&error)));
        }
        reasons
    }

    /// Returns why it is not healthy: a task of a controller has ended.
    pub(crate) fn not_healthy(&self) -> Vec<String> {
        let controllers = lock(&self.controllers);
        let ended = controllers
            .iter()
            .filter(|controller| controller.inspect.is_closed() && !controller.ending.is_cancelled());
        ended.map(|controller| format!("{}: its task has ended", controller.name)).collect()
    }

    /// Returns the metrics of the operator and its controllers.
    pub(crate) fn metrics(&self) -> String {
        for controller in lock(&self.controllers).iter() {
            controller.metrics.publish();
        }
        self.metrics.encode()
    }

    /// Asks each controller for its queue.
    pub(crate) async fn queues(&self) -> Queues {
        let controllers = lock(&self.controllers).clone();
        let asked = controllers.iter().map(|controller| async {
            let (answer, queue) = oneshot::channel();
            let asked = async {
                controller.inspect.send(answer).await.ok()?;
                queue.await.ok()
            };
            let queue = timeout(PATIENCE, asked).await.ok().flatten();
            queue.ok_or_else(|| controller.name.to_string())
        });
        let (mut controllers, mut unanswered) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(queue) => controllers.push(queue),
                Err(name) => unanswered.push(name),
            }
        }
        let leads = self.leadership.borrow().leads();
        let holder = self.election.as_ref().and_then(ElectionStatus::holder);
        Queues { operator: self.operator.to_string(), leads, holder, controllers, unanswered }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
