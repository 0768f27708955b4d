//! A server: its state, its tasks, and the ways to reach it.

#[cfg(feature = "disk")]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "listen")]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::clock::{Clock, ManualClock};
use crate::cluster::{Cluster, Options, ServiceRange};
#[cfg(feature = "listen")]
use crate::cluster::{PublicKey, SigningKey};
use crate::controllers;
#[cfg(feature = "listen")]
use crate::endpoint::{Authority, Endpoint, Pem, RequestHeaders, Tls};
use crate::error::Error;
use crate::http::faults::Faults;
use crate::http::{Handler, Injections, Service};
use crate::kubelet::Kubelet;
use crate::random::Random;
use crate::store::Store;
use crate::user::User;
#[cfg(feature = "webhooks")]
use crate::webhook::Identity;

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
    #[cfg(feature = "listen")]
    tls: Tls,
}

/// Builds a [`Server`] with non-default options.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it starts its server"]
pub struct ServerBuilder {
    clock: Clock,
    seed: Option<u64>,
    #[cfg(feature = "disk")]
    data_dir: Option<PathBuf>,
    faults_over_http: bool,
    kubelet_over_http: bool,
    options: Options,
    #[cfg(feature = "listen")]
    tls: Tls,
}

impl ServerBuilder {
    /// Makes the server take its time from a clock that stands still until it is advanced. The default is the system's
    /// clock.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }

    /// Makes the server take its time from tokio's clock, from which clients in the same runtime take theirs: `start`
    /// when the server starts, and from then on what has passed of [`tokio::time`]. Everything that a [`ManualClock`]
    /// replaces follows it, and the network limits too.
    ///
    /// With [paused time](https://docs.rs/tokio/latest/tokio/time/fn.pause.html) no wait is real, neither the
    /// server's nor a client's: once all tasks are idle, the time jumps to the next moment that one of them waits for.
    /// A server without a data folder and sockets is idle as soon as it has nothing to do: it has no threads, and
    /// waits for nothing but this clock and its clients.
    pub fn tokio_clock(mut self, start: Timestamp) -> Self {
        self.clock = Clock::Tokio { start, since: tokio::time::Instant::now() };
        self
    }

    /// Takes all random numbers from a seed: uids, generated names, and tokens of users. Two servers with the same seed
    /// and the same clock then answer the same requests with the same bytes, if the requests come in the same order:
    /// use a [`ManualClock`] or [`tokio_clock`](Self::tokio_clock), and a runtime with one thread. The server's own
    /// controllers work in an order that depends on nothing else.
    ///
    /// What remains random: signatures of ServiceAccounts' tokens and the key they are made with, certificates, and the
    /// order in which CEL rules visit the keys of a map, which a `messageExpression` may show.
    ///
    /// Whoever knows the seed knows the tokens, so this is for tests only. By default the numbers are the system's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
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

    /// Lets administrators say over HTTP what kubelets answer, below `/kube-embedded/kubelet`: see
    /// [`kubelet`](crate::kubelet). By default, that path does not exist.
    ///
    /// Whoever may do that can let the server connect to any address.
    pub fn kubelet_over_http(mut self) -> Self {
        self.kubelet_over_http = true;
        self
    }

    /// Runs no controllers but those of kube-apiserver itself: there is no garbage collection, namespaces that are deleted
    /// keep their contents and stay, and get no `default` ServiceAccount, and no types of policies are checked, as with
    /// kube-apiserver alone. Definitions still end with their instances, and Events still expire.
    ///
    /// A Pod needs a ServiceAccount, which nobody creates: see [`Self::disable_admission_plugins`].
    pub fn without_controllers(mut self) -> Self {
        self.options.no_controllers = true;
        self
    }

    /// Lets the namespace controller wait before it deletes the contents of a namespace that is being deleted, and each time
    /// before it looks at the namespace again. kube-controller-manager waits 5 s. By default there is no delay: an empty
    /// namespace may be gone before its deletion is answered.
    ///
    /// With a [`ManualClock`] the delay passes when the clock is advanced.
    pub fn namespace_deletion_delay(mut self, delay: Duration) -> Self {
        self.options.namespace_deletion_delay = Some(delay);
        self
    }

