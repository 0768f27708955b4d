//! A container as the bring-up of a cluster sees it: something to run commands in and to put files into. The engine's
//! is one; the tests have another, which records.

use anyhow::{Context as _, Result, bail};

use crate::program::Output;

/// A running container.
pub(crate) trait Node {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be run; that it fails is an [`Output`].
    async fn exec(&self, command: &[&str]) -> Result<Output>;

    /// Writes a file. Its folder is there, and below neither `/tmp` nor `/run`: these are mounted over what is written.
    ///
    /// # Errors
    /// When the engine refuses.
    async fn upload(&self, path: &str, content: &[u8]) -> Result<()>;
}

/// What a command printed, if it succeeded.
///
/// # Errors
/// When it did not: the command, its exit code, and what it complained of in one line: its last error, else its last
/// words. kubeadm says after its error how to see more of it.
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
