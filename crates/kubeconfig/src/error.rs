//! Errors. Each message names the file and the entry; none contains a secret.

use std::path::PathBuf;

/// The reason why no cluster could be chosen, or no client could be built for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no configuration: no file contains any, and this process does not run in a pod.
    #[error("no configuration found: looked at {}", looked_at(.files))]
    NoConfiguration {
        /// The files that were tried, in order of precedence. All are missing or empty.
        files: Vec<PathBuf>,
    },

    /// There are contexts, clusters or users, but nothing selects a context.
    #[error("no context chosen: current-context is not set in {}; {}", list(.files), names("context", .defined))]
    NoContext {
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The names of the contexts that they define.
        defined: Vec<String>,
    },

    /// No file defines the selected context.
    #[error("context {name:?} is not defined in {}; {}", looked_at(.files), names("context", .defined))]
    ContextNotDefined {
        /// The name of the context.
        name: String,
        /// The files that were tried.
        files: Vec<PathBuf>,
        /// The names of the contexts that they define.
        defined: Vec<String>,
    },

    /// The context refers to a cluster that no file defines.
    #[error(
        "cluster {name:?} of context {context:?} ({}) is not defined; {}", file.display(), names("cluster", .defined)
    )]
    ClusterNotDefined {
        /// The name of the cluster.
        name: String,
        /// The context that refers to it.
        context: String,
        /// The file that defines the context.
        file: PathBuf,
        /// The names of the defined clusters.
        defined: Vec<String>,
    },

    /// The context refers to a user that no file defines.
    #[error("user {name:?} of context {context:?} ({}) is not defined; {}", file.display(), names("user", .defined))]
    UserNotDefined {
        /// The name of the user.
        name: String,
        /// The context that refers to it.
        context: String,
        /// The file that defines the context.
        file: PathBuf,
        /// The names of the defined users.
        defined: Vec<String>,
    },

    /// An option selects a cluster or user that no file defines.
    #[error("{kind} {name:?} is not defined in {}; {}", looked_at(.files), names(.kind, .defined))]
    OptionNotDefined {
        /// `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The files that were tried.
        files: Vec<PathBuf>,
        /// The names that they define.
        defined: Vec<String>,
    },

    /// The options are invalid, and no entry of a file is involved.
    #[error("the options are invalid: {problem}")]
    InvalidOptions {
        /// What is wrong with them.
        problem: String,
    },

    /// A file that an option names cannot be read.
    #[error("cannot read {field} {}", path.display())]
    ReadOption {
        /// The option, named as kubectl's flag, such as `client-certificate`.
        field: &'static str,
        /// The file that cannot be read.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },

    /// The chosen context, cluster or user is invalid.
    #[error("{entry} in {}: {problem}", file.display())]
    InvalidEntry {
        /// The entry, such as `cluster "prod"`.
        entry: String,
        /// The file that defines it.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A file that the chosen cluster or user refers to cannot be read.
    #[error("cannot read {field} {} of {entry} in {}", path.display(), file.display())]
    ReadReferenced {
        /// The field that names the file, such as `client-certificate`.
        field: &'static str,
        /// The file that cannot be read.
        path: PathBuf,
        /// The entry, such as `user "admin"`.
        entry: String,
        /// The kubeconfig that defines the entry.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },

    /// A kubeconfig file cannot be read, or one that was requested explicitly is missing.
    #[error("cannot read kubeconfig {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },

    /// A file is not a valid kubeconfig.
    #[error("kubeconfig {} is malformed{}: {problem}", path.display(), at(.line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, starting at 1, if known.
        line: Option<u64>,
        /// What is wrong, and in which entry.
        problem: String,
    },

    /// The process runs in a pod, but its service account cannot be used.
    #[error("cannot use the pod's service account: {problem} {}", path.display())]
    InCluster {
        /// The operation that failed.
        problem: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },

    /// An environment variable has an invalid value.
    #[error("variable {name} {problem}")]
    InvalidVariable {
        /// The name of the variable.
        name: &'static str,
        /// What is wrong with its value.
        problem: String,
    },

    /// The client cannot be built, for example because a certificate and its key do not match.
    #[error("cannot build a client for {server}")]
    Client {
        /// The address of the API server.
        server: String,
        /// The cause.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Whether nothing is configured at all. The user then needs to know where a configuration goes, rather than what
    /// is wrong with it.
    pub fn is_empty_configuration(&self) -> bool {
        matches!(self, Self::NoConfiguration { .. })
    }

    /// Whether the files are valid, but the requested context, cluster or user is not defined, or none was selected.
    pub fn is_not_defined(&self) -> bool {
        matches!(
            self,
            Self::NoContext { .. }
                | Self::ContextNotDefined { .. }
                | Self::ClusterNotDefined { .. }
                | Self::UserNotDefined { .. }
                | Self::OptionNotDefined { .. }
        )
    }
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn looked_at(files: &[PathBuf]) -> String {
    // KUBECONFIG=":" does not name any file.
    if files.is_empty() { "no file (KUBECONFIG names none)".to_owned() } else { list(files) }
}

fn names(what: &str, defined: &[String]) -> String {
    if defined.is_empty() {
        format!("no {what} is defined")
    } else {
        format!("defined: {}", defined.join(", "))
    }
}

fn at(line: &Option<u64>) -> String {
    line.map(|line| format!(" at line {line}")).unwrap_or_default()
}
