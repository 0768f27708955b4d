//! The Go program with client-go's informers, in `bench/peers`.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{fill::NAMESPACE, usage::progress};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// The built program.
pub(crate) struct Peers {
    folder: TempDir,
    client_go: String,
}

impl Peers {
    /// Builds the program. Without Go, prints that client-go is skipped, and returns `None`.
    pub(crate) async fn build() -> Result<Option<Peers>> {
        if Command::new("go").arg("version").stdout(Stdio::null()).status().await.is_err() {
            progress("client-go is skipped: `go` is not on the PATH")?;
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("bench-peers-").tempdir()?;
        progress("building bench/peers")?;
        let status = Command::new("go")
            .args(["build", "-o"])
            .arg(folder.path().join("peers"))
            .arg(".")
            .current_dir(SOURCE)
            .kill_on_drop(true)
            .status()
            .await?;
        ensure!(status.success(), "`go build` in bench/peers failed; `--clients` chooses clients without Go");
        let client_go = Command::new("go")
            .args(["list", "-m", "-f", "{{.Version}}", "k8s.io/client-go"])
            .current_dir(SOURCE)
            .output()
            .await?;
        let client_go = String::from_utf8(client_go.stdout).context("client-go's version")?.trim().to_owned();
        Ok(Some(Peers { folder, client_go }))
    }

    /// The version of client-go.
    pub(crate) fn client_go(&self) -> &str {
        &self.client_go
    }

    /// Returns the command that runs one client.
    pub(crate) fn command(&self, client: &str, kubeconfig: &Path) -> Command {
        let mut command = Command::new(self.folder.path().join("peers"));
        command.arg("-kubeconfig").arg(kubeconfig).args(["-namespace", NAMESPACE, "-client", client]);
        // Go's defaults apply.
        command.env_remove("GOMEMLIMIT").env_remove("GOGC");
        command
    }
}
