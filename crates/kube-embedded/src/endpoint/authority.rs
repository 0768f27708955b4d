//! The server's certificate authority: for its own certificate, and for those of clients.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::store::Store;
use crate::user::User;

/// What the store keeps the authority under.
const KEPT_KEY: &str = "authority/key";
const KEPT_CERTIFICATE: &str = "authority/certificate";

/// A certificate authority that lives as long as its server's store.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    certificate: String,
}

/// A client's certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    /// As PEM.
    pub(crate) chain: String,
    /// As PEM.
    pub(crate) key: String,
}

impl Authority {
    /// The one that a store keeps, made if there is none.
    pub(crate) fn of(store: &Store) -> Result<Self, Error> {
        let text = |name| store.kept(name).and_then(|kept| String::from_utf8(kept).ok());
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kube-embedded");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        if let (Some(key), Some(certificate)) = (text(KEPT_KEY), text(KEPT_CERTIFICATE)) {
            let key = KeyPair::from_pem(&key).map_err(certificate_error)?;
            return Ok(Self { issuer: Issuer::new(params, key), certificate });
        }
        let key = KeyPair::generate().map_err(certificate_error)?;
        let certificate = params.self_signed(&key).map_err(certificate_error)?.pem();
        store.keep(KEPT_KEY, key.serialize_pem().into_bytes());
        store.keep(KEPT_CERTIFICATE, certificate.clone().into_bytes());
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its certificate, as PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a user. It does not expire.
    pub(crate) fn identity(&self, user: &User) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, &*user.name);
        if let Some(group) = user.groups.first() {
            // rcgen has one value of each type; the server knows all groups by the certificate itself.
            params.distinguished_name.push(DnType::OrganizationName, &**group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(certificate_error)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(certificate_error)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            chain: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// TLS for an address of this machine. Clients may have a certificate, and those that have one must have it from here.
    pub(crate) fn acceptor(&self, address: SocketAddr) -> Result<TlsAcceptor, Error> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        let mut params = CertificateParams::new(names).map_err(certificate_error)?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(certificate_error)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(certificate_error)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(tls_error)?;
        roots.add(root).map_err(tls_error)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(tls_error)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let chain = vec![certificate.der().clone()];
                builder.with_client_cert_verifier(clients).with_single_cert(chain, key)
            })
            .map_err(tls_error)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificate_error(error: rcgen::Error) -> Error {
    Error::Certificate(error.into())
}

fn tls_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Tls(error.into())
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
