//! `crdctl config`: how the cluster is chosen.

use std::{env, process::ExitCode};

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
    let mut options = kubeconfig::Options::default();
    if let Some(path) = &cluster.kubeconfig {
        options = options.kubeconfig(path);
    }
    if let Some(context) = &cluster.context {
        options = options.context(context);
    }
    options
}
