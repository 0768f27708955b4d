//! Inputs other than kubeconfig files: variables, the working directory, the pod's service account.
//!
//! Nothing else in this crate reads these from the process, so a test with an [`Environment`] of its own is hermetic
//! and can run in parallel with others.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// Where the kubelet mounts a pod's service account. Source: client-go `rest/config.go`, `InClusterConfig`.
const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The environment in which a cluster is looked up.
///
/// [`Environment::process`] is that of the process. [`Environment::new`] starts empty, for tests and for programs
/// that act on behalf of someone else. Exec plugins run with exactly these variables.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    current_dir: PathBuf,
    service_account_dir: Option<PathBuf>,
    has_terminal: bool,
}

impl Environment {
    /// Captures the current environment of this process.
    pub fn process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            // Without a working directory, relative paths stay relative, and opening them reports what is wrong.
            current_dir: std::env::current_dir().unwrap_or_default(),
            service_account_dir: Some(PathBuf::from(SERVICE_ACCOUNT_DIR)),
            has_terminal: std::io::stdin().is_terminal(),
        }
    }

    /// Creates an environment without variables, service account and terminal. Relative paths start from
    /// `current_dir`.
    pub fn new(current_dir: impl Into<PathBuf>) -> Self {
        Self {
            variables: BTreeMap::new(),
            current_dir: current_dir.into(),
            service_account_dir: None,
            has_terminal: false,
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets the folder with the pod's `token`, `ca.crt` and `namespace`.
    #[must_use]
    pub fn with_service_account_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.service_account_dir = Some(dir.into());
        self
    }

    /// Returns the value of a variable, or `None` if it is unset or empty, which kubectl treats alike.
    pub(crate) fn var_os(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Like [`Environment::var_os`], but also returns `None` if the value is not UTF-8.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.var_os(name).and_then(OsStr::to_str)
    }

    pub(crate) fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.variables
    }

    pub(crate) fn service_account_dir(&self) -> Option<&Path> {
        self.service_account_dir.as_deref()
    }

    /// Whether an exec plugin may prompt the user on standard input.
    pub(crate) fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    /// Resolves `path` against the working directory.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.current_dir.join(path)
    }
}

impl fmt::Debug for Environment {
    /// Formats the names of variables only, because their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("current_dir", &self.current_dir)
            .field("service_account_dir", &self.service_account_dir)
            .field("has_terminal", &self.has_terminal)
            .finish()
    }
}

/// Go's `filepath.Clean`: purely lexical, so `a/link/../b` becomes `a/b` even if `link` is a symbolic link.
pub(crate) fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(part),
            },
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, want) in [
            ("/a/b/../c", "/a/c"),
            ("/a/./b/", "/a/b"),
            ("/../a", "/a"),
            ("a/../../b", "../b"),
            ("a//b", "a/b"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(want), "{path}");
        }
    }

    #[test]
    fn debug_shows_no_value_of_a_variable() {
        let environment = Environment::new("/").with_variable("PASSWORD", "hunter2");
        let debug = format!("{environment:?}");
        assert!(debug.contains("PASSWORD") && !debug.contains("hunter2"), "{debug}");
    }
}
