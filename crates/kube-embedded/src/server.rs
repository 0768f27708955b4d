//! A server: its state, its tasks, and the ways to reach it.

#[cfg(feature = "disk")]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "listen")]
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::clock::{Clock, ManualClock};
use crate::cluster::Cluster;
use crate::controllers;
#[cfg(feature = "listen")]
use crate::endpoint::{Authority, Endpoint};
use crate::error::Error;
use crate::http::faults::Faults;
use crate::http::{Handler, Injections, Service};
use crate::store::Store;
use crate::user::User;

/// An API server. Its objects are in memory and are lost when it is dropped, unless it has a [data
/// folder](ServerBuilder::data_dir).
///
/// Dropping it ends its controllers, watches and endpoints, and closes its data folder. Remaining clients can still
/// read.
#[derive(Debug)]
pub struct Server {
    handler: Arc<Handler>,
    controllers: JoinHandle<()>,
    #[cfg(feature = "listen")]
    admin_token: String,
    /// Created when the server first listens.
    #[cfg(feature = "listen")]
    authority: Mutex<Option<Arc<Authority>>>,
}

/// Builds a [`Server`] with non-default options.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it starts its server"]
pub struct ServerBuilder {
    clock: Clock,
    #[cfg(feature = "disk")]
    data_dir: Option<PathBuf>,
    faults_over_http: bool,
}

impl ServerBuilder {
    /// Makes the server take its time from a clock that stands still until it is advanced. The default is the system's
    /// clock.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }

    /// Keeps the server's state in a folder: its objects, its certificate authority, and the users of
    /// [`Server::add_user`] with their tokens. The folder must be kept secret. It is created if it does not exist, and
    /// is readable only by its owner.
    ///
    /// A write is acknowledged, and visible to others, once it is synced, so it survives a crash, `kill -9` and loss of
    /// power. Writes in flight share one fsync: many clients together write faster than one. The history from before a
    /// start is lost: lists and watches at an earlier resourceVersion are answered with 410 `Expired`, as after a
    /// compaction. All objects are kept in memory, too.
    ///
    /// When the disk fails, the server answers every request with 500 from then on, because it cannot know what was
    /// stored.
    #[cfg(feature = "disk")]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Lets administrators inject faults over HTTP, below `/kube-embedded/faults`: see [`faults`](crate::faults). By
    /// default, that path does not exist.
    pub fn faults_over_http(mut self) -> Self {
        self.faults_over_http = true;
        self
    }

    /// Starts the server. With a data folder it reads and checks everything in it, which blocks.
    ///
    /// # Errors
    /// Fails if the data folder is in use by another server, is damaged, or cannot be read or written. Without a data
    /// folder, this never fails.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, as [`tokio::spawn`] does.
    pub fn start(self) -> Result<Server, Error> {
        let store = self.store()?;
        let injections = self.faults_over_http.then(Injections::default);
        Ok(Server::run(store, self.clock, injections))
    }

    fn store(&self) -> Result<Store, Error> {
        #[cfg(feature = "disk")]
        if let Some(path) = &self.data_dir {
            return Ok(Store::open(self.clock.clone(), path)?);
        }
        Ok(Store::new(self.clock.clone()))
    }
}

impl Server {
    /// Starts a server with the namespaces `default`, `kube-node-lease`, `kube-public` and `kube-system`. This takes
    /// milliseconds and opens no socket.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, as [`tokio::spawn`] does.
    #[must_use]
    pub fn start() -> Self {
        let clock = Clock::default();
        Self::run(Store::new(clock.clone()), clock, None)
    }

    /// Returns a builder for a server with non-default options.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Returns a client of this server that needs no socket. Its user is the cluster's administrator, its namespace
    /// `default`.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// Returns the server as a service of HTTP requests, which are made as the cluster's administrator.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(Arc::clone(&self.handler))
    }

    /// Adds a user without any rights: RoleBindings and ClusterRoleBindings grant them. Returns the user's bearer
    /// token, for [`Endpoint::kubeconfig_with`](crate::Endpoint::kubeconfig_with). If a user with this name and these
    /// groups already exists, returns the existing token.
    pub fn add_user(&self, name: &str, groups: &[&str]) -> String {
        let cluster = &self.handler.cluster;
        cluster.authentication.issue(&cluster.store, User::new(name, groups))
    }

    /// Serves HTTPS at an address such as `127.0.0.1:0`, where port 0 is any free port.
    ///
    /// Each request is authenticated by its client certificate or its bearer token. A server that listens again keeps its certificate
    /// authority and its tokens, so kubeconfigs stay valid.
    ///
    /// # Errors
    /// Fails if the address cannot be resolved or is in use, or if a certificate cannot be created.
    #[cfg(feature = "listen")]
    pub async fn listen(&self, address: &str) -> Result<Endpoint, Error> {
        let (handler, authority) = (Arc::clone(&self.handler), self.authority()?);
        Endpoint::open(handler, authority, self.admin_token.clone(), address).await
    }

    /// Returns the server's faults. There are none at first.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.handler.faults
    }

    /// Forgets the history of all objects, as etcd's compaction does: requests with earlier continue tokens and
    /// resourceVersions are answered with 410 `Expired`.
    pub fn compact(&self) {
        self.handler.cluster.store.compact();
    }

    fn run(store: Store, clock: Clock, injections: Option<Injections>) -> Self {
        let cluster = Arc::new(Cluster::new(store, clock));
        cluster.start();
        Self {
            #[cfg(feature = "listen")]
            admin_token: cluster.authentication.issue(&cluster.store, User::admin()),
            #[cfg(feature = "listen")]
            authority: Mutex::default(),
            controllers: tokio::spawn(controllers::run(Arc::clone(&cluster))),
            handler: Arc::new(Handler { cluster, faults: Faults::default(), injections }),
        }
    }

    #[cfg(feature = "listen")]
    fn authority(&self) -> Result<Arc<Authority>, Error> {
        // Locked until it is created, so that there is only one.
        let mut authority = self.authority.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = &*authority {
            return Ok(Arc::clone(authority));
        }
        let made = Authority::of(&self.handler.cluster.store)?;
        Ok(Arc::clone(authority.insert(Arc::new(made))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handler.cluster.ended.cancel();
        self.controllers.abort();
        self.handler.cluster.store.close();
    }
}
