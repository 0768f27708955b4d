//! Why a connection failed, where TLS is the reason.

use std::error::Error as StdError;
use std::fmt;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::report::{Located, Origin, Report};

/// Why no secure connection to the API server was made. Requests fail with this error inside
/// [`kube::Error::Service`]; its source is the TLS library's error.
#[derive(Debug)]
#[non_exhaustive]
pub struct TlsError {
    /// The address of the API server.
    pub server: String,
    /// The kind of the problem.
    pub problem: TlsProblem,
    /// The cluster and its file, such as `cluster "prod" in /home/me/.kube/config`. `None` in-cluster.
    pub cluster: Option<String>,
    /// The user and its file, such as `user "admin" in /home/me/.kube/config`. `None` in-cluster, or without a user.
    pub user: Option<String>,
    /// Where the trusted authorities come from, such as `certificate-authority /pki/ca.crt`.
    pub authority: String,
    source: Box<dyn StdError + Send + Sync>,
}

/// A kind of TLS problem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server's certificate is for other names. The remedy is the cluster's `tls-server-name`, or its `server`.
    WrongName {
        /// The name or IP address that it should be for.
        wanted: String,
        /// The names and IP addresses that it is for. May be empty.
        presented: Vec<String>,
    },
    /// The server's certificate has expired.
    Expired {
        /// The time when it expired, RFC 3339.
        at: String,
    },
    /// The server's certificate is not valid yet.
    NotYetValid {
        /// The time from when on it is valid, RFC 3339.
        from: String,
    },
    /// No trusted authority issued the server's certificate.
    UnknownAuthority,
    /// The server's certificate is not meant for servers.
    WrongUsage,
    /// The server, or an authority, has an RSA key that is too small.
    WeakKey {
        /// The size of the key. At least 2048 bits are required.
        bits: usize,
    },
    /// The server does not use TLS. Its address may have to start with `http`.
    NotTls,
    /// The server uses TLS, but its address starts with `http`.
    NotPlain,
    /// The server requires a client certificate, and the user has none.
    CertificateRequired,
    /// The server does not accept the user's client certificate.
    CertificateRefused,
    /// Client and server have no version or algorithm of TLS in common.
    Incompatible,
    /// Another problem; the source describes it.
    Other,
}

/// How the verifier of certificates reports a key that is too small, through rustls.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an RSA key of {bits} bits is too small")]
pub(crate) struct WeakKey {
    pub(crate) bits: usize,
}

/// What messages name.
#[derive(Clone)]
pub(crate) struct Names {
    server: String,
    cluster: Option<String>,
    user: Option<String>,
    authority: String,
}

impl Names {
    pub(crate) fn of(report: &Report, config: &kube::Config) -> Self {
        let entry = |kind: &str, entry: &Located| match &entry.origin {
            Origin::File(file) => format!("{kind} {:?} in {}", entry.value, file.display()),
            _ => format!("{kind} {:?}", entry.value),
        };
        let authority = match (&config.root_cert, &config.root_cert_file) {
            (_, Some(file)) => format!("certificate-authority {}", file.display()),
            (Some(_), None) => "certificate-authority-data".to_owned(),
            (None, None) => "the system's certificate authorities".to_owned(),
        };
        Self {
            server: report.server.value.clone(),
            cluster: report.cluster.as_ref().map(|cluster| entry("cluster", cluster)),
            user: report.user.as_ref().map(|user| entry("user", user)),
            authority,
        }
    }
}

