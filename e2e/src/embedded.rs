//! kube-embedded behind a real socket: each test has a server of its own, which takes milliseconds.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;
use kube_embedded::{Endpoint, Server};

/// A running server.
pub(crate) struct Embedded {
    server: Arc<Server>,
    /// `None` while it is stopped.
    endpoint: Mutex<Option<Endpoint>>,
    address: String,
    kubeconfig: Kubeconfig,
}

impl Embedded {
    pub(crate) async fn start() -> Result<Embedded> {
        let server = Arc::new(Server::start());
        let nobody = server.add_user("nobody", &[]);
        let endpoint = server.listen("127.0.0.1:0").await?;
        let kubeconfig = with_context("admin", endpoint.kubeconfig())
            .merge(with_context("nobody", endpoint.kubeconfig_with("nobody", &nobody)))?;
        let address = endpoint.addr().to_string();
        Ok(Embedded { server, endpoint: Mutex::new(Some(endpoint)), address, kubeconfig })
    }

    /// For the users `admin` (the current context) and `nobody`.
    pub(crate) fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    /// Closes the socket and its connections; the data stays.
    pub(crate) async fn stop(&self) -> Result<()> {
        let endpoint = self.endpoint().take();
        endpoint.context("the server is stopped already")?.stop().await;
        Ok(())
    }

    /// Listens on the same address again.
    pub(crate) async fn resume(&self) -> Result<()> {
        let endpoint = self.server.listen(&self.address).await?;
        *self.endpoint() = Some(endpoint);
        Ok(())
    }

    pub(crate) fn compact(&self) {
        self.server.compact();
    }

    fn endpoint(&self) -> std::sync::MutexGuard<'_, Option<Endpoint>> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same with its one context under this name, and current.
fn with_context(name: &str, mut kubeconfig: Kubeconfig) -> Kubeconfig {
    for context in &mut kubeconfig.contexts {
        name.clone_into(&mut context.name);
    }
    kubeconfig.current_context = Some(name.to_owned());
    kubeconfig
}
