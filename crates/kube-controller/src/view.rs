//! What can be seen of an operator from outside.

use std::sync::Arc;
use std::time::Duration;

use kube_informer::Phase;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::cache::Cache;
use crate::election::{ElectionStatus, Leadership};
use crate::inspect::{Queue, Queues};
use crate::metrics::OperatorMetrics;

/// How long a controller may take to describe its queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// An operator from outside.
pub(crate) struct View {
    operator: Arc<str>,
    leadership: watch::Receiver<Leadership>,
    election: Option<ElectionStatus>,
    controllers: Vec<Controller>,
    metrics: OperatorMetrics,
}

/// A controller from outside.
pub(crate) struct Controller {
    pub(crate) name: Arc<str>,
    pub(crate) caches: Vec<Arc<dyn Cache>>,
    pub(crate) inspect: mpsc::Sender<oneshot::Sender<Queue>>,
}

impl View {
    pub(crate) fn new(
        operator: Arc<str>,
        leadership: watch::Receiver<Leadership>,
        election: Option<ElectionStatus>,
        controllers: Vec<Controller>,
        metrics: OperatorMetrics,
    ) -> Self {
        Self { operator, leadership, election, controllers, metrics }
    }

    /// Returns why it is not ready, a line for each cache that is not. A standby is ready if its caches are: it can take over at
    /// any moment.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for Controller { name, caches, .. } in &self.controllers {
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
        let ended = self.controllers.iter().filter(|controller| controller.inspect.is_closed());
        ended.map(|controller| format!("{}: its task has ended", controller.name)).collect()
    }

    pub(crate) fn metrics(&self) -> String {
        self.metrics.encode()
    }

    /// Asks each controller for its queue. One that does not answer is left out.
    pub(crate) async fn queues(&self) -> Queues {
        let mut controllers = Vec::new();
        for controller in &self.controllers {
            let (answer, queue) = oneshot::channel();
            let asked = async {
                controller.inspect.send(answer).await.ok()?;
                queue.await.ok()
            };
            if let Ok(Some(queue)) = timeout(PATIENCE, asked).await {
                controllers.push(queue);
            }
        }
        let leads = match &*self.leadership.borrow() {
            Leadership::Leading { fence, .. } => fence.check(Instant::now()).is_ok(),
            Leadership::Standby { .. } => false,
        };
        let holder = self.election.as_ref().and_then(ElectionStatus::holder);
        Queues { operator: self.operator.to_string(), leads, holder, controllers }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
