//! The chosen cluster, from which clients are built.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use crate::client::{self, Auth, Certificate, ExecPlugin, Part, TrustProblem, Unusable};
use crate::error::Error;
use crate::report::{Located, Origin, Report};
use crate::tls_error::Names;

/// The chosen cluster, and how it was chosen.
#[derive(Clone)]
pub struct ResolvedConfig {
    pub(crate) config: kube::Config,
    pub(crate) auth: Auth,
    pub(crate) report: Report,
}

impl ResolvedConfig {
    /// Builds a client with this crate's authentication, proxy and TLS. It connects on the first request. Each call
    /// builds a client with its own connections; clones of a client share them.
    ///
    /// # Errors
    /// Returns [`Error::InvalidEntry`] or [`Error::ReadReferenced`] if the user's client certificate, its key or the
    /// cluster's `tls-server-name` cannot be used, and [`Error::Client`] if the system's certificates cannot be read.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime, like [`kube::Client::new`].
    pub fn client(&self) -> Result<kube::Client, Error> {
        let certificate = self.certificate()?;
        let names = Names::of(&self.report, &self.config);
        client::build(&self.config, &self.auth, certificate.as_ref(), names).map_err(|error| match error {
            Unusable::Identity(problem) => {
                self.invalid("user", &self.report.user, format!("{} {problem}", self.field(problem.part)))
            }
            Unusable::Trust(TrustProblem::Name) => {
                let problem = "tls-server-name is neither a DNS name nor an IP address";
                self.invalid("cluster", &self.report.cluster, problem.to_owned())
            }
            Unusable::Trust(TrustProblem::System(error)) | Unusable::Tls(error) => {
                self.unusable(kube::Error::Service(Box::new(error)))
            }
            Unusable::Kube(error) => self.unusable(error),
        })
    }

    fn unusable(&self, source: kube::Error) -> Error {
        Error::Client { server: self.report.server.value.clone(), source: Box::new(source) }
    }

    fn invalid(&self, kind: &str, entry: &Option<Located>, problem: String) -> Error {
        let name = entry.as_ref().map(|entry| entry.value.as_str()).unwrap_or_default();
        Error::InvalidEntry { entry: format!("{kind} {name:?}"), file: file_of(entry), problem }
    }

    /// Reads the user's client certificate and its key.
    fn certificate(&self) -> Result<Option<Certificate>, Error> {
        let info = &self.config.auth_info;
        let certificate = self.content(
            "client-certificate",
            &info.client_certificate,
            info.client_certificate_data.as_deref(),
        )?;
        let key = info.client_key_data.as_ref().map(ExposeSecret::expose_secret);
        let key = self.content("client-key", &info.client_key, key)?;
        Ok(certificate.zip(key).map(|(certificate, key)| Certificate { certificate, key }))
    }

    fn content(
        &self,
        field: &'static str,
        path: &Option<String>,
        data: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Error> {
        // The data was decoded, and encoded again for kube, when the file was read.
        if let Some(data) = data {
            return Ok(STANDARD.decode(data).ok());
        }
        let Some(path) = path else { return Ok(None) };
        std::fs::read(path).map(Some).map_err(|source| Error::ReadReferenced {
            field,
            path: path.into(),
            entry: format!(
                "user {:?}",
                self.report.user.as_ref().map(|user| user.value.as_str()).unwrap_or_default()
            ),
            file: file_of(&self.report.user),
            source,
        })
    }

    /// The field of the kubeconfig that has a part of the client certificate, and its file.
    fn field(&self, part: Part) -> String {
        let (field, path) = match part {
            Part::Certificate => ("client-certificate", &self.config.auth_info.client_certificate),
            Part::Key => ("client-key", &self.config.auth_info.client_key),
        };
        match path {
            Some(path) => format!("{field} {path}"),
            None => format!("{field}-data"),
        }
    }

    /// Returns the exec plugin whose credential requests carry, if there is one.
    pub fn exec_plugin(&self) -> Option<ExecPlugin> {
        self.auth.plugin()
    }

    /// Returns the configuration as kube's own type, which contains credentials. Prefer [`ResolvedConfig::client`]: a
    /// client that kube builds from this follows kube's rules for plugins, token files and proxies.
    pub fn config(&self) -> &kube::Config {
        &self.config
    }

    /// Returns the default namespace for requests. `report().namespace` also has its origin.
    pub fn namespace(&self) -> &str {
        &self.report.namespace.value
    }

    /// Returns how the cluster was chosen.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Debug for ResolvedConfig {
    /// Formats only the report, because the rest contains secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedConfig").field("report", &self.report).finish_non_exhaustive()
    }
}

fn file_of(entry: &Option<Located>) -> PathBuf {
    match entry.as_ref().map(|entry| &entry.origin) {
        Some(Origin::File(file)) => file.clone(),
        _ => PathBuf::new(),
    }
}
