//! The HTTPS client.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioTimer;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig};
use tokio_util::sync::CancellationToken;

use super::body::BoxBody;
use super::location::{Failure, Location, NoAnswer};
use super::response;
use super::verify::{Unverified, Verifier};

/// As kube-apiserver calls itself.
const USER_AGENT: &str = "kube-apiserver-admission";
/// How many redirects are followed, as by Go.
const REDIRECTS: usize = 10;
/// How often a server may ask to be called again, as in client-go.
const RETRIES: usize = 10;
/// How many different bundles and names are remembered with their connections. kube-apiserver's is 300, too.
const POOLS: usize = 300;
/// How long an unused connection is kept, as in Go.
const IDLE: Duration = Duration::from_secs(90);

type Pool = legacy::Client<HttpsConnector<HttpConnector>, BoxBody>;
type Answer = http::Response<hyper::body::Incoming>;

/// Calls other servers. Connections are used again for servers with the same authorities and name.
pub(crate) struct Client {
    /// By which servers to which requests are passed on recognize this one.
    identity: Option<Identity>,
    pools: Mutex<HashMap<Key, Pool>>,
    tasks: Tasks,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    authorities: Vec<u8>,
    /// The name that the certificate must have, if it is not that of the address.
    name: Option<String>,
    is_insecure: bool,
    /// Whether the client shows its certificate.
    is_identified: bool,
}

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<CertifiedKey>);

/// Runs the tasks of connections until the server ends.
#[derive(Clone)]
struct Tasks(CancellationToken);

/// One request of a call, which may be redirected.
struct Request {
    method: Method,
    /// The URL as errors show it.
    shown: String,
    /// What is connected to.
    to: Uri,
    /// The `Host` header, if it is not that of `to`.
    host: Option<String>,
    body: Bytes,
}

impl Identity {
    /// Reads a chain of certificates and a key, in PEM.
    ///
    /// # Errors
    /// Fails if one of both is missing, or they do not belong together.
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, rustls::Error> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).map_while(Result::ok).collect();
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| rustls::Error::General(error.to_string()))?;
        if chain.is_empty() {
            return Err(rustls::Error::NoCertificatesPresented);
        }
        Ok(Self(Arc::new(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)))
    }
}

impl Client {
    /// Creates a client whose connections end with `ended`.
    pub(crate) fn new(ended: CancellationToken, identity: Option<Identity>) -> Self {
        Self { identity, pools: Mutex::default(), tasks: Tasks(ended) }
    }

    /// Sends a POST with JSON, and returns the body of a successful answer of at most `limit` bytes.
    ///
    /// Redirects are followed, and a server that asks for it is called again, both as by kube-apiserver, except that nothing
    /// is sent without TLS.
    ///
    /// # Errors
    /// Fails if there is no such answer within `timeout`.
    pub(crate) async fn post(
        &self,
        at: &Location,
        body: Bytes,
        timeout: Duration,
        limit: usize,
    ) -> Result<Bytes, Failure> {
        let shown = shown(at, timeout);
        if let Err(why) = &at.address {
            return Err(Failure::Failed(format!("Post {shown:?}: {why}")));
        }
        let first = Request::to(at, Method::POST, &shown, body).map_err(Failure::Unusable)?;
        let pool = self.pool(at, first.host.as_deref(), None).map_err(Failure::Unusable)?;
        let called = tokio::time::timeout(timeout, call(&pool, at, first, limit)).await;
        let late = || format!("Post {shown:?}: context deadline exceeded");
        called.unwrap_or_else(|_| Err(late())).map_err(Failure::Failed)
    }

    /// Passes a request on, of whose URI only the path and the query count, and returns the answer as it is. Neither the
    /// request's body nor the answer's is read ahead. After an answer with the code 101, its extensions have the connection.
    ///
    /// # Errors
    /// Fails if there is no answer.
    pub(crate) async fn forward(
        &self,
        at: &Location,
        mut request: http::Request<BoxBody>,
    ) -> Result<http::Response<BoxBody>, NoAnswer> {
        let unusable = |error: http::uri::InvalidUri| NoAnswer::NotConnected(error.to_string());
        let address = at.address.clone().map_err(NoAnswer::NotConnected)?;
        let uri: Uri = at.url.parse().map_err(unusable)?;
        let name = uri.authority().map(ToString::to_string);
        let authority = address.or_else(|| name.clone()).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let to: Uri = format!("https://{authority}{path}").parse().map_err(unusable)?;
        *request.uri_mut() = to.clone();
        let identity = self.identity.as_ref();
        let pool = self.pool(at, name.as_deref(), identity).map_err(NoAnswer::NotConnected)?;
        let answer = pool.request(request).await.map_err(|error| match error.is_connect() {
            true => NoAnswer::NotConnected(describe(&error, &to)),
            false => NoAnswer::Lost(describe(&error, &to)),
        })?;
        Ok(answer.map(|body| BoxBody::new(body.map_err(Into::into))))
    }

