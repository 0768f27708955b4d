//! Why no cluster could be chosen. Each message names the file and the entry; none holds a secret.

use std::path::PathBuf;

/// Why no cluster could be chosen, or no client built for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no configuration: no file says anything, and this is no pod.
    #[error("no configuration found: looked at {}", looked_at(.files))]
    NoConfiguration {
        /// The files that were looked at, in the order of precedence; all are missing or empty.
        files: Vec<PathBuf>,
    },

    /// There are contexts, clusters or users, but nothing says which context to use.
    #[error("no context chosen: current-context is not set in {}; {}", list(.files), names("context", .defined))]
    NoContext {
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The names of the contexts that they define.
        defined: Vec<String>,
    },

    /// The chosen context is not defined in any file.
    #[error("context {name:?} is not defined in {}; {}", looked_at(.files), names("context", .defined))]
    ContextNotDefined {
        /// Its name.
        name: String,
        /// The files that were looked at.
        files: Vec<PathBuf>,
        /// The names of the contexts that they define.
        defined: Vec<String>,
    },

    /// The context names a cluster that is not defined in any file.
    #[error(
        "cluster {name:?} of context {context:?} ({}) is not defined; {}", file.display(), names("cluster", .defined)
    )]
    ClusterNotDefined {
        /// Its name.
        name: String,
        /// The context that names it.
        context: String,
        /// The file in which that context is defined.
        file: PathBuf,
        /// The names of the clusters that are defined.
        defined: Vec<String>,
    },

    /// The context names a user that is not defined in any file.
    #[error("user {name:?} of context {context:?} ({}) is not defined; {}", file.display(), names("user", .defined))]
    UserNotDefined {
        /// Its name.
        name: String,
        /// The context that names it.
        context: String,
        /// The file in which that context is defined.
        file: PathBuf,
        /// The names of the users that are defined.
        defined: Vec<String>,
    },

    /// The chosen context, cluster or user cannot be used as it is written.
    #[error("{entry} in {}: {problem}", file.display())]
    InvalidEntry {
        /// The entry, for example `cluster "prod"`.
        entry: String,
        /// The file in which it is defined.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A file that the chosen cluster or user names cannot be read.
    #[error("cannot read {field} {} of {entry} in {}", path.display(), file.display())]
    ReadReferenced {
        /// The field that names the file, for example `client-certificate`.
        field: &'static str,
        /// The file that cannot be read.
        path: PathBuf,
        /// The entry, for example `user "admin"`.
        entry: String,
        /// The kubeconfig in which the entry is defined.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A kubeconfig file cannot be read; also when a file that was asked for by name is missing.
    #[error("cannot read kubeconfig {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A file is no kubeconfig.
    #[error("kubeconfig {} is malformed{}: {problem}", path.display(), at(.line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u64>,
        /// What is wrong, and at which entry.
        problem: String,
    },

    /// This is a pod, but its service account cannot be used.
    #[error("cannot use the pod's service account: {problem} {}", path.display())]
    InCluster {
        /// The operation that failed.
        problem: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A variable holds what cannot be used.
    #[error("variable {name} {problem}")]
    InvalidVariable {
        /// Its name.
        name: &'static str,
        /// What is wrong with its value.
        problem: String,
    },

    /// The client cannot be built, for example because a certificate and its key do not fit.
    #[error("cannot build a client for {server}")]
    Client {
        /// The API server.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Whether nothing was configured at all, so that the user needs to be told where a configuration goes
    /// rather than what is wrong with it.
    pub fn is_empty_configuration(&self) -> bool {
        matches!(self, Self::NoConfiguration { .. })
    }

    /// Whether the files are fine, but a context, cluster or user that was asked for is not defined or not chosen.
    pub fn is_not_defined(&self) -> bool {
        matches!(
            self,
            Self::NoContext { .. }
                | Self::ContextNotDefined { .. }
                | Self::ClusterNotDefined { .. }
                | Self::UserNotDefined { .. }
        )
    }
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn looked_at(files: &[PathBuf]) -> String {
    // KUBECONFIG=":" names no file at all.
    if files.is_empty() { "no file (KUBECONFIG names none)".to_owned() } else { list(files) }
}

fn names(what: &str, defined: &[String]) -> String {
    if defined.is_empty() { format!("no {what} is") } else { format!("defined: {}", defined.join(", ")) }
}

fn at(line: &Option<u64>) -> String {
    line.map(|line| format!(" at line {line}")).unwrap_or_default()
}
