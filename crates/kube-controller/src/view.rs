//! What can be seen of an operator from outside.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kube_informer::Phase;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::election::{ElectionStatus, Leadership};
use crate::inspect::{Queue, Queues};
use crate::metrics::OperatorMetrics;

/// How long a controller may take to describe its queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// An operator from outside.
pub(crate) struct View {
    pub(crate) operator: Arc<str>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) election: Option<ElectionStatus>,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) metrics: OperatorMetrics,
    /// The operator ends: its controllers, too.
    pub(crate) ending: CancellationToken,
}

/// A controller from outside.
pub(crate) struct Controller {
    pub(crate) name: Arc<str>,
    pub(crate) caches: Vec<Arc<dyn Cache>>,
    pub(crate) inspect: mpsc::Sender<oneshot::Sender<Queue>>,
}

impl View {
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
        if self.ending.is_cancelled() {
            return Vec::new();
        }
        let ended = self.controllers.iter().filter(|controller| controller.inspect.is_closed());
        ended.map(|controller| format!("{}: its task has ended", controller.name)).collect()
    }

    pub(crate) fn metrics(&self) -> String {
        self.metrics.encode()
    }

    /// Asks each controller for its queue.
    pub(crate) async fn queues(&self) -> Queues {
        let asked = self.controllers.iter().map(|controller| async {
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
