//! TLS: which servers are trusted, and which certificate is shown to them.

use std::sync::Arc;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;

use super::identity::Identity;
use super::verify::{Insecure, Verifier};

/// Which servers are trusted.
#[derive(Clone)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    /// The name that the server's certificate must have, if it is not that of the address.
    name: Option<ServerName<'static>>,
}

/// Why there is no [`Trust`].
#[derive(Debug)]
pub(crate) enum Problem {
    /// `tls-server-name` is neither a DNS name nor an IP address.
    Name,
    /// The trust store of the system cannot be read.
    System(rustls::Error),
}

/// The cryptographic library.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Trust {
    pub(super) fn new(config: &kube::Config) -> Result<Self, Problem> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = if config.accept_invalid_certs {
            Arc::new(Insecure(provider.clone()))
        } else if let Some(all) = &config.root_cert {
            let all = all.iter().cloned().map(CertificateDer::from).collect();
            Arc::new(Verifier::new(all, config.root_cert_file.clone(), provider.clone()))
        } else {
            let system = rustls_platform_verifier::Verifier::new(provider.clone());
            Arc::new(system.map_err(Problem::System)?)
        };
        let name = config.tls_server_name.clone().map(ServerName::try_from).transpose();
        Ok(Self { provider, verifier, name: name.map_err(|_| Problem::Name)? })
    }

    /// The same authorities for a server of its own name.
    pub(super) fn of_proxy(&self) -> Self {
        Self { name: None, ..self.clone() }
    }

    /// Adds TLS to a connector, for addresses that start with `https`.
    pub(super) fn connector<C>(
        &self,
        identity: Option<&Identity>,
        connector: C,
    ) -> Result<HttpsConnector<C>, rustls::Error> {
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let config = match identity {
            Some(identity) => {
                let resolver = SingleCertAndKey::from(identity.certified.clone());
                config.with_client_cert_resolver(Arc::new(resolver))
            }
            None => config.with_no_client_auth(),
        };
        let mut builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        if let Some(name) = &self.name {
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone()));
        }
        Ok(builder.enable_http1().wrap_connector(connector))
    }
}
