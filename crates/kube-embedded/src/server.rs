//! A server: its state, its tasks, and the ways to reach it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::api::{Api, Injections};
use crate::auth::{Authentication, User};
use crate::authority::Authority;
use crate::clock::{Clock, ManualClock};
use crate::controllers;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::faults::Faults;
use crate::lifecycle::{self, NAMESPACES};
use crate::store::Store;

/// An API server, whose state is in memory and ends with it, or in a folder: see [`Builder::data_dir`].
///
/// Dropping it ends its controllers, its watches and its endpoints, and closes its data folder. A client that is left over
/// can still read.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    controllers: JoinHandle<()>,
}

/// How a server shall be, before it starts.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it starts its server"]
pub struct Builder {
    clock: Clock,
    data_dir: Option<PathBuf>,
    faults_over_http: bool,
}

/// What a server and its endpoints share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) admin_token: String,
    authority: Mutex<Option<Arc<Authority>>>,
}

impl Builder {
    /// Lets the server take its time from a clock that stands still until it is moved; without this it is the system's.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }

    /// Keeps the server's state in a folder, which is made if it is not there, for its user alone: objects, the
    /// certificate authority, and the users of [`Server::add_user`] with their tokens. It is a secret.
    ///
    /// What a client is told is there after a crash, `kill -9` and loss of power too: a write is answered, and seen by others,
    /// once it is synced. Writes in flight share one fsync, so many clients together write faster than one. What was before a
    /// start is no longer history: watches and lists at resourceVersions from before are answered 410 `Expired`, as
    /// after a compaction. All objects are in memory too.
    ///
    /// When the disk fails, the server answers each request with 500 from then on, as it cannot know what is kept.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Lets administrators inject faults over HTTP, below `/kube-embedded/faults`: see [`faults`](crate::faults). Without this
    /// the path is not there.
    pub fn faults_over_http(mut self) -> Self {
        self.faults_over_http = true;
        self
    }

    /// Starts the server. With a data folder it reads and checks all that is there, which blocks.
    ///
    /// # Errors
    /// When another server uses the data folder, when it is damaged, and when it cannot be read or written; without one
    /// never.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
    pub fn start(self) -> Result<Server, Error> {
        let store = match &self.data_dir {
            None => Store::new(self.clock.clone()),
            Some(path) => Store::open(self.clock.clone(), path)?,
        };
        let injections = self.faults_over_http.then(Injections::default);
        Ok(Server::run(store, self.clock, injections))
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

    /// A server to be, with choices.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A client of this server without a socket, as the cluster's administrator in the namespace `default`.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// The server as a service of HTTP requests, each of which is made as the cluster's administrator.
    pub fn service(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        Router::new().fallback(move |request: Request<Body>| {
            let shared = Arc::clone(&shared);
            async move { shared.api.answer(&User::admin(), request).await }
        })
    }

    /// Adds a user without rights: what it may do is for `RoleBinding`s and `ClusterRoleBinding`s to say. Returns its
    /// bearer token, which [`Endpoint::kubeconfig_with`] takes; a user of this name and these groups who is there already
    /// has the same one.
    pub fn add_user(&self, name: &str, groups: &[&str]) -> String {
        let api = &self.shared.api;
        api.auth.issue(&api.store, User::new(name, groups))
    }

    /// Serves HTTPS at an address, as `127.0.0.1:0` for any free port.
    ///
    /// Each request is authenticated by its client certificate or its bearer token. A server that listens again keeps its certificate authority and
    /// its tokens, so that a kubeconfig stays good.
    ///
    /// # Errors
    /// When the address cannot be resolved or is taken, or a certificate cannot be made.
    pub async fn listen(&self, address: &str) -> Result<Endpoint, Error> {
        let authority = self.shared.authority()?;
        Endpoint::open(Arc::clone(&self.shared), authority, address).await
    }

    /// What shall go wrong; none at first.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.api.faults
    }

    /// Starts what a store needs to be a server.
    fn run(store: Store, clock: Clock, injections: Option<Injections>) -> Self {
        let (work, todo) = tokio::sync::mpsc::unbounded_channel();
        let api = Api::new(store, clock, injections, work);
        let admin_token = api.auth.issue(&api.store, User::admin());
        lifecycle::resume(&api);
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            make_namespace(&api, namespace);
        }
        lifecycle::make_start_objects(&api);
        let shared = Arc::new(Shared { api, admin_token, authority: Mutex::default() });
        Self { controllers: tokio::spawn(controllers::run(Arc::clone(&shared), todo)), shared }
    }

    /// Forgets the history of all objects, as etcd's compaction does: continue tokens and resourceVersions from before
    /// are answered 410 `Expired`.
    pub fn compact(&self) {
        self.shared.api.store.compact();
    }
}

impl Shared {
    pub(crate) fn authenticate(&self, headers: &http::HeaderMap) -> Option<User> {
        self.api.auth.authenticate(&self.api.store, self.api.clock.now(), headers)
    }

    /// Who has a certificate that was checked to be of this server's authority.
    pub(crate) fn holder(&self, certificate: &[u8]) -> Option<User> {
        Authentication::holder(&self.api.store, certificate)
    }

    fn authority(&self) -> Result<Arc<Authority>, Error> {
        // Held until it is there, so that there is one.
        let mut authority = self.authority.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = &*authority {
            return Ok(Arc::clone(authority));
        }
        Ok(Arc::clone(authority.insert(Arc::new(Authority::of(&self.api.store)?))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.api.ended.cancel();
        self.controllers.abort();
        self.shared.api.store.close();
    }
}

fn make_namespace(api: &Api, name: &str) {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": api.clock.seconds(),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    // One that is there already is as good.
    let _ = api.store.create(&NAMESPACES.into(), name, &namespace);
    api.enqueue(controllers::Work::ServiceAccount(name.to_owned()));
}
