//! TLS for a socket, and the user of a client certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Version};

use super::authority::Authority;
use super::front_proxy::RequestHeaders;
use super::pem::Pem;
use crate::cluster::{Cluster, Trusted, certificate_holder};
use crate::error::Error;
use crate::http::authenticate;
use crate::store::Store;
use crate::user::User;

/// With which certificate a server is served, and whose client certificates it accepts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// `None`: one that the server's authority issues for the socket.
    certificate: Option<Arc<CertifiedKey>>,
    /// In addition to the server's own.
    client_authorities: Vec<CertificateDer<'static>>,
    front_proxies: Option<FrontProxies>,
    /// Names and addresses in the server's own certificate, in addition to those of this machine.
    names: Vec<String>,
}

/// The front proxies that may say who a user is.
#[derive(Clone, Debug)]
struct FrontProxies {
    authorities: Vec<CertificateDer<'static>>,
    headers: Arc<RequestHeaders>,
}

/// Lets every client shake hands, as kube-apiserver does, so that one with an unknown certificate gets an answer. Its certificate then
/// counts for nothing: see [`Clients::holder`].
#[derive(Debug)]
struct AnyClient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whose client certificates a socket accepts.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    users: Arc<dyn ClientCertVerifier>,
    front_proxies: Option<(Arc<dyn ClientCertVerifier>, Arc<RequestHeaders>)>,
}

/// What the certificate of a connection stands for. The default is that of a connection without one.
#[derive(Clone, Debug, Default)]
pub(super) struct Holder {
    /// The headers in which its holder names users, if that is a front proxy.
    pub(super) headers: Option<Arc<RequestHeaders>>,
    /// The user whom it names, if an authority of users has issued it.
    pub(super) user: Option<User>,
    /// Whether it is not accepted for one of both: without other credentials, its holder is nobody, not even anonymous.
    pub(super) is_refused: bool,
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
        self.client_authorities.append(&mut authorities(bundle)?);
        Ok(self)
    }

    /// Lets front proxies with certificates of these authorities, in PEM, say who the user of a request is.
    pub(crate) fn with_front_proxies(
        mut self,
        bundle: &[u8],
        headers: RequestHeaders,
    ) -> Result<Self, Error> {
        headers.check().map_err(|why| Error::Tls(why.into()))?;
        self.front_proxies =
            Some(FrontProxies { authorities: authorities(bundle)?, headers: Arc::new(headers) });
        Ok(self)
    }

    /// Whom it trusts, together with the server's own authority.
    pub(crate) fn trusted(&self, own: &Authority) -> Trusted {
        let der = |all: &[CertificateDer<'_>]| all.iter().map(|it| it.to_vec()).collect::<Vec<_>>();
        let mut trusted = Trusted {
            authorities: vec![("client-ca-file", der(&self.user_authorities(own)))],
            lists: Vec::new(),
        };
        if let Some(FrontProxies { authorities, headers }) = &self.front_proxies {
            trusted.authorities.push(("requestheader-client-ca-file", der(authorities)));
            trusted.lists = vec![
                ("requestheader-username-headers", headers.username.clone()),
                ("requestheader-uid-headers", headers.uid.clone()),
                ("requestheader-group-headers", headers.groups.clone()),
                ("requestheader-extra-headers-prefix", headers.extra_prefixes.clone()),
                ("requestheader-allowed-names", headers.allowed_names.clone()),
            ];
        }
        trusted
    }

    fn user_authorities(&self, own: &Authority) -> Vec<CertificateDer<'static>> {
        certificates(own.pem().as_bytes())
            .into_iter()
            .chain(self.client_authorities.iter().cloned())
            .collect()
    }

    /// TLS for a local address. Client certificates are optional.
    pub(super) fn acceptor(
        &self,
        own: &Authority,
        address: SocketAddr,
    ) -> Result<(TlsAcceptor, Clients), Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = match &self.certificate {
            Some(certified) => Arc::clone(certified),
            None => {
                let (certificate, key) = own.serving(address, &self.names)?;
                Arc::new(CertifiedKey::from_der(vec![certificate], key, &provider).map_err(tls_error)?)
            }
        };
        let of_users = self.user_authorities(own);
        let of_proxies = self.front_proxies.as_ref().map_or(&[][..], |proxies| &proxies.authorities);
        let clients = Clients {
            users: verifier(&of_users, &provider)?,
            front_proxies: match &self.front_proxies {
                Some(proxies) => Some((verifier(of_proxies, &provider)?, Arc::clone(&proxies.headers))),
                None => None,
            },
        };
        let known = verifier(of_users.iter().chain(of_proxies), &provider)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_client_cert_verifier(Arc::new(AnyClient(known)))
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((TlsAcceptor::from(Arc::new(config)), clients))
    }
}

