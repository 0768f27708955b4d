//! The real `crdctl`, as a user runs it.

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

/// How long a line or an end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call of crdctl in surroundings of its own: a home folder, and no variable of the caller's that it would read.
pub struct Crdctl {
    command: Command,
}

/// A crdctl that runs; killed when this is dropped.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Crdctl {
    /// With `home` as its home folder.
    ///
    /// # Errors
    /// When there is no program and it cannot be built.
    pub async fn new(home: &Path) -> Result<Crdctl> {
        let mut command = Command::new(binary().await?);
        for variable in ["KUBECONFIG", "NAMESPACE", "POD_NAMESPACE", "RUST_LOG", "KUBERNETES_SERVICE_HOST"] {
            command.env_remove(variable);
        }
        command.env("HOME", home).env("TMPDIR", home).current_dir(home).env("RUST_BACKTRACE", "0");
        Ok(Crdctl { command })
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Adds arguments, divided by blanks.
    pub fn args(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_whitespace());
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it takes longer than a minute.
    pub async fn run(self) -> Result<Output> {
        program::run(self.command, "").await
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(mut self) -> Result<Running> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.command.spawn().context("run crdctl")?;
        let lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let stderr = BufReader::new(child.stderr.take().context("stderr")?).lines();
        Ok(Running { child, lines, stderr })
    }
}

impl Running {
    /// The next line of stdout.
    ///
    /// # Errors
    /// When it ends, or none comes in 30 s; what it said on stderr is in the message.
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

    /// Waits for a line of stdout that has these words; others before it are passed over.
    ///
    /// # Errors
    /// As [`Running::line`].
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
    /// When it ends, or there is no such line in 30 s.
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

    /// Sends a signal by name, as `INT`.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let process = self.child.id().context("crdctl has ended")?;
        // The shell's own `kill`: std can send SIGKILL only.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().await?;
        ensure!(sent.success(), "kill -{name} {process}");
        Ok(())
    }

    /// Its exit status and what is left of stderr, when it ends within `limit`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ends_within(mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        let status = timeout(limit, self.child.wait()).await.context("crdctl still runs")??;
        let mut said = String::new();
        self.stderr.get_mut().read_to_string(&mut said).await?;
        Ok((status, said))
    }

    /// Closes the pipe that it prints to.
    pub fn close_stdout(self) -> Closed {
        drop(self.lines);
        Closed { child: self.child, _stderr: self.stderr }
    }
}

/// A crdctl that nobody reads from.
pub struct Closed {
    child: Child,
    _stderr: Lines<BufReader<ChildStderr>>,
}

impl Closed {
    /// Its exit status.
    ///
    /// # Errors
    /// When it does not end in 30 s.
    pub async fn ends(mut self) -> Result<ExitStatus> {
        Ok(timeout(PATIENCE, self.child.wait()).await.context("crdctl still runs")??)
    }
}

/// When this process began to look for the program or to build it, and when it had it.
static BUILD: (OnceLock<Instant>, OnceLock<Instant>) = (OnceLock::new(), OnceLock::new());

/// The program next to this one in the target folder; built first, once per process, if it is not there or older than
/// a file that it is made of. `cargo test --workspace` has built it already.
async fn binary() -> Result<PathBuf> {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BUILD.0.get_or_init(Instant::now);
    let program = BINARY.get_or_try_init(find_or_build).await.cloned();
    BUILD.1.get_or_init(Instant::now);
    program
}

/// How long tests of this process have waited for the program.
pub(crate) fn build_time() -> Duration {
    let Some(begun) = BUILD.0.get() else { return Duration::ZERO };
    BUILD.1.get().map_or_else(|| begun.elapsed(), |done| done.duration_since(*begun))
}

async fn find_or_build() -> Result<PathBuf> {
    let this = env::current_exe()?;
    let profile =
        this.parent().and_then(Path::parent).context("a test program outside of a target folder")?;
    let program = profile.join("crdctl");
    if is_fresh(&program) {
        return Ok(program);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    program::without_package(command.as_std_mut());
    command.args(["build", "--quiet", "--package", "crdctl", "--target-dir"]);
    command.arg(profile.parent().context("a target folder")?);
    match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
    let built = command.status().await.context("build crdctl")?;
    ensure!(built.success() && program.is_file(), "crdctl does not build");
    Ok(program)
}

/// Whether cargo's list of the files that it was made of names no newer one.
fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let newer = |path: &str, than: SystemTime| modified(Path::new(path)).is_none_or(|time| time > than);
    let sources = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let Some((built, (_, sources))) = modified(program).zip(sources.split_once(": ")) else { return false };
    // Blanks in paths are escaped there; such a path is not found, and cargo is asked.
    !sources.split_whitespace().any(|path| newer(path, built))
}
