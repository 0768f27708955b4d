//! The keys that sign and verify the tokens of ServiceAccounts: RSA with PKCS #1 and SHA-256, and ECDSA with P-256, P-384
//! or P-521, as JSON Web Algorithms (RFC 7518) names them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Numbers;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A way to sign.
#[derive(Clone, Copy, Debug)]
struct Algorithm {
    /// The name in a token's header.
    name: &'static str,
    verification: &'static dyn VerificationAlgorithm,
    /// The curve of ECDSA.
    curve: Option<&'static str>,
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm { name: "RS256", verification: &RSA_PKCS1_2048_8192_SHA256, curve: None },
    Algorithm { name: "ES256", verification: &ECDSA_P256_SHA256_FIXED, curve: Some("P-256") },
    Algorithm { name: "ES384", verification: &ECDSA_P384_SHA384_FIXED, curve: Some("P-384") },
    Algorithm { name: "ES512", verification: &ECDSA_P521_SHA512_FIXED, curve: Some("P-521") },
];
const CURVES: [&EcdsaSigningAlgorithm; 3] =
    [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED_SIGNING];

/// A key that verifies signatures.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// A key that signs.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pair: Pair,
    public: PublicKey,
    random: SystemRandom,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` (RFC 5280) in DER. `None`: it is no such key, or one of another algorithm.
    pub(crate) fn from_der(info: &[u8]) -> Option<Self> {
        ALGORITHMS.into_iter().find_map(|algorithm| {
            Some(Self { algorithm, key: ParsedPublicKey::new(algorithm.verification, info).ok()? })
        })
    }

    fn of(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Option<Self> {
        Self::from_der(key.as_der().ok()?.as_ref())
    }

    /// The name of its algorithm.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm.name
    }

    /// Its id as kube-apiserver derives it: the digest of its `SubjectPublicKeyInfo`.
    pub(crate) fn id(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.key.as_ref()))
    }

    /// The key as a JSON Web Key (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let mut key = json!({"use": "sig", "kid": self.id(), "alg": self.algorithm.name});
        let info = SubjectPublicKeyInfo::from_der(self.key.as_ref());
        match info.as_ref().map(|(_, info)| info.parsed()) {
            Ok(Ok(Numbers::RSA(rsa))) => {
                // The sign byte of DER's integers is not part of the number.
                let number = |bytes: &[u8]| encode(bytes.strip_prefix(&[0]).unwrap_or(bytes));
                key["kty"] = "RSA".into();
                key["n"] = number(rsa.modulus).into();
                key["e"] = number(rsa.exponent).into();
            }
            Ok(Ok(Numbers::EC(point))) => {
                // An uncompressed point: a byte that marks it as such, and two coordinates.
                let coordinates = point.data().get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                key["kty"] = "EC".into();
                key["crv"] = self.algorithm.curve.into();
                key["x"] = encode(x).into();
                key["y"] = encode(y).into();
            }
            _ => {}
        }
        key
    }

    /// Whether a signature of a message was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl SigningKey {
    /// Creates a key for ES256, as PKCS #8. `None` if the system has no random numbers.
    pub(crate) fn generate() -> Option<Vec<u8>> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        Some(EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).ok()?.as_ref().to_vec())
    }

    /// Reads a private key in DER: PKCS #8, PKCS #1 or SEC 1. `None`: it is no such key, or one of another algorithm.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        let ecdsa =
            || CURVES.into_iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok());
        let (pair, public) = match rsa {
            Ok(pair) => {
                let public = PublicKey::of(pair.public_key())?;
                (Pair::Rsa(pair), public)
            }
            Err(_) => {
                let pair = ecdsa()?;
                let public = PublicKey::of(pair.public_key())?;
                (Pair::Ecdsa(pair), public)
            }
        };
        Some(Self { pair, public, random: SystemRandom::new() })
    }

    /// The key that verifies what this one signs.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message. `None` if the system has no random numbers.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ecdsa(pair) => Some(pair.sign(&self.random, message).ok()?.as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::rsa::KeySize;

    use super::*;

    /// Private keys of all algorithms.
    fn keys() -> Vec<(&'static str, Vec<u8>)> {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut keys = vec![("RS256", AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap().as_ref().to_vec())];
        for (name, curve) in ["ES256", "ES384", "ES512"].into_iter().zip(CURVES) {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
            let sec1 = EcdsaKeyPair::generate(curve).unwrap().private_key().as_der().unwrap();
            keys.extend([(name, pkcs8.as_ref().to_vec()), (name, sec1.as_ref().to_vec())]);
        }
        keys
    }

    #[test]
    fn each_algorithm_verifies_what_it_signs() {
        for (name, der) in keys() {
            let key = SigningKey::from_der(&der).unwrap();
            assert_eq!(key.public().algorithm(), name);
            let mut signature = key.sign(b"message").unwrap();
            let public = PublicKey::from_der(key.public().key.as_ref()).unwrap();
            assert!(public.verifies(b"message", &signature));
            assert!(!public.verifies(b"massage", &signature));
            signature[3] ^= 1;
            assert!(!public.verifies(b"message", &signature));
        }
    }

    #[test]
    fn numbers_of_a_key_are_published() {
        for (name, der) in keys() {
            let jwk = SigningKey::from_der(&der).unwrap().public().jwk();
            let size =
                |field: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk[field].as_str().unwrap()).unwrap().len();
            match name {
                "RS256" => {
                    assert_eq!((jwk["kty"].as_str(), jwk["e"].as_str()), (Some("RSA"), Some("AQAB")));
                    assert_eq!(size("n"), 256);
                }
                name => {
                    let (curve, length) = match name {
                        "ES256" => ("P-256", 32),
                        "ES384" => ("P-384", 48),
                        _ => ("P-521", 66),
                    };
                    assert_eq!((jwk["kty"].as_str(), jwk["crv"].as_str()), (Some("EC"), Some(curve)));
                    assert_eq!((size("x"), size("y")), (length, length));
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for der in [&b""[..], b"key", &[0x30, 0x03, 0x02, 0x01, 0x00]] {
            assert!(SigningKey::from_der(der).is_none() && PublicKey::from_der(der).is_none());
        }
    }
}
