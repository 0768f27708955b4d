//! A small API server on loopback with real TLS, which records its requests, and two proxies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A certificate authority.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        Self::of(&PKCS_ECDSA_P256_SHA256)
    }

    /// With a key of this kind.
    pub(crate) fn of(kind: &'static SignatureAlgorithm) -> Self {
        Self::with(kind, |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained))
    }

    /// With these properties, which may be those of a certificate that is no authority.
    pub(crate) fn with(
        kind: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names and its key, PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        self.issue_with(&PKCS_ECDSA_P256_SHA256, names)
    }

    /// The same with a key of this kind.
    pub(crate) fn issue_with(&self, kind: &'static SignatureAlgorithm, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// TLS for these names. Requests a client certificate of this authority, but does not require one.
    fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        let (certificate, key) = self.issue(names);
        acceptor(&certificate, &key, Clients::Optional(&self.pem))
    }
}

/// Whose certificates a server accepts, PEM.
#[derive(Clone, Copy)]
pub(crate) enum Clients<'a> {
    Anonymous,
    Optional(&'a str),
    Required(&'a str),
    /// With TLS 1.2 only.
    Required12(&'a str),
}

fn acceptor(certificate: &str, key: &str, clients: Clients<'_>) -> TlsAcceptor {
    let verifier = |pem: &str| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        WebPkiClientVerifier::builder(Arc::new(roots))
    };
    let verifier = match clients {
        Clients::Anonymous => WebPkiClientVerifier::no_client_auth(),
        Clients::Optional(pem) => verifier(pem).allow_unauthenticated().build().unwrap(),
        Clients::Required(pem) | Clients::Required12(pem) => verifier(pem).build().unwrap(),
    };
    let config = match clients {
        Clients::Required12(_) => ServerConfig::builder_with_protocol_versions(&[&TLS12]),
        _ => ServerConfig::builder(),
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A request as the server received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The client's certificate, DER.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A status code, and where it redirects to.
pub(crate) struct Answer {
    status: StatusCode,
    location: Option<String>,
}

impl From<StatusCode> for Answer {
    fn from(status: StatusCode) -> Self {
        Self { status, location: None }
    }
}

impl From<(StatusCode, &str)> for Answer {
    fn from((status, location): (StatusCode, &str)) -> Self {
        Self { status, location: Some(location.to_owned()) }
    }
}

type Answers = dyn Fn(&Seen) -> Answer + Send + Sync;

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca: Ca,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// An https server for the names `localhost` and `api.test`, and the address 127.0.0.1.
    pub(crate) async fn start<A: Into<Answer>>(answer: impl Fn(&Seen) -> A + Send + Sync + 'static) -> Self {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&["localhost", "api.test", "127.0.0.1"]);
        Self::listen(Some(acceptor), ca, Arc::new(move |seen: &Seen| answer(seen).into())).await
    }

    /// An https server with this certificate and key, PEM.
    pub(crate) async fn presenting(certificate: &str, key: &str, clients: Clients<'_>) -> Self {
        let acceptor = acceptor(certificate, key, clients);
        Self::listen(Some(acceptor), Ca::new(), Arc::new(|_: &Seen| StatusCode::OK.into())).await
    }

    /// The same without TLS.
    pub(crate) async fn start_plain() -> Self {
        Self::listen(None, Ca::new(), Arc::new(|_: &Seen| StatusCode::OK.into())).await
    }

    async fn listen(acceptor: Option<TlsAcceptor>, ca: Ca, answer: Arc<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remembered = seen.clone();
        let tasks = accept(listener, move |stream| {
            let (acceptor, answer, seen) = (acceptor.clone(), answer.clone(), remembered.clone());
            async move {
                let Some(acceptor) = acceptor else { return serve(stream, None, answer, seen).await };
                // A client that does not trust us disconnects here.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let certificate = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
                serve(stream, certificate, answer, seen).await;
            }
        });
        Self { address, ca, seen, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The fields of a kubeconfig's cluster that trust this server.
    pub(crate) fn cluster(&self) -> String {
        format!("server: '{}', certificate-authority-data: {}", self.url(), self.ca_data())
    }

    pub(crate) fn ca_data(&self) -> String {
        base64(&self.ca.pem)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The `Authorization` header of each request.
    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect()
    }
}

/// `StatusCode::OK` for one bearer token, 401 for all others.
pub(crate) fn only(token: &'static str) -> impl Fn(&Seen) -> StatusCode + Send + Sync {
    move |seen| {
        if seen.header("authorization") == Some(format!("Bearer {token}").as_str()) {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        }
    }
}

pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn serve<S>(stream: S, certificate: Option<Vec<u8>>, answer: Arc<Answers>, seen: Arc<Mutex<Vec<Seen>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (certificate, answer, seen) = (certificate.clone(), answer.clone(), seen.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let path = parts.uri.to_string();
            let one = Seen { path, headers: parts.headers, body, certificate };
            let Answer { status, location } = answer(&one);
            seen.lock().unwrap().push(one);
            let body = if status.is_success() { "{}" } else { r#"{"kind":"Status","status":"Failure"}"# };
            let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
            *response.status_mut() = status;
            if let Some(location) = location {
                response.headers_mut().insert("location", location.parse().unwrap());
            }
            Ok::<_, Infallible>(response)
        }
    });
    // A client that disconnects is not a failure of the server.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Forwards requests to `target`, whatever name they are for, and records them.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// `CONNECT`, RFC 9110 section 9.3.6.
    pub(crate) async fn http(target: SocketAddr) -> Self {
        Self::start(move |stream, asked| tunnel(stream, asked, target)).await
    }

    /// The same with TLS. A client certificate fails the test.
    pub(crate) async fn https(target: SocketAddr, ca: &Ca) -> Self {
        let acceptor = ca.acceptor(&["127.0.0.1"]);
        Self::start(move |stream, asked| {
            let acceptor = acceptor.clone();
            async move {
                let stream = acceptor.accept(stream).await.unwrap();
                assert!(stream.get_ref().1.peer_certificates().is_none(), "the proxy got our certificate");
                tunnel(stream, asked, target).await;
            }
        })
        .await
    }

    /// SOCKS version 5 without authentication, RFC 1928.
    pub(crate) async fn socks(target: SocketAddr) -> Self {
        Self::start(move |mut stream, asked| async move {
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0; greeting[1].into()];
            stream.read_exact(&mut methods).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            let length = match request[3] {
                1 => 4,
                _ => stream.read_u8().await.unwrap().into(),
            };
            let mut host = vec![0; length];
            stream.read_exact(&mut host).await.unwrap();
            let port = stream.read_u16().await.unwrap();
            asked.lock().unwrap().push(format!("{}:{port}", String::from_utf8_lossy(&host)));
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            forward(stream, target).await;
        })
        .await
    }

    async fn start<F>(
        handle: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = asked.clone();
        let tasks = accept(listener, move |stream| handle(stream, remembered.clone()));
        Self { address, asked, _tasks: tasks }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn tunnel<S>(mut stream: S, asked: Arc<Mutex<Vec<String>>>, target: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    forward(stream, target).await;
}

async fn forward<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, target: SocketAddr) {
    let mut server = TcpStream::connect(target).await.unwrap();
    // Either side may disconnect.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
}

/// Accepts connections until it is dropped, and then closes them.
fn accept<F>(listener: TcpListener, handle: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(handle(stream));
        }
    });
    tasks
}
