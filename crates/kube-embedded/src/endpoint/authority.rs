//! The server's certificate authority, which issues the server's own certificate and those of clients.

use std::net::SocketAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::Error;
use crate::store::Store;
use crate::user::User;

/// The name under which the store keeps the key.
const KEPT_KEY: &str = "authority/key";
const KEPT_CERTIFICATE: &str = "authority/certificate";

/// A certificate authority that lives as long as the server's store.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate in PEM.
    certificate: String,
}

/// A client's certificate and key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    /// In PEM.
    pub(crate) chain: String,
    /// In PEM.
    pub(crate) key: String,
}

impl Authority {
    /// Loads the authority that a store keeps, or creates one.
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

    /// Its certificate in PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for a user. It does not expire.
    pub(crate) fn identity(&self, user: &User) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, &*user.name);
        if let Some(group) = user.groups.first() {
            // rcgen allows one value of each type. The server finds the groups by the certificate itself.
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

    /// Issues a certificate for a local address and other names.
    pub(super) fn serving(
        &self,
        address: SocketAddr,
        others: &[String],
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        names.extend_from_slice(others);
        let mut params = CertificateParams::new(names).map_err(certificate_error)?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(certificate_error)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(certificate_error)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((certificate.der().clone(), key))
    }
}

fn certificate_error(error: rcgen::Error) -> Error {
    Error::Certificate(error.into())
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
