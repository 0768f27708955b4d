//! A real control plane ends with the process that started it, however that process ends.

use std::{
    io::{BufRead as _, BufReader, Write as _, stderr},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::eventually;
use kube::config::Kubeconfig;

/// A process with a control plane, whose temporary files are in `folder`.
struct Owner {
    process: Child,
    folder: tempfile::TempDir,
    server: SocketAddr,
}

fn start() -> Result<Option<Owner>> {
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        writeln!(stderr(), "skipped: supervision: KUBEBUILDER_ASSETS names no control plane")?;
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let mut process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("stdout")?).read_line(&mut line)?;
    let path = line.trim().strip_prefix("KUBECONFIG=").with_context(|| format!("it printed {line:?}"))?;
    let kubeconfig = Kubeconfig::read_from(path)?;
    let cluster =
        kubeconfig.clusters.first().and_then(|cluster| cluster.cluster.clone()).context("a cluster")?;
    let server = cluster.server.context("a server")?;
    let server = server.strip_prefix("https://").context("https")?.parse()?;
    Ok(Some(Owner { process, folder, server }))
}

/// Returns the servers' folder, which is removed when they end.
fn control_plane_folder(folder: &Path) -> Result<Option<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let is_control_plane = |path: &PathBuf| path.to_string_lossy().contains("e2e-control-plane-");
    Ok(entries.find_map(|path| path.ok().filter(is_control_plane)))
}

async fn everything_ends(owner: &Owner) -> Result<()> {
    eventually(Duration::from_secs(20), || async {
        ensure!(TcpStream::connect(owner.server).is_err(), "the API server still listens");
        let left = control_plane_folder(owner.folder.path())?;
        ensure!(left.is_none(), "{left:?} is still there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn ends_when_its_owner_is_killed() -> Result<()> {
    let Some(mut owner) = start()? else { return Ok(()) };
    TcpStream::connect(owner.server)?;
    ensure!(control_plane_folder(owner.folder.path())?.is_some(), "no folder");
    // SIGKILL: no destructor runs.
    owner.process.kill()?;
    owner.process.wait()?;
    everything_ends(&owner).await
}

#[tokio::test]
async fn ends_even_if_its_folder_was_removed() -> Result<()> {
    let Some(mut owner) = start()? else { return Ok(()) };
    let folder = control_plane_folder(owner.folder.path())?.context("no folder")?;
    // The servers continue to write, so some files may remain.
    let _ = std::fs::remove_dir_all(folder);
    owner.process.kill()?;
    owner.process.wait()?;
    everything_ends(&owner).await
}

#[tokio::test]
async fn ends_when_its_owner_returns() -> Result<()> {
    let Some(mut owner) = start()? else { return Ok(()) };
    drop(owner.process.stdin.take());
    ensure!(owner.process.wait()?.success(), "the owner failed");
    // It has waited for its servers to end.
    ensure!(TcpStream::connect(owner.server).is_err(), "the API server still listens");
    let left = std::fs::read_dir(owner.folder.path())?.count();
    ensure!(left == 0, "{left} files are left");
    Ok(())
}
