//! A real terminal: programs run in tmux, whose screen the test reads.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{crdctl::Crdctl, eventually};

/// How long a text may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal in which one program runs. It ends with this value.
pub struct Terminal {
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

/// Reports whether tmux is installed.
pub(crate) fn is_available() -> bool {
    Command::new("tmux")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|ran| ran.success())
}

impl Terminal {
    /// Starts crdctl in a terminal of this size.
    ///
    /// # Errors
    /// Fails if tmux does not start.
    pub fn start(crdctl: Crdctl, columns: u16, rows: u16) -> Result<Terminal> {
        // The path of a socket may only have about 100 characters.
        let folder = tempfile::Builder::new().prefix("e2e-").tempdir_in("/tmp")?;
        let terminal = Terminal { socket: folder.path().join("tmux"), _folder: folder };
        let program = crdctl.into_command();
        let program = program.as_std();
        let mut command = terminal.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        command.args(["-x", &columns.to_string(), "-y", &rows.to_string()]);
        command.arg("--").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = program.get_current_dir() {
            command.current_dir(folder);
        }
        let output = command.output().context("run tmux")?;
        ensure!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        Ok(terminal)
    }

    /// Changes the width.
    ///
    /// # Errors
    /// Fails if the program has ended.
    pub fn resize(&self, columns: u16) -> Result<()> {
        self.done(&["resize-window", "-x", &columns.to_string()]).map(drop)
    }

    /// Types keys, in tmux's notation: `C-c`, `Enter`, or text.
    ///
    /// # Errors
    /// Fails if the program has ended.
    pub fn keys(&self, keys: &str) -> Result<()> {
        self.done(&["send-keys", keys]).map(drop)
    }

    /// Returns the lines on the screen, without spaces at their end.
    ///
    /// # Errors
    /// Fails if the program has ended.
    pub fn screen(&self) -> Result<Vec<String>> {
        let text = self.done(&["capture-pane", "-p"])?;
        Ok(text.lines().map(|line| line.trim_end().to_owned()).collect())
    }

    /// Waits until a line contains a text, and returns the screen.
    ///
    /// # Errors
    /// Fails if it takes longer than 30 s, or the program ends.
    pub async fn shows(&self, text: &str) -> Result<Vec<String>> {
        eventually(PATIENCE, || async {
            let screen = self.screen()?;
            ensure!(screen.iter().any(|line| line.contains(text)), "no {text:?} in {screen:#?}");
            Ok(screen)
        })
        .await
    }

    fn done(&self, arguments: &[&str]) -> Result<String> {
        let output = self.tmux(arguments).output().context("run tmux")?;
        ensure!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        // UTF-8, whatever the locale of this process.
        command
            .arg("-u")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already if its program has.
        let _ = self.tmux(&["kill-server"]).stderr(Stdio::null()).status();
    }
}
