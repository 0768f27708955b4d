//! Keys and certificates in PEM (RFC 7468).

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The sections of a file, up to one that is broken.
pub(crate) struct Pem(Vec<(SectionKind, Vec<u8>)>);

impl Pem {
    pub(crate) fn parse(pem: &[u8]) -> Self {
        type Section = (SectionKind, Vec<u8>);
        let sections = <Section as PemObject>::pem_slice_iter(pem);
        Self(sections.map_while(|section: Result<Section, pem::Error>| section.ok()).collect())
    }

    fn sections(&self, kinds: &[SectionKind]) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(kind, _)| kinds.contains(kind)).map(|(_, der)| &**der)
    }

    /// The certificates, in DER.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.sections(&[SectionKind::Certificate])
    }

    /// The first private key, in DER: PKCS #8, PKCS #1 or SEC 1.
    pub(crate) fn private_key(&self) -> Option<Vec<u8>> {
        let kinds = &[SectionKind::PrivateKey, SectionKind::RsaPrivateKey, SectionKind::EcPrivateKey];
        self.sections(kinds).next().map(<[u8]>::to_vec)
    }

    /// The public keys, also those in certificates, each as a `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_keys(&self) -> Vec<Vec<u8>> {
        let plain = self.sections(&[SectionKind::PublicKey]).map(<[u8]>::to_vec);
        let certified = self.certificates().filter_map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            Some(certificate.public_key().raw.to_vec())
        });
        plain.chain(certified).collect()
    }
}