    fn pool(&self, at: &Location, host: Option<&str>, identity: Option<&Identity>) -> Result<Pool, String> {
        let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
        let key = Key {
            authorities: at.authorities.clone(),
            name: name.map(str::to_owned),
            is_insecure: at.is_insecure,
            is_identified: identity.is_some(),
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        if pools.len() >= POOLS {
            pools.clear();
        }
        let pool = connect(&key, identity, &self.tasks)?;
        pools.insert(key, pool.clone());
        Ok(pool)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let ended = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                _ = task => {}
            }
        });
    }
}

fn connect(key: &Key, identity: Option<&Identity>, tasks: &Tasks) -> Result<Pool, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if key.is_insecure {
        Arc::new(Unverified::new(&provider))
    } else if key.authorities.is_empty() {
        let system = rustls_platform_verifier::Verifier::new(Arc::clone(&provider));
        Arc::new(system.map_err(|error| format!("unable to load the system's root certificates: {error}"))?)
    } else {
        let verifier = Verifier::new(&key.authorities, Arc::clone(&provider));
        Arc::new(verifier.ok_or("unable to load root certificates: unable to parse bytes as PEM block")?)
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some(Identity(certified)) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified))))
        }
        None => config.with_no_client_auth(),
    };
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
    if let Some(name) = &key.name {
        let name = ServerName::try_from(name.clone()).map_err(|error| format!("{name:?}: {error}"))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = builder.enable_http1().wrap_connector(tcp);
    let mut pool = legacy::Client::builder(tasks.clone());
    pool.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    Ok(pool.build(connector))
}

impl Request {
    fn to(at: &Location, method: Method, url: &str, body: Bytes) -> Result<Self, String> {
        let wrong = |why: &dyn fmt::Display| format!("Unparsable URL: parse {url:?}: {why}");
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
        let mut request = Self { method, shown: url.to_owned(), to: uri.clone(), host: None, body };
        let of_location = at.url.parse::<Uri>().ok().and_then(|own| own.authority().cloned());
        if let Ok(Some(address)) = &at.address
            && uri.authority() == of_location.as_ref()
        {
            let mut parts = uri.into_parts();
            request.host = parts.authority.as_ref().map(ToString::to_string);
            parts.authority = Some(address.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?);
            request.to = Uri::from_parts(parts).map_err(|error| wrong(&error))?;
        }
        Ok(request)
    }

