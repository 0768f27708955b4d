//! `crdctl config`: how the cluster is chosen.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::{cli::Cluster, explain, stdio};

/// Prints the files that were read, and where each value comes from.
pub(crate) fn run(cluster: &Cluster) -> Result<ExitCode> {
    let resolved = options(cluster).load()?;
    let mut text = resolved.report().to_string();
    if let Some(namespace) = namespace_variable() {
        text += &format!("NAMESPACE  {namespace} (environment variable; the default of `crdctl watch -n`)\n");
    }
    stdio::print(&text)
}

/// Resolves the cluster that the command line and the environment choose.
pub(crate) fn load(cluster: &Cluster) -> Result<kubeconfig::ResolvedConfig> {
    options(cluster).load().map_err(explain::configuration)
}

/// Returns the environment variable `NAMESPACE`, which takes precedence over the context's namespace.
pub(crate) fn namespace_variable() -> Option<String> {
    env::var("NAMESPACE").ok().filter(|namespace| !namespace.is_empty())
}

fn options(cluster: &Cluster) -> kubeconfig::Options {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = |value: &Option<PathBuf>| value.clone().unwrap_or_default();
    kubeconfig::Options::default()
        .kubeconfig(path(&cluster.kubeconfig))
        .context(text(&cluster.context))
        .cluster(text(&cluster.cluster))
        .user(text(&cluster.user))
        .server(text(&cluster.server))
        .certificate_authority(path(&cluster.certificate_authority))
        .insecure_skip_tls_verify(cluster.insecure_skip_tls_verify.unwrap_or_default())
        .tls_server_name(text(&cluster.tls_server_name))
        .proxy_url(text(&cluster.proxy_url))
        .disable_compression(cluster.disable_compression.unwrap_or_default())
        .token(text(&cluster.token))
        .client_certificate(path(&cluster.client_certificate))
        .client_key(path(&cluster.client_key))
        .impersonate(text(&cluster.impersonate))
        .impersonate_groups(cluster.impersonate_groups.iter().cloned())
        .impersonate_uid(text(&cluster.impersonate_uid))
        .impersonate_user_extra(cluster.impersonate_user_extra.iter().cloned())
}
