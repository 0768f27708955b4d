//! Errors for users: one line that says what failed, why, and what to do about it.

use std::{error::Error as StdError, io};

use anyhow::anyhow;
use kube::core::Status;
use kubeconfig::{ExecError, TlsError, TlsProblem};

use crate::{program, stdio::say};

/// Prints an error as one line on stderr.
pub(crate) fn print(error: &anyhow::Error) {
    say(&program::named(&format!("error: {}", one_line(error.as_ref()))));
}

/// Joins an error's message and its causes in one line, without repetitions.
fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        // It says what the TLS library's errors below it say, and where.
        if cause.downcast_ref::<TlsError>().is_some_and(|error| error.problem != TlsProblem::Other) {
            parts.push(cause.to_string());
            break;
        }
        // The server's message is enough; the errors around it only add Rust names and the request's path.
        if let Some(status) = status(cause).filter(|status| !status.message.is_empty()) {
            parts.push(message_of(status));
            break;
        }
        // kube's errors repeat their source in their own message, as do some others.
        let wraps = cause.is::<kube::Error>() && cause.source().is_some();
        let text = cause.to_string();
        if !wraps && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    let line = parts.join(": ");
    line.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns the server's message. An HTML page is not one: it comes from a proxy or a login page before the server.
fn message_of(status: &Status) -> String {
    let page = status.message.trim_start().to_ascii_lowercase();
    if page.starts_with("<!doctype html") || page.starts_with("<html") {
        return format!(
            "the answer ({}) is an HTML page, which is not from a Kubernetes API server",
            status.code
        );
    }
    status.message.clone()
}

/// Explains why no cluster was found, and what to do.
pub(crate) fn configuration(error: kubeconfig::Error) -> anyhow::Error {
    if error.is_empty_configuration() {
        let line = one_line(&error);
        let demo = match cfg!(feature = "server") {
            true => ", or try `crdctl demo`, which starts its own API server",
            false => "",
        };
        anyhow!("{line}; set KUBECONFIG or --kubeconfig{demo}")
    } else if error.is_not_defined() && !matches!(error, kubeconfig::Error::OptionNotDefined { .. }) {
        let line = one_line(&error);
        anyhow!("{line}; choose another one with --context")
    } else {
        error.into()
    }
}

/// Explains why `action` failed at `server`, and what to do.
pub(crate) fn request(server: &str, action: &str, error: &(dyn StdError + 'static)) -> anyhow::Error {
    let line = one_line(error);
    if let Some(error) = causes(error).find_map(<dyn StdError>::downcast_ref) {
        return match tls_advice(error) {
            Some(advice) => anyhow!("cannot {action}: {line}; {advice}"),
            None => anyhow!("cannot {action}: {line}"),
        };
    }
    match Trouble::of(error) {
        Trouble::Plugin => anyhow!(
            "cannot {action}: {line}; nothing was sent to {server}. `crdctl config` shows which user and file the plugin comes from"
        ),
        Trouble::NotKubernetes => anyhow!(
            "cannot {action}: {server} answered with something other than JSON ({line}); is it the address of a Kubernetes API server, or of a login page before one? `crdctl config` shows how it was chosen"
        ),
        Trouble::Unreachable => anyhow!(
            "cannot {action}: {server} cannot be reached: {line}; is it running, and is it the right one? `crdctl config` shows how it was chosen"
        ),
        Trouble::Unauthorized => anyhow!(
            "cannot {action}: {server} does not accept the credentials (401 {line}); `crdctl config` shows which user and file they come from"
        ),
        Trouble::Forbidden => anyhow!(
            "cannot {action}: {line}; ask for a role that allows it (`kubectl auth can-i --list` shows what you may do)"
        ),
        Trouble::Conflict => anyhow!("cannot {action}: {line}; --force-conflicts takes over the fields"),
        Trouble::Other => anyhow!("cannot {action} at {server}: {line}"),
    }
}

/// What the user can do about a TLS error, beyond what its message says.
fn tls_advice(error: &TlsError) -> Option<&'static str> {
    match error.problem {
        TlsProblem::WrongName { .. } => {
            Some("set the cluster's tls-server-name in the kubeconfig to a name that the certificate has")
        }
        TlsProblem::UnknownAuthority => {
            Some("set the cluster's certificate-authority(-data) in the kubeconfig to the server's CA")
        }
        TlsProblem::CertificateRequired => {
            Some("set the user's client-certificate and client-key in the kubeconfig")
        }
        TlsProblem::CertificateRefused => Some("`crdctl config` shows where it comes from"),
        TlsProblem::Expired { .. } => Some("the server needs a new one"),
        _ => None,
    }
}

