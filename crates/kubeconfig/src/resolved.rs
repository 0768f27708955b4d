//! The chosen cluster, ready to build clients for it.

use std::fmt;

use crate::client::{self, Auth};
use crate::error::Error;
use crate::report::Report;

/// The cluster that was chosen, and how.
#[derive(Clone)]
pub struct ResolvedConfig {
    pub(crate) config: kube::Config,
    pub(crate) auth: Auth,
    pub(crate) report: Report,
}

impl ResolvedConfig {
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

    /// The same as kube's own type, for what needs one. It holds credentials. Prefer [`ResolvedConfig::client`]: a client
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

impl fmt::Debug for ResolvedConfig {
    /// The report alone: the rest holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedConfig").field("report", &self.report).finish_non_exhaustive()
    }
}
