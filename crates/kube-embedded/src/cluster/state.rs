//! The state of a server, except for its sockets, HTTP and tasks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::aggregation::ApiServices;
use super::authentication::Authentication;
use super::options::Options;
use super::policies::Policies;
use super::rbac::Rbac;
use super::services::Allocations;
#[cfg(feature = "listen")]
use super::trusted::Trusted;
use super::webhooks::{Conversions, Webhooks};
use super::work::WorkQueue;
use crate::clock::Clock;
use crate::random::Random;
use crate::resource::{Resource, SERVICES, Schemas};
use crate::scheme::Scheme;
use crate::status::Status;
use crate::store::{Object, Store};
use crate::webhook;

/// The accepted names of all definitions, by the definition's name.
pub(super) type AcceptedNames = BTreeMap<String, Value>;

/// The state of a server: its objects, and the resources they belong to. Its methods are the operations on objects.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) clock: Clock,
    pub(super) random: Random,
    /// Only this module writes objects to it.
    pub(crate) store: Arc<Store>,
    pub(crate) authentication: Authentication,
    pub(crate) rbac: Rbac,
    pub(super) policies: Policies,
    pub(super) webhooks: Webhooks,
    /// Calls other servers.
    pub(crate) webhook_client: Arc<webhook::Client>,
    pub(crate) api_services: ApiServices,
    pub(crate) conversions: Conversions,
    /// Work for the controllers.
    pub(crate) work: WorkQueue,
    /// Cancelled when the server is dropped.
    pub(crate) ended: CancellationToken,
    /// Cancelled with `ended`, and when the server fails: ends watches.
    pub(crate) watches: CancellationToken,
    scheme: RwLock<Arc<Scheme>>,
    /// Held while a definition is brought into the scheme, so that the last state stored is the last one served.
    pub(super) definitions: Mutex<AcceptedNames>,
    /// The schemas of definitions that are about to be served.
    pub(super) schemas: Schemas,
    /// The addresses and ports of Services, read from the store on first use.
    services: OnceLock<Mutex<Allocations>>,
    /// Held while objects are counted for the quotas of their namespace.
    pub(super) counting: Mutex<()>,
    /// Whom the server trusts, once it listens.
    #[cfg(feature = "listen")]
    pub(super) trusted: OnceLock<Trusted>,
    pub(crate) options: Options,
    /// Why the server has failed.
    failure: OnceLock<&'static str>,
}

impl Cluster {
    /// Creates a server with the objects of a store.
    pub(crate) fn new(store: Store, clock: Clock, random: Random, options: Options) -> Self {
        Self::serving(Arc::new(Scheme::new()), store, clock, random, options)
    }

    fn serving(scheme: Arc<Scheme>, store: Store, clock: Clock, random: Random, options: Options) -> Self {
        let ended = CancellationToken::new();
        let store = Arc::new(store);
        let webhook_client = Arc::new(webhook::Client::new(ended.clone(), options.proxy_identity.clone()));
        Self {
            authentication: Authentication::new(&store, random.clone(), options.tokens.clone()),
            conversions: Conversions::new(Arc::clone(&webhook_client), Arc::clone(&store), random.clone()),
            store,
            clock,
            random,
            rbac: Rbac::new(options.always_allow),
            policies: Policies::default(),
            webhooks: Webhooks::default(),
            webhook_client,
            api_services: ApiServices::default(),
            work: WorkQueue::default(),
            watches: ended.child_token(),
            ended,
            scheme: RwLock::new(scheme),
            definitions: Mutex::default(),
            schemas: Schemas::default(),
            services: OnceLock::new(),
            counting: Mutex::default(),
            #[cfg(feature = "listen")]
            trusted: OnceLock::new(),
            options,
            failure: OnceLock::new(),
        }
    }

    /// Creates a server with the objects of this one, that serves the same resources. Nothing is left to do for its
    /// controllers.
    pub(crate) fn copy(&self, clock: Clock, random: Random, options: Options) -> Self {
        // Locked first, as where a definition is brought into the scheme.
        let names = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = Self::serving(self.scheme(), self.store.copy(clock.clone()), clock, random, options);
        Self { definitions: Mutex::new(names.clone()), ..copy }
    }

    /// The resources that are served now.
    pub(crate) fn scheme(&self) -> Arc<Scheme> {
        Arc::clone(&self.scheme.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the resources that are served.
    pub(super) fn set_scheme(&self, scheme: Scheme) {
        *self.scheme.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(scheme);
    }

    /// The addresses and ports of Services. Do not await while holding the guard.
    pub(super) fn allocations(&self) -> MutexGuard<'_, Allocations> {
        let all = self.services.get_or_init(|| {
            let mut all = Allocations::new(self.options.services);
            let stored = self.store.all(SERVICES.collection(), "");
            stored.iter().for_each(|service| all.note(&service.value()));
            Mutex::new(all)
        });
        all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an object, or a 404.
    pub(crate) fn object(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Status> {
        let found = self.store.get(&resource.collection, &resource.key(namespace, name));
        found.ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))
    }

    /// Fails the server, because a part that it cannot do without has failed: from now on every request is answered
    /// with 500, and watches end.
    pub(crate) fn fail(&self, why: &'static str) {
        // The first reason is kept.
        let _ = self.failure.set(why);
        self.watches.cancel();
    }

    /// Waits until everything written so far is safe to acknowledge.
    ///
    /// # Errors
    /// Fails with 500 if that can never happen, or if the server has failed for another reason.
    pub(crate) async fn settled(&self) -> Result<(), Status> {
        if self.store.settled().await.is_err() {
            return Err(Status::internal_error("the server's data cannot be written to disk"));
        }
        match self.failure.get() {
            Some(why) => Err(Status::internal_error(*why)),
            None => Ok(()),
        }
    }
}
