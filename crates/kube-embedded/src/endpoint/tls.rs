//! TLS for a socket, and the user of a client certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

use super::authority::Authority;
use super::pem::Pem;
use crate::error::Error;
use crate::user::User;

/// With which certificate a server is served, and whose client certificates it accepts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// `None`: one that the server's authority issues for the socket.
    certificate: Option<Arc<CertifiedKey>>,
    /// In addition to the server's own.
    client_authorities: Vec<CertificateDer<'static>>,
    /// Names and addresses in the server's own certificate, in addition to those of this machine.
    names: Vec<String>,
}

impl Tls {
    /// Serves with a certificate chain and its key, in PEM.
    pub(crate) fn with_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = certificates(chain);
        if chain.is_empty() {
            return Err(Error::Pem("certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Pem("private key"))?;
        let certified =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(tls_error)?;
        self.certificate = Some(Arc::new(certified));
        Ok(self)
    }

    /// Names the server in its own certificate.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Accepts client certificates of these authorities, in PEM.
    pub(crate) fn with_client_authority(mut self, bundle: &[u8]) -> Result<Self, Error> {
        let mut authorities = certificates(bundle);
        if authorities.is_empty() {
            return Err(Error::Pem("certificate"));
        }
        self.client_authorities.append(&mut authorities);
        Ok(self)
    }

    /// TLS for a local address. Client certificates are optional.
    pub(super) fn acceptor(&self, own: &Authority, address: SocketAddr) -> Result<TlsAcceptor, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = match &self.certificate {
            Some(certified) => Arc::clone(certified),
            None => {
                let (certificate, key) = own.serving(address, &self.names)?;
                Arc::new(CertifiedKey::from_der(vec![certificate], key, &provider).map_err(tls_error)?)
            }
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(own.pem().as_bytes()).iter().chain(&self.client_authorities).cloned() {
            roots.add(root).map_err(tls_error)?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(tls_error)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The user that a verified certificate names: kube-apiserver's `CommonNameUserConversion`. `None`: it names nobody.
pub(super) fn user(certificate: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok().filter(|name| !name.is_empty())?;
    let groups =
        subject.iter_organization().map(AttributeTypeAndValue::as_str).collect::<Result<Vec<_>, _>>().ok()?;
    Some(User::new(name, &groups))
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    Pem::parse(pem).certificates().map(|der| CertificateDer::from(der.to_vec())).collect()
}

fn tls_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Tls(error.into())
}
