//! Child processes that end with this process, however it ends.
//!
//! The servers are children of a shell whose stdin is a pipe from this process. The kernel closes the pipe when this
//! process ends, even if it is killed, and the shell then kills the servers and removes their folder. Nothing else works
//! everywhere without `unsafe`: a destructor does not run on SIGKILL, and a parent-death signal must be requested between
//! fork and exec.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::eventually;

/// The prefix of the names of the servers' folders.
pub(crate) const PREFIX: &str = "e2e-control-plane-";

/// Servers and their folder. On drop, the servers are killed and the folder is removed.
pub(crate) struct Supervisor {
    folder: PathBuf,
    shell: Child,
    commands: Mutex<Option<ChildStdin>>,
}

impl Supervisor {
    /// Starts the shell with a new folder.
    pub(crate) fn new() -> Result<Supervisor> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        let mut shell = Command::new("sh")
            .args(["-c", include_str!("supervise.sh"), "supervise"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A ctrl-c in the terminal goes only to this process; the shell reacts when this process ends.
            .process_group(0)
            .spawn()
            .context("start the shell that supervises the servers")?;
        let commands = Mutex::new(shell.stdin.take());
        Ok(Supervisor { folder: folder.keep(), shell, commands })
    }

    /// Returns the folder for the servers' files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a server under a name, which must be a single word.
    pub(crate) fn start(&self, name: &str, command: &[String]) -> Result<()> {
        // The shell does not do this, because it reads its commands later: from now on, `exited` is about this start.
        match std::fs::remove_file(self.exit_file(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut line = format!("start {name}");
        for word in command {
            ensure!(!word.contains('\n'), "a line break in the command of {name}");
            write!(line, " '{}'", word.replace('\'', r"'\''"))?;
        }
        self.send(&line)
    }

    /// Kills a server and waits until it has ended.
    pub(crate) async fn stop(&self, name: &str) -> Result<()> {
        self.send(&format!("stop {name}"))?;
        eventually(Duration::from_secs(10), || async {
            ensure!(self.exited(name), "{name} does not end");
            Ok(())
        })
        .await
    }

    /// Reports whether a server that was started has ended.
    pub(crate) fn exited(&self, name: &str) -> bool {
        self.exit_file(name).exists()
    }

    fn exit_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.exit"))
    }

    /// Returns the last lines that a server printed.
    pub(crate) fn log_tail(&self, name: &str) -> String {
        let log = std::fs::read(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn send(&self, line: &str) -> Result<()> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = commands.as_mut().context("the supervisor was ended")?;
        writeln!(pipe, "{line}").context("write to the supervisor")
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.commands.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        // The shell kills the servers, so this takes milliseconds. Nothing can be done about a failure.
        let _ = self.shell.wait();
    }
}
