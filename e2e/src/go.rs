//! Builds the program in `e2e/go`: client-go and controller-runtime, used as their users use them.

use std::{env, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, sync::OnceCell};

use crate::need::Skipped;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");

/// Builds the program, once per process, or returns why that is not possible. Nothing is downloaded for it, so the tests
/// need no network.
pub(crate) async fn binary() -> Result<Result<PathBuf, Skipped>> {
    static BINARY: OnceCell<Result<PathBuf, Skipped>> = OnceCell::const_new();
    BINARY.get_or_try_init(build).await.cloned()
}

async fn build() -> Result<Result<PathBuf, Skipped>> {
    // This fails if a module is missing or requires a newer Go.
    let Ok(listed) = go(&["list", "-deps", "."]).output().await else {
        return Ok(Err(Skipped("`go` is not on PATH".to_owned())));
    };
    if !listed.status.success() {
        let complaint = String::from_utf8_lossy(&listed.stderr);
        let why = complaint.lines().next().unwrap_or_default();
        return Ok(Err(Skipped(format!("`go mod download` in e2e/go has not brought its modules: {why}"))));
    }
    let this = env::current_exe()?;
    let deps = this.parent().context("a test program without a folder")?;
    let program = deps.join("e2e-go-clients");
    let path = program.to_str().context("a target folder whose path is not Unicode")?;
    let built = go(&["build", "-o", path, "."]).output().await.context("run go build")?;
    ensure!(built.status.success(), "e2e/go does not build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(Ok(program))
}

fn go(arguments: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(SOURCE).stdin(Stdio::null()).kill_on_drop(true);
    command.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly -buildvcs=false");
    command
}
