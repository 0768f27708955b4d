//! A program and all that it starts, ended together.

use std::process::ExitStatus;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A program in a process group of its own: a ctrl-c in the terminal goes to its owner, who drops this. All of the group
/// is killed then.
pub struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(mut command: Command) -> Result<Group> {
        let program = command.as_std().get_program().display().to_string();
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("run {program}"))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Group { child, leader })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("wait for a program")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also after the leader's end: what it started may still run. If nothing does there is nothing to kill.
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
