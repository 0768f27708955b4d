//! Programs in the background whose logs are kept in files.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::program;

/// A running program that logs JSON objects with a `timestamp` and a `message`, one a line, killed on drop.
pub struct Logged {
    child: Child,
    log: PathBuf,
}

/// What a program logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What, without its details.
    pub message: String,
}

impl Logged {
    /// Starts a program, whose stdout and stderr go into a new file of this name.
    ///
    /// # Errors
    /// Fails if it cannot be run, or the file cannot be written.
    pub fn start(mut command: Command, log: &Path) -> Result<Logged> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{:?}", command.as_std()))?;
        Ok(Logged { child, log: log.to_owned() })
    }

    /// Returns what it has logged until now. What is not JSON is left out, as is a line that is not complete yet.
    ///
    /// # Errors
    /// Fails if the log cannot be read, or a line has no time.
    pub fn lines(&self) -> Result<Vec<Line>> {
        let text = self.text()?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .map(|line| {
                let at = line["timestamp"].as_str().context("a line without a time")?;
                let message = line["message"].as_str().unwrap_or_default().to_owned();
                Ok(Line { at: at.parse()?, message })
            })
            .collect()
    }

    /// Returns all of its log.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// Fails if the system cannot tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// Fails if it has ended before, or does not end within `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        program::signal(&self.child, Signal::TERM)?;
        Ok(timeout(limit, self.child.wait()).await.context("it still runs")??)
    }

    /// Sends SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// Fails if it has ended before.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}
