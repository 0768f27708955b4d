//! The handles: [`Informers`] owns the client and the watches, [`Informer`] is one cache.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use kube::{
    Client, ResourceExt,
    core::{ApiResource, DynamicObject, PartialObjectMeta},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Cached, Compact, Error, Index, Object, Phase, ResourceVersion, Snapshot, Status, Subscription,
    driver::{Connection, Driver},
    protocol::{ListSemantic, Settings, Target},
    scope::Scope,
    skip::InvalidPath,
    state::State,
    version::InvalidResourceVersion,
};

/// The informers of one cluster connection. Cloning gives another handle to the same ones.
///
/// Informers that ask for the same (type, scope, selectors and options) share one watch and one cache. All share what was
/// learned of the server: one that refused or ignored a watch-list is asked for lists, for an hour.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Arc<Connection>,
    cancelled: CancellationToken,
    running: Mutex<HashMap<Identity, Weak<dyn Any + Send + Sync>>>,
    #[cfg(feature = "metrics")]
    metrics: crate::metrics::Metrics,
}

/// What makes two informers the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    object: TypeId,
    target: Target,
    settings: Settings,
}

impl Informers {
    /// Informers over this client. They use its connection, credentials and layers, but not its retries of failed
    /// requests: an informer has its own, which it tells about.
    pub fn new(client: Client) -> Self {
        Self::with_cancellation(client, CancellationToken::new())
    }

    /// As [`new`](Self::new), and every informer stops when the token is cancelled.
    pub fn with_cancellation(client: Client, cancelled: CancellationToken) -> Self {
        Self {
            inner: Arc::new(Inner {
                connection: Arc::new(Connection::new(client)),
                cancelled,
                running: Mutex::default(),
                #[cfg(feature = "metrics")]
                metrics: crate::metrics::Metrics::default(),
            }),
        }
    }

    /// Adds metrics of these informers, present and future ones, to a registry of [`prometheus_client`] (feature
    /// `metrics`). Call it once: twice would give each series twice. The README lists them.
    ///
    /// Reading the registry looks each informer and each subscription up, under locks that are held for as long as counting
    /// them takes; between two readings nothing is gathered, and an event costs a few additions.
    ///
    /// ```
    /// use prometheus_client::{encoding::text::encode, registry::Registry};
    ///
    /// # async fn example(client: kube::Client) -> Result<String, std::fmt::Error> {
    /// let informers = kube_informer::Informers::new(client);
    /// let mut registry = Registry::default();
    /// informers.register_metrics(&mut registry);
    ///
    /// let mut page = String::new();
    /// encode(&mut page, &registry)?;
    /// # Ok(page)
    /// # }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register_collector(Box::new(self.inner.metrics.clone()));
    }

    /// An informer for a type that is known at compile time, such as one made with `kube::CustomResource`.
    ///
    /// For the metadata alone, ask for `typed::<PartialObjectMeta<K>>()`.
    pub fn typed<K: Object<DynamicType = ()>>(&self) -> InformerBuilder<K> {
        InformerBuilder::new(self.clone(), &())
    }

    /// An informer for a type that is known at run time.
    pub fn dynamic(&self, resource: &ApiResource) -> InformerBuilder<DynamicObject> {
        InformerBuilder::new(self.clone(), resource)
    }

    /// An informer that fetches and keeps the metadata of each object alone.
    pub fn metadata(&self, resource: &ApiResource) -> InformerBuilder<PartialObjectMeta<DynamicObject>> {
        InformerBuilder::new(self.clone(), resource)
    }
}

/// An informer that is being described; [`start`](Self::start) runs it.
#[must_use = "an informer does nothing until it is started"]
pub struct InformerBuilder<K: Cached> {
    informers: Informers,
    target: Target,
    /// The namespaces to begin with, if they can change.
    set: Option<BTreeSet<String>>,
    settings: Settings,
    _object: std::marker::PhantomData<fn() -> K>,
}

impl<K: Object> InformerBuilder<K> {
    /// Holds each object as bytes, in one allocation: [`Compact`]. It takes much less memory, and each read
    /// decodes anew: for a cache that is large and seldom read.
    pub fn compact(self) -> InformerBuilder<Compact<K>> {
        let Self { informers, target, set, settings, .. } = self;
        InformerBuilder { informers, target, set, settings, _object: std::marker::PhantomData }
    }
}

