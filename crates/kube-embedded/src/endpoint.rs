//! HTTPS on a socket: TLS with the server's own certificate authority, and a bearer token for each request.
//!
//! One task accepts; it owns the tasks of its connections, and ends them when it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use base64::Engine;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::server::Shared;
use crate::status::Status;
use crate::store::Store;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request over HTTP/1.
const HEAD: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Connections that are open at a time; further ones wait.
const CONNECTIONS: usize = 10_000;
/// The longest head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// What the store keeps the authority under.
const KEPT_KEY: &str = "authority/key";
const KEPT_CERTIFICATE: &str = "authority/certificate";

/// A certificate authority that lives as long as its server's store.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    certificate: String,
}

/// A socket on which a server answers. It closes when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    address: SocketAddr,
    stop: CancellationToken,
    accepting: Option<JoinHandle<()>>,
}

impl Authority {
    /// The one that a store keeps, made if there is none.
    pub(crate) fn of(store: &Store) -> Result<Self, Error> {
        let text = |name| store.kept(name).and_then(|kept| String::from_utf8(kept).ok());
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kube-embedded");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        if let (Some(key), Some(certificate)) = (text(KEPT_KEY), text(KEPT_CERTIFICATE)) {
            let key = KeyPair::from_pem(&key).map_err(Error::Certificate)?;
            return Ok(Self { issuer: Issuer::new(params, key), certificate });
        }
        let key = KeyPair::generate().map_err(Error::Certificate)?;
        let certificate = params.self_signed(&key).map_err(Error::Certificate)?.pem();
        store.keep(KEPT_KEY, key.serialize_pem().into_bytes());
        store.keep(KEPT_CERTIFICATE, certificate.clone().into_bytes());
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// TLS for an address of this machine.
    fn acceptor(&self, address: SocketAddr) -> Result<TlsAcceptor, Error> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        let mut params = CertificateParams::new(names).map_err(Error::Certificate)?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(Error::Certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::Certificate)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let chain = vec![certificate.der().clone()];
                builder.with_no_client_auth().with_single_cert(chain, key)
            })
            .map_err(Error::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(crate) async fn open(
        shared: Arc<Shared>,
        authority: Arc<Authority>,
        address: &str,
    ) -> Result<Self, Error> {
        let failed = |source: std::io::Error| {
            let address = address.to_owned();
            match source.kind() {
                std::io::ErrorKind::AddrInUse => Error::Taken { address, source },
                _ => Error::Listen { address, source },
            }
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let acceptor = authority.acceptor(local)?;
        let stop = shared.api.ended.child_token();
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared), stop.clone()));
        tracing::debug!(address = %local, "listening");
        Ok(Self { shared, authority, address: local, stop, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig of one context, `kube-embedded`, whose user is the cluster's administrator. It has the certificate of
    /// the server's authority and a bearer token in it, so it is a secret.
    #[must_use]
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.kubeconfig_with("admin", &self.shared.admin_token)
    }

    /// The same for another user, whose token [`crate::Server::add_user`] gave.
    #[must_use]
    pub fn kubeconfig_with(&self, user: &str, token: &str) -> Kubeconfig {
        let name = "kube-embedded".to_owned();
        let mut host = self.address;
        if host.ip().is_unspecified() {
            host.set_ip(match host {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let authority = base64::prelude::BASE64_STANDARD.encode(&self.authority.certificate);
        Kubeconfig {
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            clusters: vec![NamedCluster {
                name: name.clone(),
                cluster: Some(Cluster {
                    server: Some(format!("https://{host}")),
                    certificate_authority_data: Some(authority),
                    ..Cluster::default()
                }),
                other: Default::default(),
            }],
            auth_infos: vec![NamedAuthInfo {
                name: user.to_owned(),
                auth_info: Some(AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() }),
                other: Default::default(),
            }],
            contexts: vec![NamedContext {
                name: name.clone(),
                context: Some(Context {
                    cluster: name.clone(),
                    user: Some(user.to_owned()),
                    namespace: Some("default".to_owned()),
                    ..Context::default()
                }),
                other: Default::default(),
            }],
            current_context: Some(name),
            ..Kubeconfig::default()
        }
    }

    /// Closes the socket and all of its connections, and returns when they are closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(accepting) = self.accepting.take() {
            // It ends by itself; a panic in it has been reported by tokio.
            let _ = accepting.await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Accepts connections until it is told to stop.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    serve(stream, acceptor, shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, say: others may be closed by then.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.shutdown().await;
}

/// Serves one connection.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            Ok::<_, std::convert::Infallible>(match shared.authenticate(request.headers()) {
                Some(user) => shared.api.answer(&user, request.map(Body::new)).await,
                None => Status::unauthorized().into_response(),
            })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .max_concurrent_streams(1000)
        .max_header_list_size(MAX_HEAD as u32);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection ended");
    }
}
