//! The entry points [`Options::load`], [`Options::view`] and [`Options::entries`], and what the caller may choose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::entries::Entries;
use crate::environment::Environment;
use crate::error::Error;
use crate::merge::Merged;
use crate::overrides::Overrides;
use crate::resolve;
use crate::resolved::ResolvedConfig;

/// What to load. The options correspond to kubectl's flags; everything else comes from the environment and the files.
///
/// An empty text or list counts as unset, so that the value of a flag can be passed on as it is. Values replace those
/// of the chosen cluster and user as in client-go (`tools/clientcmd/overrides.go` and `client_config.go`); the flags
/// are those of `cli-runtime/pkg/genericclioptions/config_flags.go`. Relative paths start at the working directory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    environment: Option<Environment>,
    kubeconfig: Option<PathBuf>,
    overrides: Overrides,
    connect_timeout: Option<Duration>,
}

/// Which files are read, and which of their entries are chosen.
impl Options {
    /// Reads only this file, which must exist (`--kubeconfig`).
    #[must_use]
    pub fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.kubeconfig = Some(path.into()).filter(|path| !path.as_os_str().is_empty());
        self
    }

    /// Selects this context instead of `current-context` (`--context`).
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.overrides.context = name.into();
        self
    }

    /// Selects this cluster of the files instead of the context's (`--cluster`). No context is needed then.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.overrides.cluster_name = name.into();
        self
    }

    /// Selects this user of the files instead of the context's (`--user`).
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.overrides.user_name = name.into();
        self
    }

    /// Sets the default namespace for requests instead of the context's (`--namespace`). It is not checked.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.overrides.namespace = name.into();
        self
    }

    /// Looks the cluster up in this environment instead of the process's.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// The server and how it is reached.
impl Options {
    /// Sets the address of the API server, a URL or `host:port`, which means http (`--server`). No context and no file
    /// are needed then. The `tls-server-name` of the files is not used with it; their certificate authority and user
    /// are.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.overrides.cluster.server = url.into();
        self
    }

    /// Trusts the certificate authorities in this PEM file, instead of anything that the files say about trust
    /// (`--certificate-authority`).
    #[must_use]
    pub fn certificate_authority(mut self, path: impl AsRef<Path>) -> Self {
        self.overrides.cluster.certificate_authority = text(path.as_ref());
        self
    }

    /// If `true`, trusts any server, and ignores the certificate authority of the files
    /// (`--insecure-skip-tls-verify`). `false` counts as unset. Together with
    /// [`certificate_authority`](Self::certificate_authority) it is an error.
    #[must_use]
    pub fn insecure_skip_tls_verify(mut self, insecure: bool) -> Self {
        self.overrides.cluster.insecure_skip_tls_verify = insecure;
        self
    }

    /// Expects this name in the server's certificate instead of the host's (`--tls-server-name`).
    #[must_use]
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.overrides.cluster.tls_server_name = name.into();
        self
    }

    /// Connects through this proxy: an http, https or socks5 URL (`--proxy-url`).
    #[must_use]
    pub fn proxy_url(mut self, url: impl Into<String>) -> Self {
        self.overrides.cluster.proxy_url = url.into();
        self
    }

    /// If `true`, asks the server not to compress responses (`--disable-compression`). `false` counts as unset.
    #[must_use]
    pub fn disable_compression(mut self, disable: bool) -> Self {
        self.overrides.cluster.disable_compression = disable;
        self
    }

    /// Sets how long establishing a connection may take, including TLS and proxy. The default is 30 s, as in
    /// client-go's dialer.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }
}

