//! Whether the server's certificate is trusted. rustls decides, with two differences that Go makes, too:
//!
//! - A server whose certificate is itself given as an authority is trusted, whatever kind of certificate that is.
//!   Name, dates and usage are still checked. Source: Go `crypto/x509`, `Certificate.Verify`.
//! - A certificate that is no authority does not vouch for others, even if it is given as one. Source: Go
//!   `crypto/x509`, `CheckSignatureFrom`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

use crate::pem;
use crate::tls_error::WeakKey;

/// How often the file of a certificate authority is read again.
const PERIOD: Duration = Duration::from_secs(60);
/// The smallest RSA keys that the cryptographic library accepts.
pub(super) const MIN_RSA_BITS: usize = 2048;

/// Trusts the certificates of a bundle.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Re-read every [`PERIOD`].
    file: Option<PathBuf>,
    current: Mutex<(Arc<Authorities>, Instant)>,
}

#[derive(Debug)]
struct Authorities {
    all: Vec<CertificateDer<'static>>,
    /// Those of them that may vouch for others. `None` if none may.
    issuers: Option<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    pub(super) fn new(
        all: Vec<CertificateDer<'static>>,
        file: Option<PathBuf>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let current = Arc::new(Authorities::new(all, &provider));
        Self { provider, file, current: Mutex::new((current, Instant::now())) }
    }

    fn authorities(&self, now: Instant) -> Arc<Authorities> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file
            && now.saturating_duration_since(current.1) >= PERIOD
        {
            current.1 = now;
            let all = std::fs::read(file).map(|pem| pem::authorities(&pem)).unwrap_or_default();
            if all.is_empty() {
                tracing::warn!(path = %file.display(), "cannot re-read the certificate authority, using the last one");
            } else {
                current.0 = Arc::new(Authorities::new(all, &self.provider));
            }
        }
        current.0.clone()
    }
}

impl Authorities {
    fn new(all: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        for der in all.iter().filter(|der| is_issuer(der)) {
            // What cannot be used is skipped, as a malformed block is.
            let _ = roots.add(der.clone());
        }
        // Fails only if there are no roots.
        let issuers =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
        Self { all, issuers }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.all.contains(end_entity) {
            return verify_itself(end_entity, name, now);
        }
        let issuers = self.issuers.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        let Err(error) = issuers.verify_server_cert(end_entity, intermediates, name, ocsp, now) else {
            return Ok(());
        };
        // A certificate with such a key fails with whatever error comes first.
        let weak = [end_entity].into_iter().chain(intermediates).chain(&self.all).find_map(weakness);
        Err(match error {
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
            ) => weak.unwrap_or(error),
            // An authority of the same name as the right one, such as that of a cluster that was created again.
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                weak.unwrap_or_else(|| CertificateError::UnknownIssuer.into())
            }
            // webpki refuses an authority as a server before it asks who issued it.
            Error::InvalidCertificate(CertificateError::Other(_)) if is_issuer(end_entity) => {
                CertificateError::UnknownIssuer.into()
            }
            error => error,
        })
    }
}

/// Whether a certificate may vouch for servers now. Version 1 cannot express that it may not. webpki does not ask this of
/// the authorities that it is given; Go does.
fn is_issuer(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let constraints = certificate.basic_constraints().ok().flatten();
    let usage = certificate.key_usage().ok().flatten();
    let extended = certificate.extended_key_usage().ok().flatten();
    constraints.map_or(certificate.version() != X509Version::V3, |constraints| constraints.value.ca)
        && usage.is_none_or(|usage| usage.value.key_cert_sign())
        && extended.is_none_or(|usage| usage.value.any || usage.value.server_auth)
        && certificate.validity().is_valid()
}

/// Verifies a certificate that is trusted if it is one of a server with this name, now.
fn verify_itself(der: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    let understood =
        |extension: &ParsedExtension<'_>| !extension.unsupported() && extension.error().is_none();
    if certificate.extensions().iter().any(|it| it.critical && !understood(it.parsed_extension())) {
        return Err(CertificateError::UnhandledCriticalExtension.into());
    }
    let seconds = |time: x509_parser::time::ASN1Time| {
        UnixTime::since_unix_epoch(Duration::from_secs(time.timestamp().try_into().unwrap_or_default()))
    };
    let validity = certificate.validity();
    let (not_before, not_after) = (seconds(validity.not_before), seconds(validity.not_after));
    if now.as_secs() < not_before.as_secs() {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now.as_secs() > not_after.as_secs() {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(der)?, name)?;
    let usage = certificate.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    weakness(der).map_or(Ok(()), Err)
}

fn weakness(der: &CertificateDer<'_>) -> Option<Error> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let bits = rsa_bits(&certificate).filter(|bits| *bits < MIN_RSA_BITS)?;
    Some(CertificateError::Other(OtherError(Arc::new(WeakKey { bits }))).into())
}

/// Returns the size of an RSA key, or `None` if it is another kind of key.
pub(super) fn rsa_bits(certificate: &X509Certificate<'_>) -> Option<usize> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        _ => None,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authorities = self.authorities(Instant::now());
        authorities.verify(end_entity, intermediates, server_name, ocsp_response, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts every server (`insecure-skip-tls-verify`). The handshake's signature proves nothing about an unknown key, so
/// it is not verified either; that admits servers whose keys and certificates are too old for rustls.
#[derive(Debug)]
pub(super) struct Insecure(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Insecure {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tls;

    const SMALL: &str = include_str!("../../tests/suite/keys/rsa-1024.crt");

    #[test]
    fn a_server_with_a_small_key_is_refused_for_that_reason() {
        let all = pem::authorities(SMALL.as_bytes());
        let authorities = Authorities::new(all.clone(), &tls::provider());
        let name = ServerName::try_from("api.test").unwrap();
        let error = authorities.verify(&all[0], &[], &name, &[], UnixTime::now()).unwrap_err();
        let Error::InvalidCertificate(CertificateError::Other(other)) = error else { panic!("{error}") };
        assert_eq!(other.0.downcast_ref::<WeakKey>().unwrap().bits, 1024);
    }

    #[test]
    fn authorities_that_have_expired_or_are_for_clients_vouch_for_no_server() {
        let authority = |change: fn(&mut rcgen::CertificateParams)| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            change(&mut params);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        assert!(is_issuer(&authority(|_| {})));
        assert!(is_issuer(&authority(|params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        })));
        assert!(!is_issuer(&authority(|params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        })));
        assert!(!is_issuer(&authority(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))));
        assert!(!is_issuer(&authority(|params| params.not_before = rcgen::date_time_ymd(2999, 1, 1))));
    }

    #[test]
    fn the_file_is_read_again_after_its_period() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.crt");
        let (one, two) = (SMALL, include_str!("../../tests/suite/keys/rsa.crt"));
        let provider = tls::provider();
        let verifier = Verifier::new(pem::authorities(one.as_bytes()), Some(path.clone()), provider);
        let start = Instant::now();
        let trusted = |at| verifier.authorities(at).all.clone();
        std::fs::write(&path, two).unwrap();
        assert_eq!(trusted(start), pem::authorities(one.as_bytes()));
        assert_eq!(trusted(start + 2 * PERIOD), pem::authorities(two.as_bytes()));
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(trusted(start + 4 * PERIOD), pem::authorities(two.as_bytes()));
    }
}
