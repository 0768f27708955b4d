//! HTTPS on a socket: TLS with the server's own certificate authority, and a user for each request.
//!
//! One task accepts connections. It owns their tasks, and ends after them.

mod authority;
mod connection;
mod front_proxy;
mod linger;
mod pem;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use kube::config::{AuthInfo, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(crate) use self::authority::Authority;
pub use self::front_proxy::RequestHeaders;
pub(crate) use self::pem::Pem;
use self::tls::Clients;
pub(crate) use self::tls::Tls;
use crate::cluster::hold_certificate;
use crate::error::Error;
use crate::http::Handler;
use crate::user::User;

/// The maximum number of open connections. Further ones wait.
const CONNECTIONS: usize = 10_000;

/// A socket on which a server listens. Dropping it closes the socket.
#[derive(Debug)]
pub struct Endpoint {
    handler: Arc<Handler>,
    authority: Arc<Authority>,
    admin_token: String,
    address: SocketAddr,
    stop: CancellationToken,
    accepting: Option<JoinHandle<()>>,
}

impl Endpoint {
    pub(crate) async fn open(
        handler: Arc<Handler>,
        authority: Arc<Authority>,
        tls: &Tls,
        admin_token: String,
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
        let (acceptor, clients) = tls.acceptor(&authority, local)?;
        handler.cluster.publish_trusted(tls.trusted(&authority));
        let stop = handler.cluster.ended.child_token();
        let accepting = tokio::spawn(accept(listener, acceptor, clients, Arc::clone(&handler), stop.clone()));
        tracing::debug!(address = %local, "listening");
        Ok(Self { handler, authority, admin_token, address: local, stop, accepting: Some(accepting) })
    }

    /// Returns the address on which it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns a kubeconfig with one context, `kube-embedded`, whose user is the cluster's administrator. It contains a
    /// bearer token, so treat it as a secret.
    #[must_use]
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.kubeconfig_with("admin", &self.admin_token)
    }

    /// As [`kubeconfig`](Self::kubeconfig), for another user, with the token that
    /// [`Server::add_user`](crate::Server::add_user) returned.
    #[must_use]
    pub fn kubeconfig_with(&self, user: &str, token: &str) -> Kubeconfig {
        let token = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        self.kubeconfig_of(user, token)
    }

    /// As [`kubeconfig`](Self::kubeconfig), for a user with a client certificate instead of a token. The certificate
    /// names the user in its `CN`, is issued by the server's authority, and does not expire. RBAC decides what the user
    /// may do; the group `system:masters` may do everything.
    ///
    /// # Errors
    /// Fails if the certificate cannot be created, for example because it cannot hold the name.
    pub fn kubeconfig_with_certificate(&self, user: &str, groups: &[&str]) -> Result<Kubeconfig, Error> {
        let holder = User::new(user, groups);
        let identity = self.authority.identity(&holder)?;
        hold_certificate(&self.handler.cluster.store, &identity.certificate, &holder);
        let encode = |pem: &str| base64::prelude::BASE64_STANDARD.encode(pem);
        let certificate = AuthInfo {
            client_certificate_data: Some(encode(&identity.chain)),
            client_key_data: Some(encode(&identity.key).into()),
            ..AuthInfo::default()
        };
        Ok(self.kubeconfig_of(user, certificate))
    }

    fn kubeconfig_of(&self, user: &str, credentials: AuthInfo) -> Kubeconfig {
        let name = "kube-embedded".to_owned();
        let mut host = self.address;
        if host.ip().is_unspecified() {
            host.set_ip(match host {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let authority = base64::prelude::BASE64_STANDARD.encode(self.authority.pem());
        Kubeconfig {
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            clusters: vec![NamedCluster {
                name: name.clone(),
                cluster: Some(kube::config::Cluster {
                    server: Some(format!("https://{host}")),
                    certificate_authority_data: Some(authority),
                    ..kube::config::Cluster::default()
                }),
                other: Default::default(),
            }],
            auth_infos: vec![NamedAuthInfo {
                name: user.to_owned(),
                auth_info: Some(credentials),
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

    /// Closes the socket and its connections, and returns when they are closed. Watches end at once; other requests
    /// have a second to finish.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(accepting) = self.accepting.take() {
            // It ends by itself. A panic in it has been reported by tokio.
            let _ = accepting.await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Accepts connections until the endpoint is stopped.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    clients: Clients,
    handler: Arc<Handler>,
    stop: CancellationToken,
) {
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
                let (acceptor, clients) = (acceptor.clone(), clients.clone());
                let (handler, stop) = (Arc::clone(&handler), stop.clone());
                connections.spawn(async move {
                    connection::serve(stream, acceptor, clients, handler, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // For example, there are no file descriptors left: others may be closed soon.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