impl<K: Cached> InformerBuilder<K> {
    fn new(informers: Informers, dynamic_type: &<K::Object as kube::Resource>::DynamicType) -> Self {
        Self::of(informers, Target::new::<K::Object>(dynamic_type), Settings::default())
    }

    /// An informer of something else than one of the public methods describes.
    pub(crate) fn of(informers: Informers, target: Target, settings: Settings) -> Self {
        Self { informers, target, set: None, settings, _object: std::marker::PhantomData }
    }

    /// Watches one namespace. Without this, all namespaces.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.target.namespace = Some(namespace.to_owned());
        self.set = None;
        self
    }

    /// Watches these namespaces, as one cache, and lets the set of them grow and shrink while it runs:
    /// [`Informer::add_namespace`], [`Informer::remove_namespace`]. It can begin empty.
    ///
    /// A namespace is seen whole or not at all, and appears at once, when its first list is complete. The first
    /// snapshot is there when each namespace that the set began with was listed or has failed to be, and one was
    /// listed: a namespace that may not be read does not hold up the others. [`Status::namespaces`] tells which are
    /// complete, and of a snapshot [`Snapshot::resource_version_of`] does.
    ///
    /// Each namespace costs a watch: a connection, or a stream of one where the client uses HTTP/2. From about a hundred
    /// on, one watch of all namespaces is cheaper for the server, if it may be had.
    pub fn namespaces<I>(mut self, namespaces: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.target.namespace = None;
        self.set = Some(namespaces.into_iter().map(Into::into).collect());
        self
    }

    /// Watches the objects that this label selector selects, in kubectl's syntax: `app=web,tier!=test`.
    pub fn label_selector(mut self, selector: &str) -> Self {
        self.target.label_selector = selector.to_owned();
        self
    }

    /// Watches the objects that this field selector selects: `metadata.name=web`.
    pub fn field_selector(mut self, selector: &str) -> Self {
        self.target.field_selector = selector.to_owned();
        self
    }

    /// Where lists come from; [`ListSemantic::MostRecent`] if not said.
    pub fn list_semantic(mut self, list_semantic: ListSemantic) -> Self {
        self.settings.list_semantic = list_semantic;
        self
    }

    /// Keeps `metadata.managedFields`, which are skipped while parsing if not said. They are often a third of an
    /// object.
    pub fn keep_managed_fields(mut self) -> Self {
        self.settings.skip.keep_managed_fields();
        self
    }

    /// Skips the annotation `kubectl.kubernetes.io/last-applied-configuration` while parsing: it repeats the whole object
    /// that `kubectl apply` was given. Besides that, the same as [`skip`](Self::skip).
    pub fn skip_last_applied(mut self) -> Self {
        self.settings.skip.last_applied();
        self
    }

    /// Skips what these paths name while parsing, so that it takes neither memory nor much time. The cached objects are
    /// then not what the server has: do not write them back whole, because that would remove what was skipped.
    ///
    /// A path is the names of the members that lead to one, from the top: `status.conditions`. A name with other
    /// characters is written in brackets, `metadata.annotations['example.com/notes']`, and `[*]` stands for each element of an
    /// array: `spec.containers[*].env`. (That is JSONPath, RFC 9535, without its `$.`, and no more of it than this.)
    /// Where an object has nothing of that path, nothing is skipped.
    ///
    /// What the type cannot be decoded without must not be skipped: every object would be
    /// [quarantined](crate::Status::quarantined), with an error that names the missing field.
    ///
    /// # Errors
    /// When a path cannot be read, or names what the cache needs: type, name, namespace, uid and resourceVersion.
    pub fn skip<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPath> {
        for path in paths {
            self.settings.skip.path(path)?;
        }
        Ok(self)
    }

    /// After how long without a word from the server the cache counts as [stale](Status::stale). 3 minutes if not
    /// said: a healthy server sends a bookmark about every minute.
    pub fn stale_after(mut self, bound: Duration) -> Self {
        self.settings.stale_after = bound;
        self
    }

    /// Starts the informer, or joins one that runs already for the same type, scope, selectors and options. One of a
    /// [set of namespaces](Self::namespaces) is not joined: each has its own set, which its handles share.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    #[must_use]
    pub fn start(self) -> Informer<K> {
        let Self { informers, target, set, settings, .. } = self;
        if let Some(namespaces) = set {
            let scopes: Vec<Scope> = namespaces.iter().map(|namespace| Scope::new(Some(namespace))).collect();
            return Informer { handle: Arc::new(Handle::new(&informers, target, settings, &scopes, true)) };
        }
        let scope = Scope::new(target.namespace.as_deref());
        let identity = Identity { object: TypeId::of::<K>(), target, settings };
        let mut running = informers.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let found = running.get(&identity).and_then(Weak::upgrade);
        if let Some(handle) = found.and_then(|handle| handle.downcast::<Handle<K>>().ok())
            && !handle.cancelled.is_cancelled()
            && !handle.task.is_finished()
        {
            return Informer { handle };
        }
        running.retain(|_, handle| handle.strong_count() > 0);
        let (target, settings) = (identity.target.clone(), identity.settings.clone());
        let handle = Arc::new(Handle::new(&informers, target, settings, &[scope], false));
        let weak: Weak<dyn Any + Send + Sync> = Arc::downgrade(&handle) as _;
        running.insert(identity, weak);
        Informer { handle }
    }
}

