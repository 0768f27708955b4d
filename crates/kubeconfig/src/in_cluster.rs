//! The cluster that this process runs in, accessed with its pod's service account.
//! Source: client-go `rest/config.go` (`InClusterConfig`) and `tools/clientcmd/client_config.go`.

use std::io;
use std::path::Path;

use http::Uri;

use crate::client::{Auth, TokenFile};
use crate::cluster::{certificates, server_name};
use crate::environment::Environment;
use crate::error::Error;
use crate::merge::Merged;
use crate::proxy;
use crate::report::{AuthMethod, Located, Origin, Report};
use crate::resolved::ResolvedConfig;

/// A pod with a service account, as the kubelet sets it up.
pub(crate) struct Pod<'a> {
    environment: &'a Environment,
    host: &'a str,
    port: &'a str,
    service_account: &'a Path,
}

impl<'a> Pod<'a> {
    /// Returns `None` outside of a pod, or in a pod without a token.
    pub(crate) fn detect(environment: &'a Environment) -> Option<Self> {
        let host = environment.var("KUBERNETES_SERVICE_HOST")?;
        let port = environment.var("KUBERNETES_SERVICE_PORT")?;
        let service_account = environment.service_account_dir()?;
        let token = service_account.join("token").metadata().ok()?;
        (!token.is_dir()).then_some(Self { environment, host, port, service_account })
    }

    /// Returns `POD_NAMESPACE`, else the namespace of the service account, else `default`.
    pub(crate) fn namespace(&self) -> Located {
        if let Some(name) = self.environment.var("POD_NAMESPACE") {
            return Located { value: name.to_owned(), origin: Origin::Variable("POD_NAMESPACE".to_owned()) };
        }
        let path = self.service_account.join("namespace");
        match std::fs::read_to_string(&path) {
            Ok(content) if !content.trim().is_empty() => {
                Located { value: content.trim().to_owned(), origin: Origin::ServiceAccount(path) }
            }
            _ => Located { value: "default".to_owned(), origin: Origin::Default },
        }
    }

    /// Resolves to the pod's cluster. `merged` selects no context; the report names its files.
    pub(crate) fn resolve(&self, merged: &Merged) -> Result<ResolvedConfig, Error> {
        let mut config = kube::Config::new(self.server()?);

        let ca_path = self.service_account.join("ca.crt");
        match std::fs::read(&ca_path).map(|pem| certificates(&pem)) {
            Ok(Some(certificates)) => {
                config.root_cert = Some(certificates);
                config.root_cert_file = Some(ca_path);
            }
            // client-go also continues, with the system's certificates.
            Ok(None) => {
                tracing::warn!(path = %ca_path.display(), "the certificate authority's file contains no certificate");
            }
            Err(error) => {
                tracing::warn!(path = %ca_path.display(), %error, "cannot read the certificate authority");
            }
        }

        let token_path = self.service_account.join("token");
        let token = TokenFile::new(token_path.clone(), "");
        token.token().map_err(|error| Error::InCluster {
            problem: "cannot read the token",
            path: token_path.clone(),
            source: error.into_io().unwrap_or_else(|problem| io::Error::other(format!("it {problem}"))),
        })?;
        config.auth_info.token_file = token_path.to_str().map(str::to_owned);

        let namespace = self.namespace();
        config.default_namespace.clone_from(&namespace.value);
        let proxy = proxy::from_environment(self.environment, &config.cluster_url)?;
        config.proxy_url = proxy.as_ref().map(|(uri, _)| uri.clone());
        let report = Report {
            files: merged.files.clone(),
            in_cluster: true,
            context: None,
            context_file: None,
            cluster: None,
            server: Located {
                value: server_name(&config),
                origin: Origin::Variable("KUBERNETES_SERVICE_HOST".to_owned()),
            },
            user: None,
            namespace,
            auth: vec![AuthMethod::TokenFile(token_path)],
            credentials_withheld: false,
            impersonate: None,
            proxy: proxy.map(proxy::located),
            insecure_skip_tls_verify: false,
        };
        Ok(ResolvedConfig { config, auth: Auth::token_file(token), report })
    }

    fn server(&self) -> Result<Uri, Error> {
        let (host, port) = (self.host, self.port);
        let url = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        url.parse().map_err(|_| Error::InvalidVariable {
            name: "KUBERNETES_SERVICE_HOST",
            problem: format!("and KUBERNETES_SERVICE_PORT do not form an address: {url:?}"),
        })
    }
}
