//! A client certificate and its key. Source: Go `crypto/tls`, `X509KeyPair`.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::verify::rsa_bits;
use crate::pem::{self, Block};

/// Not `Debug`, because the key is secret.
pub(crate) struct Identity {
    /// As written (PEM), to recognize the same identity.
    pem: (Vec<u8>, Vec<u8>),
    pub(super) certified: Arc<CertifiedKey>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

/// Why an identity cannot be used. The text continues a sentence that begins with the name of the part.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) part: Part,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    Certificate,
    Key,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn certificate_problem(text: &str) -> Problem {
    Problem { part: Part::Certificate, text: text.to_owned() }
}

fn key_problem(text: impl Into<String>) -> Problem {
    Problem { part: Part::Key, text: text.into() }
}

impl Identity {
    /// Reads a certificate, which further certificates of its chain may follow, and its key, both PEM.
    pub(crate) fn from_pem(
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, Problem> {
        let chain: Vec<_> = pem::blocks(certificate)
            .into_iter()
            .filter(|block| block.label == "CERTIFICATE")
            .map(|block| CertificateDer::from(block.content))
            .collect();
        let leaf = chain.first().ok_or_else(|| certificate_problem("contains no PEM certificate"))?;
        let (_, leaf) = X509Certificate::from_der(leaf)
            .map_err(|_| certificate_problem("contains a malformed certificate"))?;
        let signer = signer(key, &leaf, provider)?;
        if signer.public_key().is_some_and(|key| key.as_ref() != leaf.public_key().raw) {
            return Err(key_problem("does not belong to the certificate"));
        }
        let certified = Arc::new(CertifiedKey::new(chain.clone(), signer));
        Ok(Self { pem: (certificate.to_owned(), key.to_owned()), certified })
    }
}

fn signer(
    key: &[u8],
    leaf: &X509Certificate<'_>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Problem> {
    let blocks = pem::blocks(key);
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or_else(|| {
        key_problem(match blocks.first() {
            Some(block) if block.label == "CERTIFICATE" => "contains a certificate instead of a private key",
            _ => "contains no PEM private key",
        })
    })?;
    if is_encrypted(block) {
        return Err(key_problem(
            "is encrypted, and there is no way to give its password: store it decrypted",
        ));
    }
    // As in Go, the label does not matter: some programs write one format under the label of another.
    let der = &block.content;
    let formats = [
        PrivateKeyDer::Pkcs1(der.clone().into()),
        PrivateKeyDer::Pkcs8(der.clone().into()),
        PrivateKeyDer::Sec1(der.clone().into()),
    ];
    let loaded = formats.into_iter().find_map(|der| provider.key_provider.load_private_key(der).ok());
    loaded.ok_or_else(|| match rsa_bits(leaf) {
        Some(bits) if bits < super::verify::MIN_RSA_BITS => key_problem(format!(
            "is an RSA key of {bits} bits, and at least {} are required",
            super::verify::MIN_RSA_BITS
        )),
        _ => key_problem(
            "is malformed, or of a kind that is not supported (RSA, ECDSA P-256, P-384, P-521, Ed25519)",
        ),
    })
}

fn is_encrypted(block: &Block) -> bool {
    block.label == "ENCRYPTED PRIVATE KEY" || block.headers.iter().any(|header| header.contains("ENCRYPTED"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tls;

    const RSA: &str = include_str!("../../tests/suite/keys/rsa.crt");
    const RSA_PKCS8: &str = include_str!("../../tests/suite/keys/rsa.key");
    const RSA_PKCS1: &str = include_str!("../../tests/suite/keys/rsa-pkcs1.key");
    const SMALL: &str = include_str!("../../tests/suite/keys/rsa-1024.crt");
    const SMALL_KEY: &str = include_str!("../../tests/suite/keys/rsa-1024.key");
    /// P-521, version 1, as `openssl x509 -req` writes it without extensions.
    const EC: &str = include_str!("../../tests/suite/keys/ec-v1.crt");
    const EC_PKCS8: &str = include_str!("../../tests/suite/keys/ec.key");
    const EC_SEC1: &str = include_str!("../../tests/suite/keys/ec-sec1.key");

    fn read(certificate: &str, key: &str) -> Result<(), Problem> {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes(), &tls::provider()).map(drop)
    }

    #[test]
    fn keys_are_read_in_each_format_whatever_their_label() {
        let parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIw==\n-----END EC PARAMETERS-----\n";
        for (certificate, key) in [
            (RSA, RSA_PKCS8.to_owned()),
            (RSA, RSA_PKCS1.to_owned()),
            (RSA, RSA_PKCS1.replace("RSA PRIVATE", "PRIVATE")),
            (RSA, RSA_PKCS8.replace("PRIVATE", "RSA PRIVATE")),
            (RSA, format!("{RSA}{RSA_PKCS8}")),
            (EC, EC_PKCS8.to_owned()),
            (EC, EC_SEC1.replace('\n', "\r\n")),
            (EC, format!("{parameters}{EC_SEC1}")),
        ] {
            assert_eq!(read(certificate, &key), Ok(()), "{key}");
        }
    }

    #[test]
    fn an_identity_that_cannot_be_used_is_explained() {
        use Part::{Certificate, Key};
        for (certificate, key, part, text) in [
            ("", RSA_PKCS8, Certificate, "contains no PEM certificate"),
            (RSA_PKCS8, RSA_PKCS8, Certificate, "contains no PEM certificate"),
            (&EC.replacen("MII", "AII", 1), RSA_PKCS8, Certificate, "contains a malformed certificate"),
            (RSA, "", Key, "contains no PEM private key"),
            (RSA, RSA, Key, "contains a certificate instead of a private key"),
            (RSA, EC_PKCS8, Key, "does not belong to the certificate"),
            (RSA, include_str!("../../tests/suite/keys/encrypted-pkcs8.key"), Key, "is encrypted"),
            (RSA, include_str!("../../tests/suite/keys/encrypted-sec1.key"), Key, "is encrypted"),
            (RSA, &RSA_PKCS8.replacen("MII", "AII", 1), Key, "is malformed"),
            (SMALL, SMALL_KEY, Key, "is an RSA key of 1024 bits, and at least 2048 are required"),
        ] {
            let problem = read(certificate, key).unwrap_err();
            assert_eq!(problem.part, part, "{problem}");
            assert!(problem.to_string().starts_with(text), "{problem}");
        }
    }
}