impl Clients {
    /// What a certificate stands for, of which only is known that its holder has the key.
    pub(super) fn holder(&self, store: &Store, chain: &[CertificateDer<'_>]) -> Holder {
        let Some((certificate, intermediates)) = chain.split_first() else { return Holder::default() };
        let is_of = |verifier: &Arc<dyn ClientCertVerifier>| {
            verifier.verify_client_cert(certificate, intermediates, UnixTime::now()).is_ok()
        };
        let is_user = is_of(&self.users);
        // The groups of a certificate of the server's own do not all fit into it.
        let named = || certificate_holder(store, certificate).or_else(|| user(certificate));
        let headers = self.front_proxies.as_ref().and_then(|(verifier, headers)| {
            let is_allowed = is_of(verifier) && headers.allows(&common_name(certificate)?);
            is_allowed.then(|| Arc::clone(headers))
        });
        Holder {
            is_refused: !is_user || self.front_proxies.is_some() && headers.is_none(),
            user: is_user.then(named).flatten(),
            headers,
        }
    }

    /// Removes the headers in which front proxies name users, which were meant for this server.
    pub(super) fn clear(&self, headers: &mut HeaderMap) {
        if let Some((_, names)) = &self.front_proxies {
            names.clear(headers);
        }
    }
}

impl Holder {
    /// The user of a request, by the certificate of its connection or by what the request has itself. `None`: the credentials
    /// are not valid.
    pub(super) fn user(&self, cluster: &Cluster, headers: &HeaderMap) -> Option<User> {
        let named = self.headers.as_ref().map(|names| names.user(headers)).transpose().ok()?.flatten();
        if let Some(user) = named.or_else(|| self.user.clone()) {
            return Some(user);
        }
        let is_anonymous = !headers.contains_key(header::AUTHORIZATION);
        if self.is_refused && is_anonymous { None } else { authenticate(cluster, headers) }
    }
}

/// Verifies that one of these authorities has issued a certificate for a client, if there is one. Authorities that have expired when
/// the socket is opened do not count.
fn verifier<'a>(
    authorities: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for root in authorities.into_iter().filter(|root| is_current(root)) {
        roots.add(root.clone()).map_err(tls_error)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.allow_unauthenticated().build().map_err(tls_error)
}

/// The common name of a certificate, which may be empty. `None`: it cannot be read.
fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().last().map(AttributeTypeAndValue::as_str);
    Some(name.transpose().ok()?.unwrap_or_default().to_owned())
}

/// The user that a verified certificate names: kube-apiserver's `CommonNameUserConversion`. `None`: it names nobody.
fn user(certificate: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    // Of several, the last one counts, as in Go.
    let name = subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())?;
    let groups =
        subject.iter_organization().map(AttributeTypeAndValue::as_str).collect::<Result<Vec<_>, _>>().ok()?;
    Some(User::new(name, &groups))
}

/// Reads the certificates of authorities. rustls does not look at whether they are some.
///
/// # Errors
/// Fails if there are none, or if one of them may not issue certificates: who has its key would be an authority here.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = certificates(pem);
    if all.is_empty() {
        return Err(Error::Pem("certificate"));
    }
    match all.iter().find(|certificate| !is_authority(certificate)) {
        Some(_) => Err(Error::Tls("a certificate is not that of an authority, but trusted as one".into())),
        None => Ok(all),
    }
}

/// Whether a certificate may issue others: `CheckSignatureFrom` of Go's crypto/x509.
fn is_authority(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let is_ca = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) => certificate.version() != X509Version::V3,
        Err(_) => false,
    };
    let signs = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    is_ca && signs
}

/// Whether now is within the time in which a certificate is valid.
fn is_current(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| certificate.validity().is_valid())
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    Pem::parse(pem).certificates().map(|der| CertificateDer::from(der.to_vec())).collect()
}

fn tls_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Tls(error.into())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    #[test]
    fn only_authorities_are_trusted_as_such() {
        let pem = |is_ca: IsCa, usages: &[KeyUsagePurpose]| {
            let mut params = CertificateParams::new(vec!["a".to_owned()]).unwrap();
            params.is_ca = is_ca;
            params.key_usages = usages.to_vec();
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let good = pem(ca, &[]) + &pem(ca, &[KeyUsagePurpose::KeyCertSign]);
        assert_eq!(authorities(good.as_bytes()).unwrap().len(), 2);
        for bad in [pem(IsCa::ExplicitNoCa, &[]), pem(IsCa::NoCa, &[]), pem(ca, &[KeyUsagePurpose::CrlSign])]
        {
            assert!(authorities((good.clone() + &bad).as_bytes()).is_err(), "{bad}");
        }
    }
}