/// One cache of objects, kept up to date. Cloning gives another handle to the same one; when the last handle and the
/// last [`Subscription`] are dropped it stops and its memory is freed.
pub struct Informer<K: Cached> {
    handle: Arc<Handle<K>>,
}

impl<K: Cached> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

/// Owns the task: dropped, it ends it.
struct Handle<K: Cached> {
    state: Arc<State<K>>,
    cancelled: CancellationToken,
    /// The namespaces that are watched, if it is not all of them.
    namespaces: Option<Namespaces>,
    task: AbortOnDropHandle<()>,
    /// An informer can be shared as long as one of its handles is there.
    _informers: Informers,
}

type Watched<'a> = MutexGuard<'a, BTreeMap<String, Scope>>;

/// The namespaces of an informer that does not watch all of them.
struct Namespaces {
    watched: Mutex<BTreeMap<String, Scope>>,
    /// Where the driver is told of new ones. None when they cannot change.
    added: Option<mpsc::UnboundedSender<Scope>>,
}

impl<K: Cached> Handle<K> {
    fn new(
        informers: &Informers,
        target: Target,
        settings: Settings,
        scopes: &[Scope],
        can_change: bool,
    ) -> Self {
        let cancelled = informers.inner.cancelled.child_token();
        let state = Arc::new(State::new(scopes));
        #[cfg(feature = "metrics")]
        informers.inner.metrics.add(&target, &state);
        let (added, receiver) = mpsc::unbounded_channel();
        // The receiver is here, so this cannot fail.
        scopes.iter().for_each(|scope| drop(added.send(scope.clone())));
        let connection = Arc::clone(&informers.inner.connection);
        let driver =
            Driver::new(connection, target, settings, Arc::clone(&state), receiver, cancelled.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        let watched =
            scopes.iter().filter_map(|scope| Some((scope.namespace.as_deref()?.to_owned(), scope.clone())));
        let watched = Mutex::new(watched.collect());
        let by_name = can_change || scopes.iter().any(|scope| scope.namespace.is_some());
        let namespaces = by_name.then(|| Namespaces { watched, added: can_change.then_some(added) });
        Self { state, cancelled, namespaces, task, _informers: informers.clone() }
    }
}

/// The first list was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Synced {
    /// How many objects the cache holds.
    pub count: usize,
    /// The version that the cache is the state of, as [`Snapshot::resource_version`] tells it; none for a set of no
    /// namespaces.
    pub resource_version: Option<ResourceVersion>,
    /// How many objects did not decode; [`Status::quarantined`] tells which and why. When that is all of them, the
    /// type is likely not the server's.
    pub quarantined: usize,
}

/// There is no snapshot yet: the first list is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the first list is not complete")]
pub struct NotSynced;

