//! Credentials from a command, by the protocol `client.authentication.k8s.io` v1 and v1beta1. Source: KEP-541 and
//! client-go `plugin/pkg/client/auth/exec`.
//!
//! The command runs when a credential is first needed, and again when the credential has expired or was refused. Only
//! one command runs at a time, however many requests wait for it; it is killed when all of them are gone.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::process::Command;

use super::answer;
use super::credential::Credential;
use super::running::Running;
use super::waiting::Waiting;
use crate::environment::Environment;
use crate::model::Exec;

const GROUP: &str = "client.authentication.k8s.io";

/// Why an exec plugin did not provide a credential. Requests fail with this error inside [`kube::Error::Service`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The command does not exist.
    #[error("exec plugin {command} is not installed{}", hint(.install_hint))]
    NotInstalled {
        /// The command, as in the kubeconfig.
        command: String,
        /// The kubeconfig's hint on how to install the command. May be empty.
        install_hint: String,
    },
    /// The command could not be run.
    #[error("cannot run exec plugin {command}")]
    Run {
        /// The command, as in the kubeconfig.
        command: String,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// The command failed. Its stderr went to this process's stderr.
    #[error("exec plugin {command} failed with {status}")]
    Failed {
        /// The command, as in the kubeconfig.
        command: String,
        /// The exit code or signal.
        status: std::process::ExitStatus,
    },
    /// The command's output is not a valid credential.
    #[error("exec plugin {command} {problem}")]
    Output {
        /// The command, as in the kubeconfig.
        command: String,
        /// What is wrong. Never contains any part of the output.
        problem: String,
    },
    /// The command must prompt the user, but there is no terminal.
    #[error(
        "exec plugin {command} requires a terminal (interactiveMode: Always), but standard input is not one"
    )]
    NoTerminal {
        /// The command, as in the kubeconfig.
        command: String,
    },
}

/// A plugin with its last credential.
pub(crate) struct Plugin {
    call: Call,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    last: Option<Credential>,
    running: Option<WeakShared<Run>>,
}

type Run = Pin<Box<dyn Future<Output = Result<Credential, ExecError>> + Send>>;

/// Everything that a run needs.
#[derive(Clone)]
struct Call {
    exec: Exec,
    cluster: Option<Value>,
    environment: Environment,
    waiting: Arc<Waiting>,
}

/// Checks the configuration, as far as that is possible without running the plugin.
pub(crate) fn check(exec: &Exec) -> Result<(), String> {
    if exec.command.is_empty() {
        return Err("command is not set".to_owned());
    }
    match exec.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/')) {
        Some("v1" | "v1beta1") => {}
        _ if exec.api_version.is_empty() => return Err("apiVersion is not set".to_owned()),
        _ => {
            return Err(format!(
                "apiVersion {:?} is neither {GROUP}/v1 nor {GROUP}/v1beta1",
                exec.api_version
            ));
        }
    }
    if exec.env().iter().any(|(name, _)| name.is_empty()) {
        return Err("an env entry has no name".to_owned());
    }
    match exec.interactive_mode.as_str() {
        "Never" | "IfAvailable" | "Always" => Ok(()),
        "" => Err("interactiveMode is not set (Never, IfAvailable or Always)".to_owned()),
        other => Err(format!("interactiveMode is {other:?}, but must be Never, IfAvailable or Always")),
    }
}

impl Plugin {
    /// `cluster` is passed to the plugin if it asks for it (`provideClusterInfo`).
    pub(crate) fn new(exec: &Exec, cluster: Option<Value>, environment: &Environment) -> Self {
        let (exec, environment) = (exec.clone(), environment.clone());
        Self { call: Call { exec, cluster, environment, waiting: Arc::default() }, state: Arc::default() }
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.call.waiting
    }

    pub(super) fn command(&self) -> &str {
        &self.call.exec.command
    }

    /// Returns the last credential while it is valid, else that of a new run.
    pub(super) async fn credential(&self) -> Result<Credential, ExecError> {
        self.obtain(|_| true).await
    }

    /// Returns a credential other than `refused`. The plugin runs once, however many requests were refused.
    pub(super) async fn renew(&self, refused: &Credential) -> Result<Credential, ExecError> {
        self.obtain(|last| last != refused).await
    }

