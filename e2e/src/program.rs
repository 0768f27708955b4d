//! Programs that a test runs against its cluster.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(60);

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

/// The version of kubectl whose words the tests expect; they differ from release to release.
pub(crate) const KUBECTL_VERSION: &str = "1.37";

/// The kubectl of the environment: `TEST_ASSET_KUBECTL`, that of `KUBEBUILDER_ASSETS`, or one on `PATH`; the first that is
/// of [`KUBECTL_VERSION`].
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

fn is_expected(kubectl: &Path) -> bool {
    let asked = std::process::Command::new(kubectl).args(["version", "--client", "-o", "json"]).output();
    let version: Option<serde_json::Value> =
        asked.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
    let version = version.as_ref().and_then(|version| version["clientVersion"]["gitVersion"].as_str());
    version.is_some_and(|version| version.starts_with(&format!("v{KUBECTL_VERSION}.")))
}

/// Keeps from a command what cargo told this program about its package. To some build scripts (ring's) it matters, so a
/// cargo that saw it would build all over again what depends on them.
pub fn without_package(command: &mut std::process::Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be run, or takes longer than a minute.
pub async fn run(mut command: Command, input: &str) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = format!("{:?}", command.as_std());
    let mut child = command.spawn().with_context(|| program.clone())?;
    let mut stdin = child.stdin.take().context("stdin")?;
    let finish = async {
        // A program that does not read is no error.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = timeout(LIMIT, finish).await.with_context(|| format!("{program}: still running"))??;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

impl Output {
    /// What it printed, if it succeeded.
    ///
    /// # Errors
    /// When its exit code is not 0.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == Some(0), "{self:?}");
        Ok(self.stdout)
    }
}
