//! Clients for the contexts of a kubeconfig.

use anyhow::Result;
use http::HeaderName;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Creates a client for one of the contexts.
pub(crate) async fn client_for(kubeconfig: &Kubeconfig, context: &str) -> Result<Client> {
    Ok(Client::try_from(config_for(kubeconfig, context).await?)?)
}

pub(crate) async fn config_for(kubeconfig: &Kubeconfig, context: &str) -> Result<Config> {
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await?;
    config.default_retry = false;
    // kube reads `as`, but does not act on it.
    if let Some(user) = &config.auth_info.impersonate {
        config.headers.push((HeaderName::from_static("impersonate-user"), user.parse()?));
    }
    Ok(config)
}
