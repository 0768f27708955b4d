//! What the caller may choose, and the way in: [`Options::load`] and [`Options::view`].

use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;
use crate::error::Error;
use crate::merge::Merged;
use crate::resolve::{self, Explicit};
use crate::resolved::ResolvedConfig;

/// What kubectl's flags say; everything else comes from the environment and the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    environment: Option<Environment>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    connect_timeout: Option<Duration>,
}

impl Options {
    /// Reads this file alone (`--kubeconfig`); it must exist. An empty path is as none.
    #[must_use]
    pub fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.kubeconfig = Some(path.into()).filter(|path| !path.as_os_str().is_empty());
        self
    }

    /// Uses this context rather than `current-context` (`--context`). An empty name is as none.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// How long a connection may take, TLS and proxy included. By default 30 s, as client-go's dialer.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Looks for the cluster in these surroundings rather than in the process's.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Reads the files, and chooses the cluster. Blocks on file IO, briefly; no connection is made and no
    /// exec plugin runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(&self) -> Result<ResolvedConfig, Error> {
        let explicit = Explicit { kubeconfig: self.kubeconfig.as_deref(), context: self.context.as_deref() };
        let mut resolved = resolve::resolve(&explicit, &self.surroundings())?;
        if let Some(timeout) = self.connect_timeout {
            resolved.config.connect_timeout = Some(timeout);
        }
        tracing::debug!(
            server = resolved.report.server.value,
            namespace = resolved.namespace(),
            "cluster chosen"
        );
        Ok(resolved)
    }

    /// What `kubectl config view --merge --flatten --raw -o json` prints: all files as one, with the content of
    /// certificate and key files in place of their paths. It holds secrets.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`], and [`Error::ReadReferenced`] for a certificate or key.
    pub fn view(&self) -> Result<serde_json::Value, Error> {
        Merged::read(&self.surroundings(), self.kubeconfig.as_deref())?.flatten()
    }

    fn surroundings(&self) -> Environment {
        self.environment.clone().unwrap_or_else(Environment::process)
    }
}
