//! Runs the real `crdctl` program, as a user does.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::OnceCell,
    time::timeout,
};

use crate::program::{self, Output};

/// How long the next line, or the program's end, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call of crdctl in an isolated environment: its own home folder, and none of the caller's variables that it reads.
pub struct Crdctl {
    command: Command,
}

/// A running crdctl, killed on drop.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Crdctl {
    /// Prepares a call with `home` as its home folder.
    ///
    /// # Errors
    /// Fails if the program is missing or outdated and cannot be built.
    pub async fn new(home: &Path) -> Result<Crdctl> {
        Ok(Self::of(program().await?, home))
    }

    /// Prepares a call of `blog-operator` instead, in an environment of the same kind.
    ///
    /// # Errors
    /// Fails if the program is missing or outdated and cannot be built.
    pub async fn operator(home: &Path) -> Result<Crdctl> {
        static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
        Ok(Self::of(binary("blog-operator", &PROGRAM).await?, home))
    }

    fn of(program: PathBuf, home: &Path) -> Crdctl {
        let mut command = Command::new(program);
        for variable in [
            "KUBECONFIG",
            "POD_NAME",
            "NAMESPACE",
            "POD_NAMESPACE",
            "RUST_LOG",
            "KUBERNETES_SERVICE_HOST",
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
        ] {
            command.env_remove(variable);
        }
        command.env("HOME", home).env("TMPDIR", home).current_dir(home).env("RUST_BACKTRACE", "0");
        Crdctl { command }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Adds arguments, separated by whitespace.
    pub fn args(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_whitespace());
        self
    }

    /// Returns the command, to be run in another way.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Fails if it takes longer than a minute.
    pub async fn run(self) -> Result<Output> {
        program::run(self.command, "").await
    }

    /// Starts it.
    ///
    /// # Errors
    /// Fails if it cannot be run.
    pub fn start(mut self) -> Result<Running> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.command.spawn().context("run crdctl")?;
        let lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let stderr = BufReader::new(child.stderr.take().context("stderr")?).lines();
        Ok(Running { child, lines, stderr })
    }
}

impl Running {
    /// Returns the next line of stdout.
    ///
    /// # Errors
    /// Fails if the output ends, or no line arrives within 30 s. The message contains the program's stderr.
    pub async fn line(&mut self) -> Result<String> {
        let next = timeout(PATIENCE, self.lines.next_line()).await;
        match next.context("no line in time").and_then(|line| line?.context("it ended")) {
            Ok(line) => Ok(line),
            Err(error) => {
                self.child.start_kill()?;
                let mut said = String::new();
                self.stderr.get_mut().read_to_string(&mut said).await?;
                Err(error.context(format!("crdctl said {said}")))
            }
        }
    }

    /// Waits for a line of stdout that has these words, and skips other lines.
    ///
    /// # Errors
    /// Fails as [`Running::line`] does.
    pub async fn line_with(&mut self, words: &[&str]) -> Result<String> {
        loop {
            let line = self.line().await.with_context(|| format!("waiting for {words:?}"))?;
            if words.iter().all(|word| line.split_whitespace().any(|found| found == *word)) {
                return Ok(line);
            }
        }
    }

    /// Waits for a line of stderr that contains a text.
    ///
    /// # Errors
    /// Fails if the output ends, or no such line arrives within 30 s.
    pub async fn complaint(&mut self, text: &str) -> Result<String> {
        let find = async {
            while let Some(line) = self.stderr.next_line().await? {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            anyhow::bail!("it ended")
        };
        timeout(PATIENCE, find)
            .await
            .context("not in time")
            .flatten()
            .with_context(|| format!("waiting for {text}"))
    }

    /// Sends a signal by name, such as `INT`.
    ///
    /// # Errors
    /// Fails if it has ended already.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let process = self.child.id().context("crdctl has ended")?;
        // This uses the shell's `kill`, because std can send only SIGKILL.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().await?;
        ensure!(sent.success(), "kill -{name} {process}");
        Ok(())
    }

    /// Waits for its end. Returns its exit status and the rest of stderr.
    ///
    /// # Errors
    /// Fails if it does not end within `limit`.
    pub async fn ends_within(mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        let status = timeout(limit, self.child.wait()).await.context("crdctl still runs")??;
        let mut said = String::new();
        self.stderr.get_mut().read_to_string(&mut said).await?;
        Ok((status, said))
    }

    /// Closes the pipe that its stdout is connected to.
    pub fn close_stdout(self) -> Closed {
        drop(self.lines);
        Closed { child: self.child, _stderr: self.stderr }
    }
}

/// A running crdctl whose stdout is closed.
pub struct Closed {
    child: Child,
    _stderr: Lines<BufReader<ChildStderr>>,
}

impl Closed {
    /// Waits for its end, and returns its exit status.
    ///
    /// # Errors
    /// Fails if it does not end within 30 s.
    pub async fn ends(mut self) -> Result<ExitStatus> {
        Ok(timeout(PATIENCE, self.child.wait()).await.context("crdctl still runs")??)
    }
}

/// Returns the path of crdctl, built as this program is.
///
/// # Errors
/// Fails if the program is missing or outdated and cannot be built.
pub async fn program() -> Result<PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    binary("crdctl", &PROGRAM).await
}

/// When this process began to look for the program or to build it, and when that was done.
static BUILD: (OnceLock<Instant>, OnceLock<Instant>) = (OnceLock::new(), OnceLock::new());

/// Returns the program next to this one in the target folder. Builds it, at most once per process, if it is missing or
/// older than one of its source files. `cargo test --workspace` has already built it.
async fn binary(name: &str, found: &OnceCell<PathBuf>) -> Result<PathBuf> {
    BUILD.0.get_or_init(Instant::now);
    let program = found.get_or_try_init(|| find_or_build(name)).await.cloned();
    BUILD.1.get_or_init(Instant::now);
    program
}

/// Returns how long the tests of this process have waited for the program.
pub(crate) fn build_time() -> Duration {
    let Some(begun) = BUILD.0.get() else { return Duration::ZERO };
    BUILD.1.get().map_or_else(|| begun.elapsed(), |done| done.duration_since(*begun))
}

async fn find_or_build(name: &str) -> Result<PathBuf> {
    let this = env::current_exe()?;
    let folder = this.parent().context("a program outside of a target folder")?;
    // Tests are in a folder of their own.
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let profile = profile.context("a test program outside of a target folder")?;
    let program = profile.join(name);
    if is_fresh(&program) {
        return Ok(program);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    program::without_package(command.as_std_mut());
    command.args(["build", "--quiet", "--package", name, "--target-dir"]);
    command.arg(profile.parent().context("a target folder")?);
    match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
    let built = command.status().await.with_context(|| format!("build {name}"))?;
    ensure!(built.success() && program.is_file(), "{name} does not build");
    Ok(program)
}

/// Reports whether none of the source files that cargo lists for the program is newer than it.
fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let newer = |path: &str, than: SystemTime| modified(Path::new(path)).is_none_or(|time| time > than);
    let sources = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let Some((built, (_, sources))) = modified(program).zip(sources.split_once(": ")) else { return false };
    // Spaces in paths are escaped in this list. Such a path is not found, so cargo decides.
    !sources.split_whitespace().any(|path| newer(path, built))
}
