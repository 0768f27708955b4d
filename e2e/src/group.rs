//! Ends a program together with everything that it starts.

use std::process::{self, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

/// A program in its own process group: a ctrl-c in the terminal goes only to its owner, who drops this. The whole group is
/// killed on drop, and also when the owner itself is killed. The program's stdin is empty.
pub struct Group {
    child: Child,
    leader: Option<Pid>,
    /// Closed when this process ends, however it ends.
    _pipe: Option<ChildStdin>,
}

impl Group {
    /// Starts a program. If it cannot be run, the exit code is 126 or 127, as in a shell.
    ///
    /// # Errors
    /// Fails if there is no shell.
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
    /// Fails if the system cannot report it.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        // tokio closes a child's stdin before it waits for it; this one was taken out of the child.
        self.child.wait().await.context("wait for a program")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also after the leader has ended: processes that it started may still run. If none does, this has no effect.
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
