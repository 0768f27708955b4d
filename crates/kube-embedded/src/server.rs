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

/// An API server. Its objects are in memory and gone with it, unless it has a data folder: see [`ServerBuilder::data_dir`].
///
/// Dropping it ends its controllers, its watches and its endpoints, and closes its data folder. A client that is left over
/// can still read.
#[derive(Debug)]
pub struct Server {
    handler: Arc<Handler>,
    controllers: JoinHandle<()>,
    #[cfg(feature = "listen")]
    admin_token: String,
    /// Made when the server first listens.
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
    /// Makes the server take its time from a clock that stands still until it is advanced. The default is the system's clock.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }

    /// Keeps the server's state in a folder: its objects, its certificate authority, and the users of [`Server::add_user`] with their
    /// tokens. The folder is a secret. It is created if it does not exist, readable only by its owner.
    ///
    /// A write is acknowledged, and visible to others, once it is synced, so it survives a crash, `kill -9` and loss of power. Writes in
    /// flight share one fsync: many clients together write faster than one. History from before a start is forgotten: lists and watches
    /// at a resourceVersion from then are answered with 410 `Expired`, as after a compaction. All objects are in memory too.
    ///
    /// When the disk fails, the server answers each request with 500 from then on, as it cannot know what is kept.
    #[cfg(feature = "disk")]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Lets administrators inject faults over HTTP, below `/kube-embedded/faults`: see [`faults`](crate::faults). By default that path
    /// does not exist.
    pub fn faults_over_http(mut self) -> Self {
        self.faults_over_http = true;
        self
    }

    /// Starts the server. With a data folder it reads and checks everything in it, which blocks.
    ///
    /// # Errors
    /// When another server uses the data folder, when it is damaged, and when it cannot be read or written. Never without a data folder.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
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
    /// Starts a server with the namespaces `default`, `kube-node-lease`, `kube-public` and `kube-system`. Takes
    /// milliseconds; no socket is opened.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
    #[must_use]
    pub fn start() -> Self {
        let clock = Clock::default();
        Self::run(Store::new(clock.clone()), clock, None)
    }

    /// Returns a builder for a server with non-default options.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// A client of this server that needs no socket. Its user is the cluster's administrator, its namespace `default`.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// The server as a service of HTTP requests, each of which is made as the cluster's administrator.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(Arc::clone(&self.handler))
    }

    /// Adds a user without any rights: RoleBindings and ClusterRoleBindings grant them. Returns the user's bearer token, for
    /// [`Endpoint::kubeconfig_with`](crate::Endpoint::kubeconfig_with). A user with this name and these groups who exists already keeps
    /// the token.
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
    /// When the address cannot be resolved or is taken, or a certificate cannot be made.
    #[cfg(feature = "listen")]
    pub async fn listen(&self, address: &str) -> Result<Endpoint, Error> {
        let (handler, authority) = (Arc::clone(&self.handler), self.authority()?);
        Endpoint::open(handler, authority, self.admin_token.clone(), address).await
    }

    /// The server's faults. There are none at first.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.handler.faults
    }

    /// Forgets the history of all objects, as etcd's compaction does: continue tokens and resourceVersions from before
    /// are answered with 410 `Expired`.
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
        // Held until it is there, so that there is one.
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
