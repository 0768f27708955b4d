//! stub
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunId(u64);
#[derive(Clone, Copy, Debug)]
pub(crate) enum RunResult {
    Success,
    Requeue,
    RequeueAfter,
    Error,
    TerminalError,
    Panic,
    Timeout,
    Cancelled,
}
#[derive(Default)]
pub(crate) struct Requests;
impl Requests {
    pub(crate) fn count(&self, _m: &http::Method, _c: Option<http::StatusCode>) {}
}
pub(crate) struct ControllerMetrics;
impl ControllerMetrics {
    pub(crate) fn new(_c: &str, _n: usize) -> Arc<Self> {
        Arc::new(Self)
    }
    pub(crate) fn added(&self) {}
    pub(crate) fn retried(&self) {}
    pub(crate) fn taken(&self, _w: Duration) {}
    pub(crate) fn started(&self, _at: Instant) -> RunId {
        RunId(0)
    }
    pub(crate) fn finished(&self, _r: RunId, _x: RunResult, _t: Duration) {}
    pub(crate) fn set_depth(&self, _d: impl Iterator<Item = (i32, usize)>) {}
    pub(crate) fn own_write_waited(&self, _t: bool) {}
    pub(crate) fn hot_loop(&self) {}
}
pub(crate) struct OperatorMetrics;
impl OperatorMetrics {
    pub(crate) fn new(
        _n: &str,
        _i: &kube_informer::Informers,
        _l: tokio::sync::watch::Receiver<crate::election::Leadership>,
    ) -> Self {
        Self
    }
    pub(crate) fn add(&self, _c: Arc<ControllerMetrics>) {}
    pub(crate) fn requests(&self) -> Arc<Requests> {
        Arc::default()
    }
}