/// Who sends the requests.
impl Options {
    /// Authenticates with this bearer token, instead of a token, token file or exec plugin of the files (`--token`).
    /// A client certificate of the files is still presented, and most servers prefer it. A user name in the files is
    /// an error.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.overrides.user.token = token.into();
        self
    }

    /// Authenticates with a user name (`--username`). Together with a token, it is an error.
    #[must_use]
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.overrides.user.username = name.into();
        self
    }

    /// Authenticates with a password (`--password`). Together with a token, it is an error.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.overrides.user.password = password.into();
        self
    }

    /// Presents the client certificate in this PEM file (`--client-certificate`). The key is that of
    /// [`client_key`](Self::client_key), else of the files.
    #[must_use]
    pub fn client_certificate(mut self, path: impl AsRef<Path>) -> Self {
        self.overrides.user.client_certificate = text(path.as_ref());
        self
    }

    /// Uses the key in this PEM file with the client certificate (`--client-key`).
    #[must_use]
    pub fn client_key(mut self, path: impl AsRef<Path>) -> Self {
        self.overrides.user.client_key = text(path.as_ref());
        self
    }

    /// Impersonates this user (`--as`).
    #[must_use]
    pub fn impersonate(mut self, user: impl Into<String>) -> Self {
        self.overrides.user.impersonate = user.into();
        self
    }

    /// Impersonates these groups instead of those of the files (`--as-group`). An error unless a user is impersonated.
    #[must_use]
    pub fn impersonate_groups(mut self, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.overrides.user.impersonate_groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// Impersonates this UID (`--as-uid`). An error unless a user is impersonated.
    #[must_use]
    pub fn impersonate_uid(mut self, uid: impl Into<String>) -> Self {
        self.overrides.user.impersonate_uid = uid.into();
        self
    }

    /// Impersonates these extra fields, as pairs of key and value (`--as-user-extra`). A key may occur several times;
    /// it replaces the same key of the files. An error unless a user is impersonated.
    #[must_use]
    pub fn impersonate_user_extra(
        mut self,
        extra: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let fields = &mut self.overrides.user.impersonate_user_extra;
        fields.clear();
        for (key, value) in extra {
            fields.entry(key.into()).or_default().push(value.into());
        }
        self
    }
}

impl Options {
    /// Reads the files and chooses the cluster. Blocks briefly on file I/O, but opens no connection and runs no exec
    /// plugin.
    ///
    /// # Errors
    /// Fails if the configuration is missing, cannot be read, or is invalid. See [`Error`] for the cases.
    pub fn load(&self) -> Result<ResolvedConfig, Error> {
        let environment = self.surroundings();
        let overrides = self.overrides.clone().resolve_paths(&environment);
        let mut resolved = resolve::resolve(self.kubeconfig.as_deref(), &overrides, &environment)?;
        if let Some(timeout) = self.connect_timeout {
            resolved.config.connect_timeout = Some(timeout);
        }
        tracing::debug!(
            server = resolved.report.server.value,
            namespace = resolved.namespace(),
            "cluster chosen"
        );
        Ok(resolved)
    }

    /// Returns what `kubectl config view --merge --flatten --raw -o json` prints: all files merged, with the contents
    /// of certificate and key files in place of their paths. The value contains secrets. As in kubectl, only the
    /// options that choose the files apply.
    ///
    /// # Errors
    /// Returns [`Error::Read`] or [`Error::Malformed`] for a kubeconfig; [`Error::ReadReferenced`] for a certificate
    /// or key that cannot be read, and [`Error::InvalidEntry`] for one that is given both inline and as a file.
    pub fn view(&self) -> Result<serde_json::Value, Error> {
        Merged::read(&self.surroundings(), self.kubeconfig.as_deref())?.flatten()
    }

    /// Returns the names of all contexts, clusters and users, as `kubectl config get-contexts` prints them. Only the
    /// kubeconfig files are read, and no entry is checked. Without files, the lists are empty.
    ///
    /// # Errors
    /// Returns [`Error::Read`] or [`Error::Malformed`] for a kubeconfig.
    pub fn entries(&self) -> Result<Entries, Error> {
        Ok(Entries::of(&Merged::read(&self.surroundings(), self.kubeconfig.as_deref())?))
    }

    fn surroundings(&self) -> Environment {
        self.environment.clone().unwrap_or_else(Environment::process)
    }
}

/// Paths are text in kubeconfigs, too.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
