//! The handle to an exec plugin that callers get.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::exec::Plugin;

/// The exec plugin of a [`ResolvedConfig`](crate::ResolvedConfig), for callers that limit how long a request may take: a
/// plugin may wait for a person, and nothing has been sent to the server until it ends.
#[derive(Clone)]
pub struct ExecPlugin(Arc<Plugin>);

impl ExecPlugin {
    pub(super) fn new(plugin: Arc<Plugin>) -> Self {
        Self(plugin)
    }

    /// Returns the command, as in the kubeconfig.
    pub fn command(&self) -> &str {
        self.0.command()
    }

    /// Calls `notice` whenever the plugin has run for `after` and still runs. It must not block. Replaces an earlier
    /// notice, for all clients of the same `ResolvedConfig`, from the next run on.
    pub fn on_wait(&self, after: Duration, notice: impl Fn() + Send + Sync + 'static) {
        self.0.waiting().set_notice((after, Arc::new(notice)));
    }

    /// Completes as soon as the plugin runs: at once if it runs now.
    pub async fn started(&self) {
        self.0.waiting().until(true).await;
    }

    /// Completes as soon as the plugin does not run: at once if it does not run now.
    pub async fn ended(&self) {
        self.0.waiting().until(false).await;
    }
}

impl fmt::Debug for ExecPlugin {
    /// Formats only the command, because arguments and variables may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecPlugin").field(&self.command()).finish()
    }
}