impl TlsError {
    /// Returns the error of a failed request with the reason in front, if TLS is the reason. `certified`: whether the
    /// client had a certificate to show.
    pub(crate) fn wrap(
        names: &Names,
        certified: bool,
        error: Box<dyn StdError + Send + Sync>,
    ) -> Box<dyn StdError + Send + Sync> {
        match TlsProblem::of(&*error, certified, names.server.starts_with("https:")) {
            Some(problem) => Box::new(Self {
                server: names.server.clone(),
                problem,
                cluster: names.cluster.clone(),
                user: names.user.clone(),
                authority: names.authority.clone(),
                source: error,
            }),
            None => error,
        }
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match &self.problem {
            TlsProblem::WrongName { wanted, presented } if presented.is_empty() => {
                write!(f, "the certificate of {server} is for no name, so not for {wanted}")?;
            }
            TlsProblem::WrongName { wanted, presented } => {
                write!(f, "the certificate of {server} is for {}, not for {wanted}", presented.join(", "))?;
            }
            TlsProblem::Expired { at } => write!(f, "the certificate of {server} expired at {at}")?,
            TlsProblem::NotYetValid { from } => {
                write!(
                    f,
                    "the certificate of {server} is not valid before {from}; is this computer's clock right?"
                )?;
            }
            TlsProblem::UnknownAuthority => {
                write!(
                    f,
                    "the certificate of {server} was not issued by a trusted authority ({})",
                    self.authority
                )?;
            }
            TlsProblem::WrongUsage => {
                write!(f, "the certificate of {server} is not meant for servers (extended key usage)")?;
            }
            TlsProblem::WeakKey { bits } => {
                write!(
                    f,
                    "the certificate of {server}, or its authority's, has an RSA key of {bits} bits, and at least 2048 are \
                     required"
                )?;
            }
            TlsProblem::NotTls => {
                write!(f, "{server} does not use TLS; should its address start with http://?")?;
            }
            TlsProblem::NotPlain => {
                write!(f, "{server} does not answer in plain HTTP; should its address start with https://?")?;
            }
            TlsProblem::CertificateRequired => {
                let user = self.user.as_deref().unwrap_or("the user");
                write!(f, "{server} requires a client certificate, and {user} has none")?;
            }
            TlsProblem::CertificateRefused => {
                let user = self.user.as_deref().unwrap_or("the user");
                write!(f, "{server} does not accept the client certificate of {user}")?;
            }
            TlsProblem::Incompatible => {
                write!(
                    f,
                    "{server} has no version or algorithm of TLS in common with this client (TLS 1.2, 1.3)"
                )?;
            }
            TlsProblem::Other => write!(f, "no secure connection to {server}")?,
        }
        match (&self.problem, &self.cluster) {
            (TlsProblem::CertificateRequired | TlsProblem::CertificateRefused, _) | (_, None) => Ok(()),
            (_, Some(cluster)) => write!(f, " ({cluster})"),
        }
    }
}

impl TlsProblem {
    fn of(error: &(dyn StdError + 'static), certified: bool, https: bool) -> Option<Self> {
        if let Some(error) = causes(error).find_map(<dyn StdError>::downcast_ref) {
            return Some(Self::of_tls(error, certified));
        }
        let unreadable = |error: &(dyn StdError + 'static)| {
            error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
        };
        (!https && causes(error).any(unreadable)).then_some(Self::NotPlain)
    }

    fn of_tls(error: &rustls::Error, certified: bool) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) => Self::Incompatible,
            rustls::Error::AlertReceived(alert) => match alert {
                Alert::CertificateRequired => Self::CertificateRequired,
                // A server with TLS 1.2 has no better word for it.
                Alert::BadCertificate | Alert::HandshakeFailure if !certified => Self::CertificateRequired,
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
                    if certified =>
                {
                    Self::CertificateRefused
                }
                Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                    Self::Incompatible
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForNameContext { expected, presented } => Self::WrongName {
                wanted: expected.to_str().into_owned(),
                presented: presented.iter().map(|name| plain(name)).collect(),
            },
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired { at: date(not_after) },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid { from: date(not_before) }
            }
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongUsage
            }
            CertificateError::Other(other) => match other.0.downcast_ref() {
                Some(WeakKey { bits }) => Self::WeakKey { bits: *bits },
                None => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Returns the name in webpki's `DnsName("name")` or `IpAddress(address)`.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').to_owned()
}

fn date(time: &UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string())
}

/// Iterates over an error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // The `source` of an `io::Error` that wraps an error is that error's source, so the error itself would be skipped.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}
