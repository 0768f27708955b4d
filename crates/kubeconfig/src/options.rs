//! The entry points [`Options::load`] and [`Options::view`], and what the caller may choose.

use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;
use crate::error::Error;
use crate::merge::Merged;
use crate::resolve::{self, Explicit};
use crate::resolved::ResolvedConfig;

/// What to load. The options correspond to kubectl's flags; everything else comes from the environment and the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    environment: Option<Environment>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    connect_timeout: Option<Duration>,
}

impl Options {
    /// Reads only this file, which must exist (`--kubeconfig`). An empty path counts as unset.
    #[must_use]
    pub fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.kubeconfig = Some(path.into()).filter(|path| !path.as_os_str().is_empty());
        self
    }

    /// Selects this context instead of `current-context` (`--context`). An empty name counts as unset.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Sets how long establishing a connection may take, including TLS and proxy. The default is 30 s, as in
    /// client-go's dialer.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Looks the cluster up in this environment instead of the process's.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Reads the files and chooses the cluster. Blocks briefly on file I/O, but opens no connection and runs no exec
    /// plugin.
    ///
    /// # Errors
    /// Fails if the configuration is missing, cannot be read, or is invalid. See [`Error`] for the cases.
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

    /// Returns what `kubectl config view --merge --flatten --raw -o json` prints: all files merged, with the contents
    /// of certificate and key files in place of their paths. The value contains secrets.
    ///
    /// # Errors
    /// Returns [`Error::Read`] or [`Error::Malformed`] for a kubeconfig; [`Error::ReadReferenced`] for a certificate
    /// or key that cannot be read, and [`Error::InvalidEntry`] for one that is given both inline and as a file.
    pub fn view(&self) -> Result<serde_json::Value, Error> {
        Merged::read(&self.surroundings(), self.kubeconfig.as_deref())?.flatten()
    }

    fn surroundings(&self) -> Environment {
        self.environment.clone().unwrap_or_else(Environment::process)
    }
}
