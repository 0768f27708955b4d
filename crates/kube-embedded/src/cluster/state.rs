//! The state of a server, apart from its sockets, its HTTP and its tasks.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;

use super::authentication::Authentication;
use super::rbac::Rbac;
use super::services::Allocations;
use super::work::WorkQueue;
use crate::clock::Clock;
use crate::resource::{Resource, SERVICES};
use crate::scheme::Scheme;
use crate::status::Status;
use crate::store::{Object, Range, Store};

/// What a server is: its objects, and which resources they are of. Its methods are the operations on objects.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) clock: Clock,
    /// Only this module writes objects to it.
    pub(crate) store: Arc<Store>,
    pub(crate) authentication: Authentication,
    pub(crate) rbac: Rbac,
    /// For the controllers.
    pub(crate) work: WorkQueue,
    /// Cancelled when the server is dropped.
    pub(crate) ended: CancellationToken,
    /// Cancelled with `ended`, and when the server fails: ends watches.
    pub(crate) watches: CancellationToken,
    scheme: RwLock<Arc<Scheme>>,
    /// Held while a definition is brought into the scheme, so that what the store has last is served last.
    pub(super) definitions: Mutex<()>,
    /// What Services have; read from the store when it is first asked for.
    services: OnceLock<Mutex<Allocations>>,
    /// Why the server has given up.
    failure: OnceLock<&'static str>,
}

impl Cluster {
    /// A server with the objects of a store.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        let ended = CancellationToken::new();
        Self {
            authentication: Authentication::new(&store),
            store: Arc::new(store),
            clock,
            rbac: Rbac::default(),
            work: WorkQueue::default(),
            watches: ended.child_token(),
            ended,
            scheme: RwLock::new(Arc::new(Scheme::new())),
            definitions: Mutex::new(()),
            services: OnceLock::new(),
            failure: OnceLock::new(),
        }
    }

    /// The resources that are served now.
    pub(crate) fn scheme(&self) -> Arc<Scheme> {
        Arc::clone(&self.scheme.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves other resources from now on.
    pub(super) fn set_scheme(&self, scheme: Scheme) {
        *self.scheme.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(scheme);
    }

    /// The addresses and ports of Services. Nothing is awaited while it is held.
    pub(super) fn allocations(&self) -> MutexGuard<'_, Allocations> {
        let all = self.services.get_or_init(|| {
            let mut all = Allocations::default();
            let stored = self.store.list(SERVICES.collection(), Range::default(), None).unwrap_or_default();
            stored.objects.iter().for_each(|service| all.note(&service.value()));
            Mutex::new(all)
        });
        all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object, or the 404 for it.
    pub(crate) fn object(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Status> {
        let found = self.store.get(&resource.collection, &resource.key(namespace, name));
        found.ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))
    }

    /// Gives up, since a part of the server has failed that it cannot do without: from now on each request is answered with 500, and
    /// watches end.
    pub(crate) fn fail(&self, why: &'static str) {
        // The first reason is the one that counts.
        let _ = self.failure.set(why);
        self.watches.cancel();
    }

    /// Waits until all that was written before is safe to acknowledge.
    ///
    /// # Errors
    /// 500 when it never will be, or when the server has failed otherwise.
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
