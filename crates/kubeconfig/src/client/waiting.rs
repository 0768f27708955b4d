//! Waiting for an exec plugin, which may take as long as a person does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a run may take before it is noticed.
pub(super) type Notice = (Duration, Arc<dyn Fn() + Send + Sync>);

/// Whether a plugin runs now, and who wants to know when that takes long.
pub(crate) struct Waiting {
    runs: watch::Sender<bool>,
    notice: Mutex<Option<Notice>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { runs: watch::Sender::new(false), notice: Mutex::default() }
    }
}

impl Waiting {
    pub(super) fn set_notice(&self, notice: Notice) {
        *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice);
    }

    /// Completes as soon as the plugin runs, or does not run.
    pub(super) async fn until(&self, runs: bool) {
        // Fails only if the sender is gone, which is here.
        let _ = self.runs.subscribe().wait_for(|now| *now == runs).await;
    }

    /// Awaits a run of the plugin.
    pub(super) async fn patiently<T>(&self, run: impl Future<Output = T>) -> T {
        let _end = Run::begin(&self.runs);
        let mut run = std::pin::pin!(run);
        let notice = self.notice.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((after, notice)) = notice {
            match timeout(after, &mut run).await {
                Ok(ended) => return ended,
                Err(_) => notice(),
            }
        }
        run.await
    }
}

/// Marks the end of a run when it is dropped, however the run ended.
struct Run<'a>(&'a watch::Sender<bool>);

impl<'a> Run<'a> {
    fn begin(runs: &'a watch::Sender<bool>) -> Self {
        runs.send_replace(true);
        Self(runs)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}