    /// Turns admission plugins on, by their names in kube-apiserver's `--enable-admission-plugins`, in addition to those that are
    /// on by default. The log names those of kube-apiserver's plugins that this server does not have: they refuse nothing.
    ///
    /// # Errors
    /// Fails if a plugin is unknown, or is disabled, too.
    pub fn enable_admission_plugins<'a>(
        mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let missing = self.options.plugins.enable(names).map_err(Error::AdmissionPlugins)?;
        if !missing.is_empty() {
            tracing::warn!("admission plugins that are not here and do nothing: {}", missing.join(", "));
        }
        Ok(self)
    }

    /// Turns admission plugins off, by their names in kube-apiserver's `--disable-admission-plugins`: `ServiceAccount`, for example,
    /// as envtest does, so that Pods get no account and no volume with a token of it.
    ///
    /// # Errors
    /// Fails if a plugin is unknown, or is enabled, too.
    pub fn disable_admission_plugins<'a>(
        mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        self.options.plugins.disable(names).map_err(Error::AdmissionPlugins)?;
        Ok(self)
    }

    /// Lets all users do everything, as kube-apiserver's authorization mode `AlwaysAllow` does, instead of what RBAC grants
    /// them.
    pub fn always_allow(mut self) -> Self {
        self.options.always_allow = true;
        self
    }

    /// Sets the range of addresses that Services get, such as `10.0.0.0/24`. The default is `10.96.0.0/16`.
    ///
    /// # Errors
    /// Fails unless it is a range of 8 to 1,048,576 IPv4 addresses.
    pub fn service_addresses(mut self, range: &str) -> Result<Self, Error> {
        self.options.services =
            ServiceRange::parse(range).map_err(|why| Error::ServiceRange { range: range.to_owned(), why })?;
        Ok(self)
    }

    /// Refuses requests without credentials with 401. By default, their user is `system:anonymous`, whom RBAC allows to read
    /// the server's health and version.
    #[cfg(feature = "listen")]
    pub fn without_anonymous(mut self) -> Self {
        self.options.no_anonymous = true;
        self
    }

    /// Serves with a certificate and its private key, both in PEM, instead of one of the server's own authority. The
    /// certificate may be followed by those of its issuers. Kubeconfigs of an [`Endpoint`] do not name its authority, only the
    /// server's own.
    ///
    /// # Errors
    /// Fails if there is no certificate or no key, or if they do not belong together.
    #[cfg(feature = "listen")]
    pub fn serving_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        self.tls = self.tls.with_certificate(chain, key)?;
        Ok(self)
    }

    /// Adds a DNS name or an IP address to the certificate that the server issues for itself. It is always valid for `localhost`,
    /// `127.0.0.1`, `::1` and the address that it listens on. [`Server::listen`] fails if the name is not ASCII.
    #[cfg(feature = "listen")]
    pub fn serving_name(mut self, name: &str) -> Self {
        self.tls = self.tls.with_name(name);
        self
    }

    /// Accepts client certificates that these authorities, in PEM, have issued. A certificate's user is its common name (`CN`), the
    /// user's groups are its organizations (`O`), as with kube-apiserver's `--client-ca-file`.
    ///
    /// # Errors
    /// Fails if there is no certificate, or if one is not that of an authority.
    #[cfg(feature = "listen")]
    pub fn client_authority(mut self, bundle: &[u8]) -> Result<Self, Error> {
        self.tls = self.tls.with_client_authority(bundle)?;
        Ok(self)
    }

    /// Lets front proxies with client certificates of these authorities, in PEM, say in headers who the user of a request is, as
    /// with kube-apiserver's `--requestheader-client-ca-file`. From anybody else, these headers are ignored.
    ///
    /// # Errors
    /// Fails if there is no certificate, if one is not that of an authority, or if a name in `headers` is empty.
    #[cfg(feature = "listen")]
    pub fn front_proxies(mut self, bundle: &[u8], headers: RequestHeaders) -> Result<Self, Error> {
        self.tls = self.tls.with_front_proxies(bundle, headers)?;
        Ok(self)
    }

    /// Shows a client certificate to aggregated servers, by which they recognize this server and believe what it says about users:
    /// kube-apiserver's `--proxy-client-cert-file` and `--proxy-client-key-file`. Both are in PEM.
    ///
    /// # Errors
    /// Fails if one of both is missing, or they do not belong together.
    #[cfg(feature = "webhooks")]
    pub fn proxy_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let identity = Identity::from_pem(chain, key).map_err(|error| Error::Tls(error.into()))?;
        self.options.proxy_identity = Some(identity);
        Ok(self)
    }

    /// Signs the tokens of ServiceAccounts with a private key in PEM: RSA (RS256), or ECDSA with P-256, P-384 or P-521 (ES256,
    /// ES384, ES512). The default is a key of the server's own for ES256.
    ///
    /// # Errors
    /// Fails if there is no such key.
    #[cfg(feature = "listen")]
    pub fn token_signing_key(mut self, pem: &[u8]) -> Result<Self, Error> {
        let der = Pem::parse(pem).private_key().ok_or(Error::Pem("private key"))?;
        let key = SigningKey::from_der(&der).ok_or(Error::Pem("RSA or ECDSA private key"))?;
        self.options.tokens.signing_key = Some(Arc::new(key));
        Ok(self)
    }

    /// Accepts tokens of ServiceAccounts that were signed with other keys, too: the PEM has public keys, private keys or
    /// certificates.
    ///
    /// # Errors
    /// Fails if there is no such key.
    #[cfg(feature = "listen")]
    pub fn token_keys(mut self, pem: &[u8]) -> Result<Self, Error> {
        let pem = Pem::parse(pem);
        let mut keys: Vec<_> = pem.public_keys().iter().filter_map(|key| PublicKey::from_der(key)).collect();
        let private = pem.private_key().and_then(|der| SigningKey::from_der(&der));
        keys.extend(private.map(|key| key.public().clone()));
        if keys.is_empty() {
            return Err(Error::Pem("RSA or ECDSA key"));
        }
        self.options.tokens.keys.append(&mut keys);
        Ok(self)
    }

    /// Sets the issuers of tokens of ServiceAccounts. The first one issues new tokens; those of all are accepted. The default
    /// is `https://kubernetes.default.svc`.
    pub fn token_issuers<T: Into<String>>(mut self, issuers: impl IntoIterator<Item = T>) -> Self {
        self.options.tokens.issuers = issuers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the audiences of tokens for this server: a token must name one of them. The default is the issuers.
    pub fn token_audiences<T: Into<String>>(mut self, audiences: impl IntoIterator<Item = T>) -> Self {
        self.options.tokens.audiences = audiences.into_iter().map(Into::into).collect();
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
        let clock = self.clock.clone().starting_now();
        let store = self.store(&clock)?;
        let random = self.random(&store);
        let cluster = Cluster::new(store, clock, random, self.options.clone());
        cluster.start();
        Ok(self.run(cluster))
    }

    /// Starts a server in memory that has what another has now: its objects, its resources, and its users with their
    /// tokens. It shares them until one of the two servers changes them, so this takes a fraction of the time of
    /// [`start`](Self::start): tests that play many scenarios prepare one server and copy it. The copy has no history
    /// from before, no faults, nothing that kubelets answer, and has not read the other's data folder.
    ///
    /// What the other's controllers still had to do is not done by those of the copy: wait before until it is done, with
    /// paused time by a [`tokio::time::sleep`].
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, as [`tokio::spawn`] does.
    #[must_use]
    pub fn start_copy(self, other: &Server) -> Server {
        let clock = self.clock.clone().starting_now();
        let other = &other.handler.cluster;
        let random = self.random(&other.store);
        let copy = other.copy(clock, random, self.options.clone());
        self.run(copy)
    }

    /// The numbers of a server that starts with a store: one with data must not use the same uids again.
    fn random(&self, store: &Store) -> Random {
        let seed = self.seed.map(|seed| seed.wrapping_add(store.revision()));
        seed.map_or_else(Random::default, Random::seeded)
    }

    fn run(self, cluster: Cluster) -> Server {
        let cluster = Arc::new(cluster);
        let injections = self.faults_over_http.then(Injections::default);
        Server {
            #[cfg(feature = "listen")]
            admin_token: cluster.authentication.issue(&cluster.store, User::admin()),
            #[cfg(feature = "listen")]
            authority: Mutex::default(),
            #[cfg(feature = "listen")]
            tls: self.tls,
            controllers: tokio::spawn(controllers::run(Arc::clone(&cluster))),
            handler: Arc::new(Handler {
                kubelet: Kubelet::new(cluster.clock.clone()),
                cluster,
                faults: Faults::default(),
                injections,
                kubelet_over_http: self.kubelet_over_http,
            }),
        }
    }

    fn store(&self, clock: &Clock) -> Result<Store, Error> {
        #[cfg(feature = "disk")]
        if let Some(path) = &self.data_dir {
            return Ok(Store::open(clock.clone(), path)?);
        }
        Ok(Store::new(clock.clone()))
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
        let cluster = Cluster::new(Store::new(clock.clone()), clock, Random::default(), Options::default());
        cluster.start();
        ServerBuilder::default().run(cluster)
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

    /// Adds a user with a token of the caller's choice, as kube-apiserver's `--token-auth-file` does. The user has no rights
    /// until RoleBindings or ClusterRoleBindings grant them, unless a group has some.
    #[cfg(feature = "listen")]
    pub fn add_token(&self, token: &str, name: &str, uid: &str, groups: &[&str]) {
        let cluster = &self.handler.cluster;
        let user = User { uid: uid.to_owned(), ..User::new(name, groups) };
        cluster.authentication.accept(&cluster.store, token, user);
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
        Endpoint::open(handler, authority, &self.tls, self.admin_token.clone(), address).await
    }

    /// Returns the server's faults. There are none at first.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.handler.faults
    }

    /// Returns what kubelets answer: logs of containers, processes in them, and ports of Pods. There are none at first.
    #[must_use]
    pub fn kubelet(&self) -> &Kubelet {
        &self.handler.kubelet
    }

    /// Forgets the history of all objects, as etcd's compaction does: requests with earlier continue tokens and
    /// resourceVersions are answered with 410 `Expired`.
    pub fn compact(&self) {
        self.handler.cluster.store.compact();
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
