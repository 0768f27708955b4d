//! The chosen cluster, from which clients are built.

use std::fmt;

use crate::client::{self, Auth};
use crate::error::Error;
use crate::report::Report;

/// The chosen cluster, and how it was chosen.
#[derive(Clone)]
pub struct ResolvedConfig {
    pub(crate) config: kube::Config,
    pub(crate) auth: Auth,
    pub(crate) report: Report,
}

impl ResolvedConfig {
    /// Builds a client with this crate's authentication, proxy and TLS. It connects on the first request. Each call
    /// builds a client with its own connections; clones of a client share them.
    ///
    /// # Errors
    /// Returns [`Error::Client`] if certificates or keys cannot be used.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime, like [`kube::Client::new`].
    pub fn client(&self) -> Result<kube::Client, Error> {
        client::build(&self.config, &self.auth).map_err(|source| Error::Client {
            server: self.report.server.value.clone(),
            source: Box::new(source),
        })
    }

    /// Returns the configuration as kube's own type, which contains credentials. Prefer [`ResolvedConfig::client`]: a
    /// client that kube builds from this follows kube's rules for plugins, token files and proxies.
    pub fn config(&self) -> &kube::Config {
        &self.config
    }

    /// Returns the default namespace for requests. `report().namespace` also has its origin.
    pub fn namespace(&self) -> &str {
        &self.report.namespace.value
    }

    /// Returns how the cluster was chosen.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Debug for ResolvedConfig {
    /// Formats only the report, because the rest contains secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedConfig").field("report", &self.report).finish_non_exhaustive()
    }
}