    fn message(&self) -> Result<http::Request<BoxBody>, http::Error> {
        let mut message = http::Request::builder()
            .method(&self.method)
            .uri(&self.to)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json, */*");
        if self.method == Method::POST {
            message = message.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(host) = &self.host {
            message = message.header(header::HOST, host);
        }
        message.body(BoxBody::new(Full::new(self.body.clone()).map_err(|never| match never {})))
    }

    /// The request that a redirect asks for.
    fn redirected(self, at: &Location, answer: &Answer) -> Result<Self, String> {
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or("the redirect has no Location")?;
        let target = match location.strip_prefix('/') {
            Some(_) if !location.starts_with("//") => {
                let origin = self.shown.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
                format!("{origin}{location}")
            }
            _ => location.to_owned(),
        };
        if !target.starts_with("https://") {
            return Err(format!("Post {location:?}: only an https:// URL or an absolute path is followed"));
        }
        let keeps =
            matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let (method, body) = if keeps { (self.method, self.body) } else { (Method::GET, Bytes::new()) };
        Self::to(at, method, &target, body)
    }
}

/// The URL of a call, which tells the webhook how much time it has.
fn shown(at: &Location, timeout: Duration) -> String {
    let slash = if at.url.matches('/').count() == 2 { "/" } else { "" };
    format!("{}{slash}?timeout={}s", at.url, timeout.as_secs_f64().ceil())
}

/// Sends requests until one is answered that is neither redirected nor asked for again.
async fn call(pool: &Pool, at: &Location, mut request: Request, limit: usize) -> Result<Bytes, String> {
    let (mut redirects, mut retries) = (0, 0);
    loop {
        let message = request.message().map_err(|error| error.to_string())?;
        let sent = pool.request(message).await;
        let answer =
            sent.map_err(|error| format!("Post {:?}: {}", request.shown, describe(&error, &request.to)))?;
        if is_redirect(answer.status()) {
            redirects += 1;
            if redirects >= REDIRECTS {
                let location = answer.headers().get(header::LOCATION).map(header_text).unwrap_or_default();
                return Err(format!("Post {location:?}: stopped after {REDIRECTS} redirects"));
            }
            request = request.redirected(at, &answer)?;
            continue;
        }
        if let Some(after) = asks_again(&answer)
            && retries < RETRIES
        {
            retries += 1;
            tokio::time::sleep(after).await;
            continue;
        }
        return read(answer, limit).await;
    }
}

async fn read(answer: Answer, limit: usize) -> Result<Bytes, String> {
    let (head, body) = answer.into_parts();
    let content_type = content_type(&head.headers);
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return format!("the answer has more than {limit} bytes");
        }
        "unexpected error when reading response body. Please retry. Original error: unexpected EOF".to_owned()
    })?;
    let body = body.to_bytes();
    let code = head.status.as_u16();
    match head.status.is_success() {
        false => Err(response::error(code, &body, content_type.starts_with("text/"))),
        true if body.is_empty() => {
            Err(format!("0-length response with status code: {code} and content type: {content_type}"))
        }
        true => Ok(body),
    }
}

fn content_type(headers: &HeaderMap) -> String {
    headers.get(header::CONTENT_TYPE).map(header_text).unwrap_or_default()
}

fn header_text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// When the server wants to be called again, if it is overloaded: client-go's `checkWait`.
fn asks_again(answer: &Answer) -> Option<Duration> {
    let status = answer.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let after = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    after.parse().ok().map(Duration::from_secs)
}

/// An error in Go's words.
fn describe(error: &legacy::Error, to: &Uri) -> String {
    let address = || {
        let host = to.host().unwrap_or_default();
        format!("{host}:{}", to.port_u16().unwrap_or(443))
    };
    let mut source = error.source();
    let mut last = error.to_string();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return describe_tls(error);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if let Some(error) = tls_error(error) {
                return describe_tls(error);
            }
            match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return format!("dial tcp {}: connect: connection refused", address());
                }
                io::ErrorKind::UnexpectedEof => return "EOF".to_owned(),
                io::ErrorKind::ConnectionReset => return "connection reset by peer".to_owned(),
                _ => {}
            }
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return "EOF".to_owned();
        }
        if cause.to_string() == "dns error" {
            return format!("dial tcp: lookup {}: no such host", to.host().unwrap_or_default());
        }
        last = cause.to_string();
        source = cause.source();
    }
    last
}

/// The error of TLS in an error, which may be wrapped several times.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner.downcast_ref()?))
}

/// An error of TLS in Go's words.
fn describe_tls(error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            return "tls: first record does not look like a TLS handshake".to_owned();
        }
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "certificate signed by unknown authority".to_owned()
            }
            // An authority as a server, which is not among the trusted ones.
            CertificateError::Other(_) => "certificate signed by unknown authority".to_owned(),
            CertificateError::NotValidForNameContext { expected, presented } => {
                wrong_name(&expected.to_str(), matches!(expected, ServerName::IpAddress(_)), presented)
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "certificate has expired or is not yet valid".to_owned()
            }
            other => other.to_string(),
        },
        other => return format!("tls: {other}"),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// `HostnameError` of Go's `crypto/x509`. `presented` are names as rustls describes them, such as `DnsName("a")`.
fn wrong_name(expected: &str, is_address: bool, presented: &[String]) -> String {
    let kind = if is_address { "IpAddress(" } else { "DnsName(" };
    let named = presented.iter().filter_map(|name| name.strip_prefix(kind)?.strip_suffix(')'));
    let named: Vec<_> = named.map(|name| name.trim_matches('"')).collect();
    match (named.is_empty(), is_address) {
        (true, true) => {
            format!("cannot validate certificate for {expected} because it doesn't contain any IP SANs")
        }
        (true, false) => {
            format!("certificate is not valid for any names, but wanted to match {expected}")
        }
        (false, _) => format!("certificate is valid for {}, not {expected}", named.join(", ")),
    }
}
