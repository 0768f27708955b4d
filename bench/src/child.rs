//! Runs a client that is measured in a process of its own.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::program;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

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

/// A client that is at work while others do something, and ends when its stdin is closed. It is killed on drop.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Result<Running> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().context("starting the client's process")?;
        let stdout = child.stdout.take().context("a child without stdout")?;
        Ok(Running { child, lines: BufReader::new(stdout).lines() })
    }

    /// Parses the next line of JSON that it prints.
    pub(crate) async fn line<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = timeout(LIMIT, self.lines.next_line())
            .await
            .with_context(|| format!("no line within {LIMIT:?}"))??;
        serde_json::from_str(&line.context("its process ended without a result")?).context("its result")
    }

    /// Closes its stdin. Parses the line that it prints at its end.
    pub(crate) async fn end<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.child.stdin.take());
        let result = self.line().await?;
        let status = timeout(LIMIT, self.child.wait()).await.context("it does not end")??;
        ensure!(status.success(), "its process ended with {status}");
        Ok(result)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        program::signal(&self.child, signal)
    }
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

    #[tokio::test]
    async fn a_process_at_work_ends_with_its_stdin() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 1; read line; echo 2"]);
        let mut running = Running::start(command).unwrap();
        assert_eq!(running.line::<u32>().await.unwrap(), 1);
        assert_eq!(running.end::<u32>().await.unwrap(), 2);
    }
}
