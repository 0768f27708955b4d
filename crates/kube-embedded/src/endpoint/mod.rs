//! HTTPS on a socket: TLS with the server's own certificate authority, and a user for each request.
//!
//! One task accepts; it owns the tasks of its connections, and ends when these have.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::auth::{Authentication, User};
use crate::authority::Authority;
use crate::error::Error;
use crate::server::Shared;

/// Connections that are open at a time; further ones wait.
const CONNECTIONS: usize = 10_000;

/// A socket on which a server answers. It closes when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    address: SocketAddr,
    stop: CancellationToken,
    accepting: Option<JoinHandle<()>>,
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
        let token = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        self.kubeconfig_of(user, token)
    }

    /// The same for a user who has a certificate instead of a token: one with its name as `CN`, from the server's authority.
    /// It does not expire. What the user may do is for RBAC to say; the group `system:masters` may do everything.
    ///
    /// # Errors
    /// When no certificate can be made, as for a name that cannot be in one.
    pub fn kubeconfig_with_certificate(&self, user: &str, groups: &[&str]) -> Result<Kubeconfig, Error> {
        let holder = User::new(user, groups);
        let identity = self.authority.identity(&holder)?;
        Authentication::hold(&self.shared.api.store, &identity.certificate, &holder);
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
                cluster: Some(Cluster {
                    server: Some(format!("https://{host}")),
                    certificate_authority_data: Some(authority),
                    ..Cluster::default()
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

    /// Closes the socket and its connections, and returns when they are closed: watches end at once, other requests have a
    /// second to finish.
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
                let (acceptor, shared, stop) = (acceptor.clone(), Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    connection::serve(stream, acceptor, shared, stop).await;
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
    drop(listener);
    while connections.join_next().await.is_some() {}
}
