//! Runs programs to completion, and finds kubectl.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::timeout,
};

/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(150);

/// The outcome of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Sends a signal to a program that runs in the background.
///
/// # Errors
/// Fails if it has ended.
pub fn signal(program: &Child, signal: Signal) -> Result<()> {
    let process = program.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("it has ended")?;
    Ok(kill_process(process, signal)?)
}

/// The version of kubectl whose messages the tests expect; they differ between releases.
pub(crate) const KUBECTL_VERSION: &str = "1.37";

/// Finds kubectl: the first of `TEST_ASSET_KUBECTL`, the one in `KUBEBUILDER_ASSETS`, and those on `PATH` that has
/// [`KUBECTL_VERSION`].
pub(crate) fn kubectl() -> Option<&'static Path> {
    static FOUND: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let named = env::var_os("TEST_ASSET_KUBECTL").map(PathBuf::from);
        let asset = env::var_os("KUBEBUILDER_ASSETS").map(|folder| PathBuf::from(folder).join("kubectl"));
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|folder| folder.join("kubectl"));
        named.into_iter().chain(asset).chain(on_path).find(|program| is_expected(program))
    });
    FOUND.as_deref()
}

/// Prepares kubectl for a server that a test has started itself. `None`: there is none of the version that tests expect.
pub fn kubectl_for(kubeconfig: &Path) -> Option<Command> {
    let mut command = Command::new(kubectl()?);
    command.arg("--kubeconfig").arg(kubeconfig).kill_on_drop(true);
    Some(command)
}

fn is_expected(kubectl: &Path) -> bool {
    let asked = std::process::Command::new(kubectl).args(["version", "--client", "-o", "json"]).output();
    let version: Option<serde_json::Value> =
        asked.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
    let version = version.as_ref().and_then(|version| version["clientVersion"]["gitVersion"].as_str());
    version.is_some_and(|version| version.starts_with(&format!("v{KUBECTL_VERSION}.")))
}

/// Removes the variables that describe this program's package from a command's environment. Some build scripts (ring's)
/// depend on them, so a cargo that inherited them would rebuild these crates and their dependents.
pub fn without_package(command: &mut std::process::Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Runs a program to its end, with `input` as its stdin.
///
/// # Errors
/// Fails if it cannot be run, or takes longer than a minute.
pub async fn run(mut command: Command, input: &str) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = format!("{:?}", command.as_std());
    let mut child = command.spawn().with_context(|| program.clone())?;
    let mut stdin = child.stdin.take().context("stdin")?;
    let write = async move {
        // It is not an error if the program does not read its stdin.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    // At the same time, because a program may wait until its output is read before it reads on.
    let finish = async { tokio::join!(write, child.wait_with_output()).1 };
    let output = timeout(LIMIT, finish).await.with_context(|| format!("{program}: still running"))??;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

impl Output {
    /// Returns its standard output, if it succeeded.
    ///
    /// # Errors
    /// Fails if its exit code is not 0.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == Some(0), "{self:?}");
        Ok(self.stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_read_while_input_is_written() {
        let input = "a line\n".repeat(100_000);
        let output = run(Command::new("cat"), &input).await.unwrap();
        assert_eq!(output.stdout, input);
    }
}
