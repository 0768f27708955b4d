//! An existing cluster: the current context of the user's kubeconfig.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;
use url::{Host, Url};

use crate::given::contexts;

/// The user's cluster, as it is passed to the tests.
pub struct Existing {
    /// A kubeconfig with the contexts `admin` and `nobody`.
    pub kubeconfig: Kubeconfig,
    /// The name of the user's context.
    pub context: String,
    /// The server's URL.
    pub server: String,
}

impl Existing {
    /// Reads the kubeconfig from `KUBECONFIG`, or else from `~/.kube/config`.
    ///
    /// # Errors
    /// Fails if there is no kubeconfig, or its current context does not resolve to a cluster and a user.
    pub fn current() -> Result<Existing> {
        let kubeconfig = Kubeconfig::read()
            .context("read the kubeconfig: the current context of KUBECONFIG or ~/.kube/config is used")?;
        let context = kubeconfig.current_context.clone().unwrap_or_default();
        let kubeconfig = contexts(&kubeconfig)?;
        let cluster = kubeconfig.clusters.first().and_then(|named| named.cluster.as_ref());
        let server = cluster.and_then(|cluster| cluster.server.clone());
        let server =
            server.with_context(|| format!("the cluster of the context {context:?} has no server"))?;
        Ok(Existing { kubeconfig, context, server })
    }

    /// Reports whether the server is on this machine, according to its URL: a loopback address or a localhost name.
    pub fn is_local(&self) -> bool {
        let Ok(url) = Url::parse(&self.server) else { return false };
        match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_server_has_an_address_of_this_machine() {
        let is_local = |server: &str| {
            let (context, server) = ("c".to_owned(), server.to_owned());
            Existing { kubeconfig: Kubeconfig::default(), context, server }.is_local()
        };
        for server in
            ["https://127.0.0.1:6443", "https://127.1.2.3", "https://[::1]:6443", "https://localhost"]
        {
            assert!(is_local(server), "{server}");
        }
        for server in [
            "https://10.0.0.1:6443",
            "https://cluster.example.com",
            "https://127.0.0.1.example.com",
            "",
            "https://localhost.example.com",
        ] {
            assert!(!is_local(server), "{server}");
        }
    }
}