/// The informer watches all namespaces, or one: only a [set of namespaces](InformerBuilder::namespaces) can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer was not started with a set of namespaces")]
pub struct NamespacesFixed;

/// Why [`Informer::wait_for`] did not see the version.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The version asked for cannot be compared.
    #[error(transparent)]
    Invalid(#[from] InvalidResourceVersion),
    /// This informer watches other namespaces.
    #[error("namespace {0:?} is not watched")]
    NotWatched(String),
    /// The deadline came first.
    #[error("the cache has not reached resource version {wanted} in time")]
    Deadline {
        /// The version asked for.
        wanted: ResourceVersion,
        /// The version that the cache had reached.
        reached: Option<ResourceVersion>,
    },
    /// The informer was stopped.
    #[error("the informer was stopped")]
    Stopped,
}

impl<K: Cached> Informer<K> {
    /// Waits for the first list, or for the first failure to get it. Of a set of namespaces, for the first list of each,
    /// or for the first failure of one: the error names it, and [`Status::namespaces`] has all.
    ///
    /// # Errors
    /// With the reason, at once, when an attempt has failed and none has succeeded yet: the server cannot be reached,
    /// 401, 403, 404 and so on. The informer keeps trying; whoever wants to wait through failures waits on
    /// [`status`](Self::status) (`wait_for(Status::is_ready)`). A 429 is no failure for the first 30 seconds: the server
    /// only says when to come back, as a kube-apiserver does for a second or two after a CustomResourceDefinition was
    /// installed. Once the informer has [ended](Phase::Stopped) it is that which is told.
    pub async fn synced(&self) -> Result<Synced, Error> {
        let mut status = self.status();
        let settled = status.wait_for(|status| {
            status.synced || status.not_synced_because().is_some() || matches!(status.phase, Phase::Stopped)
        });
        let (failed, quarantined) = match settled.await {
            Ok(status) if matches!(status.phase, Phase::Stopped) => (Some(Error::Stopped), 0),
            Ok(status) if status.synced => (None, status.quarantined.len()),
            Ok(status) => (status.not_synced_because().cloned(), 0),
            Err(_) => (Some(Error::Stopped), 0),
        };
        match (failed, self.handle.state.snapshot()) {
            (None, Some(snapshot)) => Ok(Synced {
                count: snapshot.len(),
                resource_version: snapshot.resource_version(),
                quarantined,
            }),
            (failed, _) => Err(failed.unwrap_or(Error::Stopped)),
        }
    }

    /// All cached objects at this moment. O(1); never waits for the network, and for the writer only while it makes one
    /// change: an object, up to 1,000 that a list shows to be gone, or a whole namespace that joins or leaves a set, and a
    /// type that goes. Of 100,000 objects that last takes some tenths of a second.
    ///
    /// # Errors
    /// Before the first list is complete: a part never passes for the whole.
    pub fn snapshot(&self) -> Result<Snapshot<K>, NotSynced> {
        self.handle.state.snapshot().ok_or(NotSynced)
    }

    /// The present state, then [`Event::Synced`](crate::Event::Synced), then every change. See [`Subscription`].
    #[must_use]
    pub fn subscribe(&self) -> Subscription<K> {
        let handle: Arc<dyn Send + Sync> = Arc::clone(&self.handle) as _;
        Subscription::new(self.handle.state.subscribe(), handle)
    }

