//! A program and all that it starts, ended together.

use std::process::{self, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

/// A program in a process group of its own: a ctrl-c in the terminal goes to its owner, who drops this. All of the group
/// is killed then, and also when the owner itself is killed. The program's stdin is empty.
pub struct Group {
    child: Child,
    leader: Option<Pid>,
    /// Closes with this process, however it ends.
    _pipe: Option<ChildStdin>,
}

impl Group {
    /// Starts it. One that cannot be run ends with exit code 126 or 127, as in a shell.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn start(command: &process::Command) -> Result<Group> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", include_str!("group.sh"), "group"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        let child = shell.stdin(Stdio::piped()).process_group(0).kill_on_drop(true).spawn();
        let program = command.get_program().display();
        let mut child = child.with_context(|| format!("start the shell that runs {program}"))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pipe = child.stdin.take();
        Ok(Group { child, leader, _pipe: pipe })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        // tokio closes the stdin of a child that is waited for; this one's is held here.
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
