//! Builds our programs in Go: `e2e/go` has client-go and controller-runtime, used as their users use them, `e2e/cel` has
//! cel-go and kube-apiserver's libraries.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, sync::OnceCell};

use crate::need::Skipped;

type Built = Result<PathBuf, Skipped>;

/// Builds `e2e/go`, once per process, or returns why that is not possible. Nothing is downloaded for it, so the tests need
/// no network.
pub(crate) async fn clients() -> Result<Built> {
    static BINARY: OnceCell<Built> = OnceCell::const_new();
    BINARY.get_or_try_init(|| build("go", "e2e-go-clients")).await.cloned()
}

/// Builds `e2e/cel` in the same way.
pub(crate) async fn cel() -> Result<Built> {
    static BINARY: OnceCell<Built> = OnceCell::const_new();
    BINARY.get_or_try_init(|| build("cel", "e2e-cel")).await.cloned()
}

/// The folder of a program's source.
pub(crate) fn folder(source: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(source)
}

async fn build(source: &str, name: &str) -> Result<Built> {
    // This fails if a module is missing or requires a newer Go.
    let Ok(listed) = go(source, &["list", "-deps", "."]).output().await else {
        return Ok(Err(Skipped("`go` is not on PATH".to_owned())));
    };
    if !listed.status.success() {
        let complaint = String::from_utf8_lossy(&listed.stderr);
        let why = complaint.lines().next().unwrap_or_default();
        let why = format!("`go mod download` in e2e/{source} has not brought its modules: {why}");
        return Ok(Err(Skipped(why)));
    }
    let this = env::current_exe()?;
    let program = this.parent().context("a test program without a folder")?.join(name);
    let path = program.to_str().context("a target folder whose path is not Unicode")?;
    let built = go(source, &["build", "-o", path, "."]).output().await.context("run go build")?;
    ensure!(
        built.status.success(),
        "e2e/{source} does not build: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(Ok(program))
}

fn go(source: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(folder(source)).stdin(Stdio::null()).kill_on_drop(true);
    offline(&mut command);
    command
}

/// Makes `go` work with what is on this machine.
pub(crate) fn offline(command: &mut Command) {
    command.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly -buildvcs=false");
}