    /// The status, now (`borrow`) and whenever it changes (`changed`, `wait_for`). A new `last_contact` alone is no
    /// change that wakes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.handle.state.status()
    }

    /// Waits until the cache has everything of a namespace up to a version, so that a writer reads its own write: pass
    /// the namespace of the object and the `metadata.resourceVersion` that the server answered the write with. Without a
    /// namespace, it waits until all that are watched are there.
    ///
    /// An event that the informer's selector leaves out is noticed with the next bookmark only, up to a minute later.
    ///
    /// # Errors
    /// When the version cannot be compared, when the namespace is not watched, when the deadline passes first, or when
    /// the informer stops.
    pub async fn wait_for<'a>(
        &self,
        namespace: impl Into<Option<&'a str>>,
        resource_version: &str,
        deadline: Instant,
    ) -> Result<(), WaitError> {
        let wanted: ResourceVersion = resource_version.parse()?;
        let namespace = namespace.into().filter(|_| self.handle.namespaces.is_some());
        // How far it is; an error when it is not watched.
        let progress = |status: &Status| match namespace {
            Some(namespace) => status
                .namespaces
                .get(namespace)
                .map(|status| status.resource_version)
                .ok_or_else(|| WaitError::NotWatched(namespace.to_owned())),
            None => Ok(status.resource_version),
        };
        let mut status = self.status();
        let settled = status.wait_for(|status| {
            matches!(status.phase, Phase::Stopped)
                || progress(status).map_or(true, |reached| reached >= Some(wanted))
        });
        let timely = tokio::time::timeout_at(deadline, settled).await;
        let now = self.status();
        let status = match timely {
            Ok(Ok(status)) => status,
            Ok(Err(_)) | Err(_) => now.borrow(),
        };
        match progress(&status)? {
            reached if reached >= Some(wanted) => Ok(()),
            _ if matches!(status.phase, Phase::Stopped) => Err(WaitError::Stopped),
            reached => Err(WaitError::Deadline { wanted, reached }),
        }
    }

    /// Watches one more namespace. Its objects come all at once, when its first list is complete; until then
    /// [`Status::synced`] is revoked, and [`synced`](Self::synced) waits for it. Nothing happens if it is watched
    /// already.
    ///
    /// # Errors
    /// When the informer was not started with a [set of namespaces](InformerBuilder::namespaces).
    pub fn add_namespace(&self, namespace: &str) -> Result<(), NamespacesFixed> {
        let (mut watched, added) = self.set()?;
        if !watched.contains_key(namespace) {
            let scope = Scope::new(Some(namespace));
            self.handle.state.add_scope(&scope);
            watched.insert(namespace.to_owned(), scope.clone());
            // It fails when the informer has ended, and nothing is followed any more.
            let _ = added.send(scope);
        }
        Ok(())
    }

    /// Does not watch a namespace any more. When this returns its objects are gone from the cache, and subscribers are
    /// told with [`DeletionReason::NamespaceRemoved`](crate::DeletionReason::NamespaceRemoved). Nothing happens if it is not watched.
    ///
    /// # Errors
    /// When the informer was not started with a [set of namespaces](InformerBuilder::namespaces).
    pub fn remove_namespace(&self, namespace: &str) -> Result<(), NamespacesFixed> {
        let (mut watched, _) = self.set()?;
        if let Some(scope) = watched.remove(namespace) {
            self.handle.state.remove_scope(&scope);
        }
        Ok(())
    }

    fn set(&self) -> Result<(Watched<'_>, &mpsc::UnboundedSender<Scope>), NamespacesFixed> {
        let Namespaces { watched, added } = self.handle.namespaces.as_ref().ok_or(NamespacesFixed)?;
        let added = added.as_ref().ok_or(NamespacesFixed)?;
        Ok((watched.lock().unwrap_or_else(PoisonError::into_inner), added))
    }
}

impl<K: Cached> Informer<K> {
    /// An index of the cached objects: the function gives the keys of an object, any number of them. It can be added at
    /// any time; on a cache that is filled already, this call looks at each object. Read it with
    /// [`Snapshot::by_index`].
    ///
    /// The function must give the same keys for the same object each time. It is called while the cache is locked, so
    /// it must not use the informer itself. If it panics the informer [ends](Phase::Stopped), as it does when an object's
    /// `Deserialize` panics; [`InformerBuilder::start`] then begins a new one.
    pub fn index<I, Keys>(&self, keys: impl Fn(&K::Stored) -> Keys + Send + Sync + 'static) -> Index<K, I>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
        Keys: IntoIterator<Item = I>,
    {
        self.handle.state.add_index(Arc::new(move |object| keys(object).into_iter().collect()))
    }
}

impl<K: Object> Informer<K> {
    /// An index by the value of one label; objects without it have no entry.
    pub fn label_index(&self, label: &str) -> Index<K, String> {
        let label = label.to_owned();
        self.index(move |object: &Arc<K>| object.labels().get(&label).cloned())
    }
}
