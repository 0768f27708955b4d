//! A running exec plugin.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::terminal::Terminal;

/// A process that is killed when this is dropped. The terminal then has its settings again, and nothing of what was
/// typed for the process.
pub(super) struct Running {
    child: Child,
    terminal: Option<Terminal>,
    status: Option<ExitStatus>,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let terminal = Terminal::save();
        let child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        Ok(Self { child, terminal, status: None })
    }

    /// Waits for its end, and returns what it printed.
    pub(super) async fn output(&mut self) -> io::Result<(ExitStatus, Vec<u8>)> {
        let mut output = Vec::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut output).await?;
        }
        let status = self.child.wait().await?;
        self.status = Some(status);
        Ok((status, output))
    }

    /// Kills the process if it still runs. It could turn the echo off again, or read on, so its end is waited for, which
    /// takes no longer than the system needs to remove it.
    fn end(&mut self) {
        if self.status.is_some() || self.child.start_kill().is_err() {
            return;
        }
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if let Some(terminal) = &self.terminal {
            let ended_itself = self.status.is_some_and(|status| status.code().is_some());
            terminal.restore(!ended_itself);
        }
    }
}
