//! Runs a client that is measured in a process of its own.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;
use tokio::{process::Command, time::timeout};

/// The time limit of a client.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Returns a command that runs this program with other arguments.
pub(crate) fn myself() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// Runs a command, and parses the line of JSON that it prints.
pub(crate) async fn result<T: DeserializeOwned>(mut command: Command) -> Result<T> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output =
        timeout(LIMIT, command.output()).await.with_context(|| format!("not done within {LIMIT:?}"))??;
    ensure!(output.status.success(), "its process ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("its process printed no result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_fails_or_says_nothing_is_an_error() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(result::<u32>(shell("echo 7")).await.unwrap(), 7);
        assert!(result::<u32>(shell("exit 3")).await.unwrap_err().to_string().contains("exit status: 3"));
        assert!(result::<u32>(shell("true")).await.unwrap_err().to_string().contains("no result"));
    }
}
