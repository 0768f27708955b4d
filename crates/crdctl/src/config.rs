//! `crdctl config`: how the cluster is chosen.

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::{cli::Cluster, explain};

/// Prints what was read and where each value came from.
pub(crate) fn run(cluster: &Cluster) -> Result<ExitCode> {
    let loaded = load(cluster)?;
    match write!(std::io::stdout(), "{}", loaded.report()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Finds the cluster that the command line and the environment ask for.
pub(crate) fn load(cluster: &Cluster) -> Result<kubeconfig::Loaded> {
    let mut options = kubeconfig::Options::default();
    if let Some(path) = &cluster.kubeconfig {
        options = options.kubeconfig(path);
    }
    if let Some(context) = &cluster.context {
        options = options.context(context);
    }
    options.load().map_err(explain::configuration)
}
