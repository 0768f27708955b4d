//! Credentials from a command, by the protocol `client.authentication.k8s.io` v1 and v1beta1. Source: KEP-541 and
//! client-go `plugin/pkg/client/auth/exec`.
//!
//! The command runs when a credential is first needed, and again when the credential has expired or was refused. Only
//! one command runs at a time, however many requests wait for it; it is killed when all of them are gone.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use super::credential::{Credential, Identity};
use crate::environment::Environment;
use crate::model::Exec;
use crate::yaml;

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
}

/// The output of a plugin.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<Timestamp>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
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
        let call = Call { exec: exec.clone(), cluster, environment: environment.clone() };
        Self { call, state: Arc::default() }
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
        let output = Command::new(&self.exec.command)
            .args(self.exec.args())
            .env_clear()
            .envs(self.environment.variables())
            .envs(self.exec.env().iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                ExecError::NotInstalled { command: name(), install_hint: printable(&self.exec.install_hint) }
            }
            _ => ExecError::Run { command: name(), source: Arc::new(error) },
        };
        let output = output.map_err(failed)?.wait_with_output().await.map_err(failed)?;
        if !output.status.success() {
            return Err(ExecError::Failed { command: name(), status: output.status });
        }
        read(&output.stdout, &self.exec.api_version)
            .map_err(|problem| ExecError::Output { command: name(), problem })
    }
}

/// Parses a plugin's output, JSON or YAML.
fn read(output: &[u8], api_version: &str) -> Result<Credential, String> {
    let value = yaml::parse(output).map_err(|_| "printed something that is neither JSON nor YAML")?;
    // serde's message may repeat a value, and any value here may be the secret.
    let credential: ExecCredential =
        serde_json::from_value(value).map_err(|_| "printed something that is not an ExecCredential")?;
    if credential.kind.as_deref() != Some("ExecCredential") {
        return Err("printed something whose kind is not ExecCredential".to_owned());
    }
    let version = credential.api_version.unwrap_or_default();
    if version != api_version {
        return Err(format!("is configured for {api_version}, but responded with {version:?}"));
    }
    let status = credential.status.ok_or("printed an ExecCredential without status")?;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = some(status.token);
    let identity = match (some(status.client_certificate_data), some(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some(Arc::new(Identity { certificate, key })),
        (None, None) if token.is_some() => None,
        (None, None) => return Err("returned neither a token nor a client certificate and key".to_owned()),
        _ => return Err("returned a client certificate or a key, but not both".to_owned()),
    };
    let bearer = match token {
        Some(token) => {
            Credential::bearer(&token).ok_or("returned a token that is not allowed in a header")?
        }
        None => Credential::default(),
    };
    Ok(Credential { identity, expires: status.expiration_timestamp, ..bearer })
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

fn hint(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {}", text.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn problem(output: &str) -> String {
        read(output.as_bytes(), V1).err().expect("a problem")
    }

    #[test]
    fn an_output_that_is_no_credential_is_told_without_repeating_it() {
        for (output, want) in [
            ("", "not an ExecCredential"),
            ("{", "neither JSON nor YAML"),
            (r#"{"kind":"Pod"}"#, "kind"),
            (r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}"#, "v1beta1"),
            (r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}"#, "without status"),
            (
                r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}"#,
                "neither",
            ),
            (
                r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":5577}}"#,
                "not an ExecCredential",
            ),
            (
                r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"clientKeyData":"hunter2"}}"#,
                "not both",
            ),
        ] {
            let problem = problem(output);
            assert!(problem.contains(want), "{output}: {problem}");
            assert!(!problem.contains("hunter2") && !problem.contains("5577"), "{problem}");
        }
    }

    #[test]
    fn yaml_is_read_too() {
        let output = format!("apiVersion: {V1}\nkind: ExecCredential\nstatus:\n  token: t\n");
        assert!(
            read(output.as_bytes(), V1)
                .is_ok_and(|credential| credential == Credential::bearer("t").unwrap())
        );
    }

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
}
