#![doc = include_str!("../README.md")]

mod client;
mod cluster;
mod environment;
mod error;
mod in_cluster;
mod merge;
mod model;
mod node;
mod proxy;
mod report;
mod resolve;
mod user;
mod yaml;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use client::exec::ExecError;
pub use environment::Environment;
pub use error::Error;
pub use report::{AuthMethod, CertificateSource, FileReport, Located, Origin, Report};

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
    pub fn load(&self) -> Result<Loaded, Error> {
        let loaded = resolve::load(self, &self.surroundings())?;
        tracing::debug!(
            server = loaded.report.server.value,
            namespace = loaded.namespace(),
            "cluster chosen"
        );
        Ok(loaded)
    }

    /// What `kubectl config view --merge --flatten --raw -o json` prints: all files as one, with the content of
    /// certificate and key files in place of their paths. It holds secrets.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`], and [`Error::ReadReferenced`] for a certificate or key.
    pub fn view(&self) -> Result<serde_json::Value, Error> {
        merge::Merged::read(&self.surroundings(), self.kubeconfig.as_deref())?.flatten()
    }

    fn surroundings(&self) -> Environment {
        self.environment.clone().unwrap_or_else(Environment::process)
    }
}

/// The cluster that was chosen, and how.
#[derive(Clone)]
pub struct Loaded {
    config: kube::Config,
    auth: client::Auth,
    report: Report,
}

impl Loaded {
    /// A client with this crate's own authentication, proxy and TLS; it connects when a request needs it. Each
    /// call makes a client with connections of its own; clones of a client share them.
    ///
    /// # Errors
    /// [`Error::Client`], when certificates or keys cannot be used.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, as [`kube::Client::new`].
    pub fn client(&self) -> Result<kube::Client, Error> {
        client::build(&self.config, &self.auth).map_err(|source| Error::Client {
            server: self.report.server.value.clone(),
            source: Box::new(source),
        })
    }

    /// The same as kube's own type, for what needs one. It holds credentials. Prefer [`Loaded::client`]: a client
    /// that kube builds from this follows kube's rules for plugins, token files and proxies.
    pub fn config(&self) -> &kube::Config {
        &self.config
    }

    /// The namespace for requests that name none; `report().namespace` tells where it came from.
    pub fn namespace(&self) -> &str {
        &self.report.namespace.value
    }

    /// How the cluster was chosen.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Debug for Loaded {
    /// The report alone: the rest holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("report", &self.report).finish_non_exhaustive()
    }
}
