//! stub
use crate::cache::Cache;
use crate::metrics::OperatorMetrics;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
pub(crate) struct View;
impl View {
    pub(crate) fn new(_n: &str, _l: watch::Receiver<crate::election::Leadership>) -> Self {
        Self
    }
    pub(crate) fn add(
        &mut self,
        _n: &str,
        _c: Vec<Arc<dyn Cache>>,
        _a: mpsc::Sender<oneshot::Sender<crate::inspect::Queue>>,
    ) {
    }
    pub(crate) fn with_metrics(self, _m: OperatorMetrics) -> Self {
        self
    }
}
