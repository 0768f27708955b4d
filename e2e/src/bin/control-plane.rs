//! Runs a real control plane while stdin is open, and prints the path of its kubeconfig.

use std::io::{Read as _, Write as _, stdin, stdout};

use anyhow::{Context as _, Result, bail};
use e2e::{Cluster, Need, Provider};
use tokio::task::spawn_blocking;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = match Cluster::start(Provider::Envtest, &[Need::Restart]).await? {
        Ok(cluster) => cluster,
        Err(reason) => bail!(reason.0),
    };
    let kubeconfig = cluster.kubeconfig_file()?;
    writeln!(stdout(), "KUBECONFIG={}", kubeconfig.display())?;
    spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await?.context("read stdin")?;
    Ok(())
}
