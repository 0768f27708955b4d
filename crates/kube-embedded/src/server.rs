//! A server: its state, its tasks, and the ways to reach it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::auth::{MASTERS, Tokens, User};
use crate::clock::{Clock, ManualClock};
use crate::controllers;
use crate::endpoint::{Authority, Endpoint};
use crate::error::Error;
use crate::faults::Faults;
use crate::lifecycle::{self, NAMESPACES};

/// An API server, whose state is in memory and ends with it.
///
/// Dropping it ends its controllers, its watches and its endpoints. A client that is left over can still read.
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
}

/// What a server and its endpoints share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    tokens: Mutex<Tokens>,
    pub(crate) admin_token: String,
    authority: OnceLock<Arc<Authority>>,
}

impl Builder {
    /// Lets the server take its time from a clock that stands still until it is moved; without this it is the system's.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }

    /// Starts the server, as [`Server::start`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
    #[must_use]
    pub fn start(self) -> Server {
        let (work, todo) = tokio::sync::mpsc::unbounded_channel();
        let api = Api::new(self.clock, work);
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            make_namespace(&api, namespace);
        }
        lifecycle::make_start_objects(&api);
        let mut tokens = Tokens::default();
        let admin_token = tokens.issue(User::new("admin", &[MASTERS]));
        let shared =
            Arc::new(Shared { api, tokens: Mutex::new(tokens), admin_token, authority: OnceLock::new() });
        Server { controllers: tokio::spawn(controllers::run(Arc::clone(&shared), todo)), shared }
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
        Self::builder().start()
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
    /// bearer token, which [`Endpoint::kubeconfig_with`] takes.
    pub fn add_user(&self, name: &str, groups: &[&str]) -> String {
        self.shared.lock_tokens().issue(User::new(name, groups))
    }

    /// Serves HTTPS at an address, as `127.0.0.1:0` for any free port.
    ///
    /// Each request is authenticated by its bearer token. A server that listens again keeps its certificate authority and
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

    /// Forgets the history of all objects, as etcd's compaction does: continue tokens and resourceVersions from before
    /// are answered 410 `Expired`.
    pub fn compact(&self) {
        self.shared.api.store.compact();
    }
}

impl Shared {
    pub(crate) fn authenticate(&self, headers: &http::HeaderMap) -> Option<User> {
        self.lock_tokens().authenticate(headers)
    }

    fn authority(&self) -> Result<Arc<Authority>, Error> {
        if let Some(authority) = self.authority.get() {
            return Ok(Arc::clone(authority));
        }
        let made = Arc::new(Authority::new()?);
        // Of two that are made at once the first one counts.
        Ok(Arc::clone(self.authority.get_or_init(|| made)))
    }

    fn lock_tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.api.ended.cancel();
        self.controllers.abort();
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
    // The store is empty, so nothing is in its way.
    let _ = api.store.create(&NAMESPACES.into(), name, namespace);
    api.enqueue(controllers::Work::ServiceAccount(name.to_owned()));
}
