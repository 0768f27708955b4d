//! A container as the bring-up of a cluster sees it: something to run commands in and to copy files to. The engine's
//! containers implement it, and so does the tests' recording node.

use anyhow::{Context as _, Result, bail};

use crate::program::Output;

/// A running container.
pub(crate) trait Node {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// Fails if it cannot be run. A command that fails is not an error but an [`Output`].
    async fn exec(&self, command: &[&str]) -> Result<Output>;

    /// Writes a file. Its folder must exist, and must not be below `/tmp` or `/run`: their mounts would hide the file.
    ///
    /// # Errors
    /// Fails if the engine refuses.
    async fn upload(&self, path: &str, content: &[u8]) -> Result<()>;
}

/// Runs a command, and returns its stdout if it succeeds.
///
/// # Errors
/// Fails if the command fails. The message contains the command, its exit code, and one line of its output: the last that
/// begins with "error", or else the last. (kubeadm prints advice after its error.)
pub(crate) async fn run(node: &impl Node, command: &[&str]) -> Result<String> {
    let text = command.join(" ");
    let output = node.exec(command).await.with_context(|| format!("run `{text}`"))?;
    if output.code == Some(0) {
        return Ok(output.stdout);
    }
    let lines = || output.stdout.lines().chain(output.stderr.lines()).filter(|line| !line.trim().is_empty());
    let is_error = |line: &&str| line.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("error"));
    let said = lines().rfind(is_error).or_else(|| lines().next_back());
    let code = output.code.unwrap_or(-1);
    bail!("`{text}` ended with exit code {code}: {}", said.map_or("it said nothing", str::trim))
}