    async fn obtain(&self, is_good: impl Fn(&Credential) -> bool) -> Result<Credential, ExecError> {
        let run = {
            let mut state = lock(&self.state);
            if let Some(last) = &state.last
                && !last.has_expired(Timestamp::now())
                && is_good(last)
            {
                return Ok(last.clone());
            }
            let going_on = state.running.as_ref().and_then(WeakShared::upgrade);
            match going_on.filter(|run| run.peek().is_none()) {
                Some(run) => run,
                None => {
                    let run = self.start();
                    state.running = run.downgrade();
                    run
                }
            }
        };
        run.await
    }

    /// Starts a run that is only polled by those who wait for it. The run itself stores the credential before any of
    /// them sees it, so that a late waiter cannot put an old credential back.
    fn start(&self) -> Shared<Run> {
        let (call, state) = (self.call.clone(), self.state.clone());
        let run: Run = Box::pin(async move {
            let credential = call.run().await?;
            lock(&state).last = Some(credential.clone());
            Ok(credential)
        });
        run.shared()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Credential {
    fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }
}

impl Call {
    /// Returns the path of the command. A bare name is looked up in this process's `PATH`, not in that of the plugin, and
    /// never in the working directory. Source: Go `os/exec`, `LookPath` and `ErrDot`.
    fn program(&self) -> Option<PathBuf> {
        find(Path::new(&self.exec.command), self.environment.var_os("PATH"))
    }

    async fn run(&self) -> Result<Credential, ExecError> {
        let name = || self.exec.command.clone();
        let terminal = self.environment.has_terminal();
        let interactive = match self.exec.interactive_mode.as_str() {
            "Always" if !terminal => return Err(ExecError::NoTerminal { command: name() }),
            "Never" => false,
            _ => terminal,
        };
        let mut spec = json!({"interactive": interactive});
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = cluster.clone();
        }
        let info = json!({"kind": "ExecCredential", "apiVersion": self.exec.api_version, "spec": spec});
        tracing::debug!(command = self.exec.command, interactive, "running exec plugin");
        let program = self.program().ok_or_else(|| ExecError::NotInstalled {
            command: name(),
            install_hint: printable(&self.exec.install_hint),
        })?;
        let mut plugin = Command::new(program);
        plugin
            .args(self.exec.args())
            .env_clear()
            .envs(self.environment.variables())
            .envs(self.exec.env().iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::inherit());
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                ExecError::NotInstalled { command: name(), install_hint: printable(&self.exec.install_hint) }
            }
            _ => ExecError::Run { command: name(), source: Arc::new(error) },
        };
        let mut running = Running::start(&mut plugin).map_err(failed)?;
        let (status, output) = self.waiting.patiently(running.output()).await.map_err(failed)?;
        drop(running);
        if !status.success() {
            return Err(ExecError::Failed { command: name(), status });
        }
        answer::read(&output, &self.exec.api_version)
            .map_err(|problem| ExecError::Output { command: name(), problem })
    }
}

/// Escapes control characters: a kubeconfig may come from anywhere, and its hint must not control the terminal.
/// Source: client-go `cleanANSIEscapeCodes`.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, char| {
        if char.is_control() && !matches!(char, '\t'..='\r') {
            out.push_str(&format!("U+{:04X}", u32::from(char)));
        } else {
            out.push(char);
        }
        out
    })
}

fn find(command: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if command.components().count() > 1 || command.is_absolute() {
        return Some(command.to_owned());
    }
    let folders = std::env::split_paths(path?).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(command)).find(|program| is_executable(program))
}

#[cfg(unix)]
fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    program.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(program: &Path) -> bool {
    program.is_file()
}

fn hint(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {}", text.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_holds_until_its_expiration() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let credential = Credential { expires: Some(at(100)), ..Credential::default() };
        assert!(!credential.has_expired(at(100)));
        assert!(credential.has_expired(at(101)));
        assert!(!Credential::default().has_expired(at(i64::from(i32::MAX))));
    }

    #[test]
    fn an_install_hint_cannot_drive_the_terminal() {
        assert_eq!(printable("run:\n\u{1b}[1mx"), "run:\nU+001B[1mx");
    }

    #[cfg(unix)]
    #[test]
    fn a_command_is_found_in_path_but_not_in_the_working_directory() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("plugin");
        std::fs::write(&program, "").unwrap();
        let found = |path: &str| find(Path::new("plugin"), Some(OsStr::new(path)));
        let path = format!(":.:{}", folder.path().display());
        assert_eq!(found(&path), None, "it is not executable");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(&path), Some(program));
        assert_eq!(find(Path::new("./plugin"), None), Some("./plugin".into()));
    }
}
