//! kube-embedded behind a real socket. Each test starts its own server, which takes milliseconds.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;
use kube_embedded::{
    Endpoint, RequestHeaders, Server,
    faults::{Fault, Injection, Verb},
};

use crate::{
    front_proxy::{FRONT_PROXY, FrontProxies},
    given::{self, Identity},
    need::WatchLists,
};

/// A running server.
pub(crate) struct Embedded {
    server: Arc<Server>,
    /// `None` while it is stopped.
    endpoint: Mutex<Option<Endpoint>>,
    address: String,
    kubeconfig: Kubeconfig,
    administrator: Identity,
    proxies: FrontProxies,
    _without_watch_lists: Option<Injection>,
}

impl Embedded {
    pub(crate) async fn start(watch_lists: WatchLists) -> Result<Embedded> {
        // As kube-apiserver is started.
        let proxies = FrontProxies::new()?;
        let proxy = proxies.issue(FRONT_PROXY)?;
        let mut headers = RequestHeaders::default();
        headers.allowed_names.push(FRONT_PROXY.to_owned());
        let server = Server::builder()
            .disable_admission_plugins(["ServiceAccount"])?
            .front_proxies(proxies.authority().as_bytes(), headers)?
            .proxy_certificate(proxy.certificate.as_bytes(), proxy.key.as_bytes())?
            .start()?;
        let server = Arc::new(server);
        let nobody = server.add_user("nobody", &[]);
        let endpoint = server.listen("127.0.0.1:0").await?;
        let kubeconfig = with_context("admin", endpoint.kubeconfig())
            .merge(with_context("nobody", endpoint.kubeconfig_with("nobody", &nobody)))?;
        let certified = endpoint.kubeconfig_with_certificate("admin", &["system:masters"])?;
        let administrator = given::identity(&certified).context("the administrator's certificate")?;
        let address = endpoint.addr().to_string();
        let without_watch_lists = (watch_lists == WatchLists::Off)
            .then(|| server.faults().on(Verb::Watch, "*").inject(Fault::WatchListRefused));
        Ok(Embedded {
            server,
            endpoint: Mutex::new(Some(endpoint)),
            address,
            kubeconfig,
            administrator,
            proxies,
            _without_watch_lists: without_watch_lists,
        })
    }

    /// Returns a kubeconfig for the users `admin` (the current context) and `nobody`.
    pub(crate) fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    /// Returns the client certificate that its administrator may use instead of a token.
    pub(crate) fn administrator(&self) -> &Identity {
        &self.administrator
    }

    /// Returns the authority of its front proxies.
    pub(crate) fn proxies(&self) -> &FrontProxies {
        &self.proxies
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

/// Renames the kubeconfig's only context, and makes it the current one.
fn with_context(name: &str, mut kubeconfig: Kubeconfig) -> Kubeconfig {
    for context in &mut kubeconfig.contexts {
        name.clone_into(&mut context.name);
    }
    kubeconfig.current_context = Some(name.to_owned());
    kubeconfig
}
