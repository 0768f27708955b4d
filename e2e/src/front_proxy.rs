//! Front proxies: their authority, which the API server trusts to name users in headers.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::given::Identity;

/// The common name of the API server as a proxy, which is the only one that it accepts of others.
pub const FRONT_PROXY: &str = "front-proxy";

/// The authority of front proxies.
pub struct FrontProxies {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl FrontProxies {
    pub(crate) fn new() -> Result<FrontProxies> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "front proxies");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(FrontProxies { issuer: Issuer::new(params, key), certificate })
    }

    /// Returns the authority's certificate in PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.certificate
    }

    /// Issues the certificate of a proxy.
    ///
    /// # Errors
    /// Fails without random numbers.
    pub fn issue(&self, common_name: &str) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}
