//! How a cluster was chosen, in a form to show to users. No field contains a secret.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// A kubeconfig file that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// The absolute path.
    pub path: PathBuf,
    /// Whether the file exists. A missing file of `KUBECONFIG` is not an error.
    pub found: bool,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "value")]
#[non_exhaustive]
pub enum Origin {
    /// An entry of this kubeconfig file.
    File(PathBuf),
    /// The caller, through [`Options`](crate::Options), as with kubectl's flags.
    Option,
    /// This environment variable.
    Variable(String),
    /// This file of the pod's service account.
    ServiceAccount(PathBuf),
    /// The default.
    Default,
}

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Located {
    /// The name or address.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// A kind of credential. Never contains the credential itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "value")]
#[non_exhaustive]
pub enum AuthMethod {
    /// A bearer token in the kubeconfig, or a given one.
    Token,
    /// A bearer token in this file, which is re-read.
    TokenFile(PathBuf),
    /// A user name and password.
    Basic,
    /// A client certificate.
    ClientCertificate(CertificateSource),
    /// The credential that this command prints.
    Exec(String),
}

/// Where a client certificate is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum CertificateSource {
    /// In the kubeconfig itself.
    Inline,
    /// In this file.
    File(PathBuf),
}

/// How the cluster was chosen.
///
/// `Display` writes one fact per line. `Serialize` provides the same as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// The kubeconfig files that were tried, in order of precedence.
    pub files: Vec<FileReport>,
    /// Whether the pod's service account is used, because no kubeconfig selects a context.
    pub in_cluster: bool,
    /// The name of the context, and what selected it. `None` in-cluster, and if options make it unnecessary.
    pub context: Option<Located>,
    /// The file that defines the context. `None` in-cluster.
    pub context_file: Option<PathBuf>,
    /// The name of the cluster, and the file that defines it, or [`Origin::Option`] if an option selects it. `None`
    /// in-cluster, and if only an option provides the server.
    pub cluster: Option<Located>,
    /// The address of the API server.
    pub server: Located,
    /// The name of the user, and the file that defines it, or [`Origin::Option`] if an option selects it. `None`
    /// in-cluster, and without a user.
    pub user: Option<Located>,
    /// The default namespace for requests.
    pub namespace: Located,
    /// The credentials that are sent. Empty for anonymous access.
    pub auth: Vec<AuthMethod>,
    /// Whether the credentials above are withheld because the server's address is not https.
    pub credentials_withheld: bool,
    /// The user to impersonate.
    pub impersonate: Option<String>,
    /// The proxy without user name and password, and where it was configured.
    pub proxy: Option<Located>,
    /// Whether verification of the server's certificate is disabled.
    pub insecure_skip_tls_verify: bool,
}

impl AuthMethod {
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self, Self::Exec(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::ServiceAccount(path) => write!(f, "{}", path.display()),
            Self::Option => f.write_str("given"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.origin)
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("token"),
            Self::TokenFile(path) => write!(f, "token file {}", path.display()),
            Self::Basic => f.write_str("user name and password"),
            Self::ClientCertificate(CertificateSource::Inline) => f.write_str("client certificate"),
            Self::ClientCertificate(CertificateSource::File(path)) => {
                write!(f, "client certificate {}", path.display())
            }
            Self::Exec(command) => write!(f, "exec plugin {command}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<11}{value}");
        for file in &self.files {
            let found = if file.found { "" } else { " (missing)" };
            line("file", &format_args!("{}{found}", file.path.display()))?;
        }
        line("in-cluster", &if self.in_cluster { "yes" } else { "no" })?;
        if let Some(context) = &self.context {
            match &self.context_file {
                Some(file) if context.origin != Origin::File(file.clone()) => {
                    line("context", &format_args!("{context}, defined in {}", file.display()))?;
                }
                _ => line("context", context)?,
            }
        }
        if let Some(cluster) = &self.cluster {
            line("cluster", cluster)?;
        }
        line("server", &self.server)?;
        if let Some(proxy) = &self.proxy {
            line("proxy", proxy)?;
        }
        if self.insecure_skip_tls_verify {
            line("tls", &"the server's certificate is not checked")?;
        }
        match &self.user {
            Some(user) => line("user", user)?,
            None if self.in_cluster => {}
            None => line("user", &"none (anonymous)")?,
        }
        for method in &self.auth {
            let withheld =
                if self.credentials_withheld { " (withheld: the server is not https)" } else { "" };
            line("auth", &format_args!("{method}{withheld}"))?;
        }
        if let Some(user) = &self.impersonate {
            line("as", user)?;
        }
        line("namespace", &self.namespace)
    }
}
