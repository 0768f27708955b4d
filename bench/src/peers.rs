//! The programs in Go, in `bench/peers`.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{fill::NAMESPACE, usage::progress};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// A program, and the library that it measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program {
    /// client-go's informers.
    Informer,
    /// controller-runtime's controllers.
    Controller,
    /// cel-go, as kube-apiserver uses it.
    Cel,
}

impl Program {
    fn folder(self) -> &'static str {
        match self {
            Program::Informer => "informer",
            Program::Controller => "controller",
            Program::Cel => "cel",
        }
    }

    fn library(self) -> (&'static str, &'static str) {
        match self {
            Program::Informer => ("client-go", "k8s.io/client-go"),
            Program::Controller => ("controller-runtime", "sigs.k8s.io/controller-runtime"),
            Program::Cel => ("cel-go", "github.com/google/cel-go"),
        }
    }
}

/// A built program.
pub(crate) struct Peer {
    folder: TempDir,
    version: String,
}

impl Peer {
    /// Builds the program. Without Go, prints that its library is skipped, and returns `None`.
    pub(crate) async fn build(program: Program) -> Result<Option<Peer>> {
        let (library, module) = program.library();
        if Command::new("go").arg("version").stdout(Stdio::null()).status().await.is_err() {
            progress(&format!("{library} is skipped: `go` is not on the PATH"))?;
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("bench-peers-").tempdir()?;
        progress(&format!("building bench/peers/{}", program.folder()))?;
        let status = Command::new("go")
            .args(["build", "-o"])
            .arg(folder.path().join("peer"))
            .arg(format!("./{}", program.folder()))
            .current_dir(SOURCE)
            .kill_on_drop(true)
            .status()
            .await?;
        ensure!(status.success(), "`go build` in bench/peers failed; `--clients` chooses clients without Go");
        let version = Command::new("go")
            .args(["list", "-m", "-f", "{{.Version}}", module])
            .current_dir(SOURCE)
            .output()
            .await?;
        let version = String::from_utf8(version.stdout).with_context(|| format!("{library}'s version"))?;
        Ok(Some(Peer { folder, version: format!("{library} {}", version.trim()) }))
    }

    /// The name and version of the library.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Returns the command that runs the program as a client of a server. More arguments can be added.
    pub(crate) fn client(&self, kubeconfig: &Path) -> Command {
        let mut command = self.command();
        command.arg("-kubeconfig").arg(kubeconfig).args(["-namespace", NAMESPACE]);
        command
    }

    /// Returns the command that runs the program, without arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("peer"));
        // Go's defaults apply.
        command.env_remove("GOMEMLIMIT").env_remove("GOGC");
        command
    }
}