/// Explains that `action` was given up after `waited`, because `server` did not answer.
pub(crate) fn too_slow(server: &str, action: &str, waited: std::time::Duration) -> anyhow::Error {
    anyhow!(
        "cannot {action}: {server} did not answer within {waited:?}; is it the right one? `crdctl config` shows how it was chosen, --request-timeout gives it more time"
    )
}

/// The kinds of errors that a user can do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Unreachable,
    /// The exec plugin provided no credential.
    Plugin,
    /// The answer is not JSON.
    NotKubernetes,
    Unauthorized,
    Forbidden,
    /// Another field manager owns fields that were applied.
    Conflict,
    Other,
}

impl Trouble {
    fn of(error: &(dyn StdError + 'static)) -> Self {
        if let Some(status) = causes(error).find_map(status) {
            return match status.code {
                401 => Self::Unauthorized,
                403 => Self::Forbidden,
                409 if status.reason == "Conflict" => Self::Conflict,
                _ => Self::Other,
            };
        }
        if causes(error).any(<dyn StdError>::is::<ExecError>) {
            return Self::Plugin;
        }
        if causes(error).any(|cause| matches!(cause.downcast_ref(), Some(kube::Error::SerdeError(_)))) {
            return Self::NotKubernetes;
        }
        // The client reports a failed or broken connection as the error of its socket.
        let is_transport = |cause: &(dyn StdError + 'static)| match cause.downcast_ref() {
            Some(error) => matches!(error, kube_informer::Error::Unreachable { .. }),
            None => cause.is::<io::Error>(),
        };
        if causes(error).any(is_transport) { Self::Unreachable } else { Self::Other }
    }
}

/// Returns the status that the server answered, if the error is such an answer.
fn status<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Status> {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return Some(status);
    }
    error.downcast_ref::<kube_informer::Error>().and_then(kube_informer::Error::status)
}

/// Iterates over an error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // The `source` of an `io::Error` that wraps an error is that error's source, so the error itself would be skipped.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> kube::Error {
        let status = Status { code, message: message.into(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn the_servers_message_is_repeated_once_with_advice() {
        let message = |error: kube::Error| request("https://a:6443", "watch blogs", &error).to_string();
        assert_eq!(
            message(answered(401, "Unauthorized")),
            "cannot watch blogs: https://a:6443 does not accept the credentials (401 Unauthorized); `crdctl config` shows which user and file they come from"
        );
        let forbidden = r#"blogs is forbidden: User "nobody" cannot list resource "blogs""#;
        assert!(
            message(answered(403, forbidden))
                .starts_with(&format!("cannot watch blogs: {forbidden}; ask for"))
        );
        assert_eq!(
            message(answered(502, "<!DOCTYPE html>\n<h1>Bad Gateway</h1>")),
            "cannot watch blogs at https://a:6443: the answer (502) is an HTML page, which is not from a Kubernetes API server"
        );
        assert_eq!(
            message(answered(500, "broken\nin two")),
            "cannot watch blogs at https://a:6443: broken in two"
        );
    }

    #[test]
    fn transport_errors_are_distinguished() {
        let refused = kube::Error::Service(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(Trouble::of(&refused), Trouble::Unreachable);
        assert_eq!(one_line(&refused), "connection refused");
        let plugin = ExecError::Run {
            command: "login".into(),
            source: io::Error::from(io::ErrorKind::PermissionDenied).into(),
        };
        assert_eq!(Trouble::of(&kube::Error::Service(Box::new(plugin))), Trouble::Plugin);
        let page = serde_json::from_str::<()>("<html>").unwrap_err();
        assert_eq!(Trouble::of(&kube::Error::SerdeError(page)), Trouble::NotKubernetes);
    }
}
