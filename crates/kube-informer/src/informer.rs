//! The handles: [`Informers`] owns the client and the watches, an [`Informer`] is one cache.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use kube::{
    Client, ResourceExt,
    core::{ApiResource, DynamicObject, PartialObjectMeta},
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Cached, Compact, Error, Index, Object, ResourceVersion, Shard, Snapshot, Status, StatusWatch,
    Subscription,
    bounds::LONGEST,
    driver::{Connection, Driver},
    persist::{Persist, Persistable, Persister, Plan, SaveError, SecretsNotAllowed},
    protocol::{ListSemantic, Settings, Target},
    scope::{NamespacedScope, Scope, one_namespace},
    skip::InvalidPath,
    state::State,
    status::Stopped,
    transform::Transform,
};

const SECOND: Duration = Duration::from_secs(1);

/// The informers of one connection to a cluster. Clones are handles to the same informers.
///
/// Informers with the same type, scope, selectors and options share one watch and one cache. All informers share what
/// was learned about the server: if it refused or ignored a watch-list, they use lists for an hour.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Arc<Connection>,
    cancelled: CancellationToken,
    running: Mutex<Running>,
    #[cfg(feature = "metrics")]
    metrics: crate::metrics::Metrics,
}

/// The informers that can be shared. Each handle removes its own when it is dropped.
type Running = HashMap<Identity, Weak<dyn Any + Send + Sync>>;

/// What makes two informers the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    object: TypeId,
    target: Target,
    settings: Settings,
    persist: Option<Persist>,
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the informers that have no handle any more.
    fn forget_ended(&self) {
        // Dropped without the lock: what a transform has captured may contain the last handle of another informer.
        let ended: Vec<_> = self.running().extract_if(|_, handle| handle.strong_count() == 0).collect();
        drop(ended);
    }
}

impl Informers {
    /// Creates informers that use this client: its connection, credentials and layers, but not its retries of failed
    /// requests. An informer retries by itself, and reports the failures in its [`Status`].
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, as [`Client::new`] does.
    pub fn new(client: Client) -> Self {
        Self::with_cancellation(client, CancellationToken::new())
    }

    /// Like [`new`](Self::new), but every informer also stops when the token is cancelled.
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

    /// Registers the metrics of these informers, present and future ones, with a registry of [`prometheus_client`].
    /// The crate's page lists the metrics. Calling this twice would encode each series twice.
    ///
    /// Encoding the registry visits each informer and each subscription, under locks that are held while they are
    /// counted. Nothing is collected between two encodings; an event costs a few atomic additions.
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

    /// Describes an informer for a type that is known at compile time, such as one derived with
    /// `kube::CustomResource`.
    ///
    /// To fetch metadata only, use `typed::<PartialObjectMeta<K>>()`.
    pub fn typed<K: Object<DynamicType = ()>>(&self) -> InformerBuilder<K> {
        InformerBuilder::new(self.clone(), &())
    }

    /// Describes an informer for a type that is known at run time.
    pub fn dynamic(&self, resource: &ApiResource) -> InformerBuilder<DynamicObject> {
        InformerBuilder::new(self.clone(), resource)
    }

    /// Describes an informer that fetches and caches only the metadata of each object.
    pub fn metadata(&self, resource: &ApiResource) -> InformerBuilder<PartialObjectMeta<DynamicObject>> {
        InformerBuilder::new(self.clone(), resource)
    }
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informers").finish_non_exhaustive()
    }
}

type ScopeOf<K> = <<K as Cached>::Object as kube::Resource>::Scope;

/// Describes an informer, which [`start`](Self::start) then runs.
#[must_use = "an informer does nothing until it is started"]
pub struct InformerBuilder<K: Cached> {
    informers: Informers,
    target: Target,
    /// The initial namespaces, if they can change.
    set: Option<BTreeSet<String>>,
    settings: Settings,
    persist: Option<Plan<K>>,
    _object: std::marker::PhantomData<fn() -> K>,
}

impl<K: Cached> Clone for InformerBuilder<K> {
    fn clone(&self) -> Self {
        Self {
            informers: self.informers.clone(),
            target: self.target.clone(),
            set: self.set.clone(),
            settings: self.settings.clone(),
            persist: self.persist.clone(),
            _object: std::marker::PhantomData,
        }
    }
}

impl<K: Cached> fmt::Debug for InformerBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InformerBuilder")
            .field("resource", &self.target.path())
            .field("namespaces", &self.set)
            .field("label_selector", &self.target.label_selector)
            .field("field_selector", &self.target.field_selector)
            .finish_non_exhaustive()
    }
}

impl<K: Object> InformerBuilder<K> {
    /// Stores each object as compressed bytes, in one allocation: [`Compact`]. This takes much less memory, but each read
    /// decodes the object again. Meant for caches that are large and seldom read.
    pub fn compact(self) -> InformerBuilder<Compact<K>> {
        let Self { informers, target, set, settings, persist, .. } = self;
        let persist = persist.map(|plan| Plan::new(plan.options));
        InformerBuilder { informers, target, set, settings, persist, _object: std::marker::PhantomData }
    }
}

impl<K: Cached> InformerBuilder<K> {
    fn new(informers: Informers, dynamic_type: &<K::Object as kube::Resource>::DynamicType) -> Self {
        Self::of(informers, Target::new::<K::Object>(dynamic_type), Settings::default())
    }

    /// Describes an informer that none of the public methods describes.
    pub(crate) fn of(informers: Informers, target: Target, settings: Settings) -> Self {
        Self { informers, target, set: None, settings, persist: None, _object: std::marker::PhantomData }
    }

    /// Watches one namespace. The default is to watch all namespaces, and the empty name stands for all of them, as
    /// everywhere in Kubernetes.
    ///
    /// Does not compile for a cluster-scoped type that is known at compile time:
    ///
    /// ```compile_fail,E0277
    /// # use k8s_openapi::api::core::v1::Node;
    /// # fn example(informers: &kube_informer::Informers) {
    /// let nodes = informers.typed::<Node>().namespace("default").start();
    /// # }
    /// ```
    pub fn namespace(mut self, namespace: &str) -> Self
    where
        ScopeOf<K>: NamespacedScope,
    {
        self.target.namespace = one_namespace(namespace).map(str::to_owned);
        self.set = None;
        self
    }

    /// Watches a set of namespaces as one cache. The set can grow and shrink while the informer runs, with
    /// [`Informer::add_namespace`] and [`Informer::remove_namespace`], and may be empty at first.
    ///
    /// A namespace appears in the cache as a whole, when its first list is complete. The first snapshot is available
    /// once the first list of each initial namespace has succeeded or failed, and at least one has succeeded: a
    /// namespace that may not be read does not hold up the others. [`Status::namespaces`] shows which namespaces are
    /// complete; for a snapshot, [`Snapshot::resource_version_of`] does.
    ///
    /// Each namespace costs a watch, that is a connection, or a stream of one if the client uses HTTP/2. From about a
    /// hundred namespaces on, one watch of all namespaces is cheaper for the server, if it is permitted.
    ///
    /// If a name is empty, as that of an empty `WATCH_NAMESPACE` is, all namespaces are watched by one watch, and the
    /// set cannot change:
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # fn example(informers: &kube_informer::Informers) {
    /// let namespaces = std::env::var("WATCH_NAMESPACE").unwrap_or_default();
    /// let pods = informers.typed::<Pod>().namespaces(namespaces.split(',').map(str::trim)).start();
    /// # }
    /// ```
    pub fn namespaces<I>(mut self, namespaces: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
        ScopeOf<K>: NamespacedScope,
    {
        let set: BTreeSet<String> = namespaces.into_iter().map(Into::into).collect();
        self.target.namespace = None;
        self.set = Some(set).filter(|set| !set.contains(""));
        self
    }

    /// Watches the objects that match a label selector in kubectl's syntax, such as `app=web,tier!=test`.
    pub fn label_selector(mut self, selector: &str) -> Self {
        self.target.label_selector = selector.to_owned();
        self
    }

    /// Watches the objects that match a field selector, such as `metadata.name=web`.
    pub fn field_selector(mut self, selector: &str) -> Self {
        self.target.field_selector = selector.to_owned();
        self
    }

    /// Watches a part of the objects, so that several processes can share the work.
    pub fn shard(mut self, shard: Shard) -> Self {
        self.target.shard = Some(shard);
        self
    }

    /// Sets how fresh lists must be. The default is [`ListSemantic::MostRecent`].
    pub fn list_semantic(mut self, list_semantic: ListSemantic) -> Self {
        self.settings.list_semantic = list_semantic;
        self
    }

    /// Keeps `metadata.managedFields`, which are skipped while parsing by default. They often make up a third of an
    /// object.
    pub fn keep_managed_fields(mut self) -> Self {
        self.settings.skip.keep_managed_fields();
        self
    }

    /// Skips the annotation `kubectl.kubernetes.io/last-applied-configuration` while parsing. It repeats the whole
    /// object that `kubectl apply` was given. Otherwise the same as [`skip`](Self::skip).
    pub fn skip_last_applied(mut self) -> Self {
        self.settings.skip.last_applied();
        self
    }

    /// Skips the fields that these paths name while parsing, so that they take no memory and little time. The cached
    /// objects then differ from those of the server. Do not write them back as a whole: that would remove the skipped
    /// fields.
    ///
    /// A path consists of member names from the top, such as `status.conditions`. A name with special characters is
    /// put in brackets, `metadata.annotations['example.com/notes']`, and `[*]` stands for each element of an array:
    /// `spec.containers[*].env`. This is a small subset of JSONPath (RFC 9535), without the leading `$.`. Objects
    /// that lack the path are left as they are.
    ///
    /// Do not skip fields that the type requires: every object would be [quarantined](crate::Status::quarantined),
    /// with an error that names the missing field.
    ///
    /// # Errors
    /// Fails if a path cannot be parsed, or names a field that the cache needs: `apiVersion`, `kind`, or the name,
    /// namespace, uid or resourceVersion of the metadata.
    pub fn skip<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPath> {
        for path in paths {
            self.settings.skip.path(path)?;
        }
        Ok(self)
    }

    /// Sets how long the server may send nothing before the cache counts as [stale](Status::stale), at most a year.
    /// The default is 3 minutes: a healthy server sends a bookmark about every minute.
    pub fn stale_after(mut self, bound: Duration) -> Self {
        self.settings.stale_after = bound.min(LONGEST);
        self
    }

    /// Sets the page size of lists, in objects. The default is 500, as in client-go. 0 asks for everything in one
    /// response, as the informer does by itself after a page expired.
    pub fn page_size(mut self, objects: u32) -> Self {
        self.settings.page_size = Some(objects).filter(|objects| *objects > 0);
        self
    }

    /// Sets for how long the server is asked to keep a watch open (`timeoutSeconds`), from one second to a year. The
    /// default is drawn from 240 to 285 seconds for each watch, so that clients spread over servers. A watch whose server does
    /// not end it 10 seconds later counts as dead. Many proxies end connections that are idle for 60 seconds, which
    /// costs a reconnection but loses nothing.
    pub fn watch_timeout(mut self, timeout: Duration) -> Self {
        self.settings.watch_timeout = Some(timeout.clamp(SECOND, LONGEST));
        self
    }

    /// Begins with a list in pages instead of a watch-list (KEP-3157). Servers that do not support watch-lists are
    /// detected without this.
    pub fn without_watch_lists(mut self) -> Self {
        self.settings.watch_list = false;
        self
    }

    /// Follows the type by a list every `interval`, for types that a server cannot watch, such as `componentstatuses`
    /// and those of `metrics.k8s.io`. Without this, such a type is [`Error::NotWatchable`]. An interval of less than a
    /// second is taken for a second, one of more than a year for a year.
    ///
    /// Subscribers receive the differences between lists. Each list costs the server and the network as much as the
    /// first one. The cache is never [stale](Status::stale) before two intervals have passed. Some of these types have
    /// no resource versions: an object then counts as changed if its JSON differs, and the number of the list stands for
    /// the version of the cache.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.settings.poll_every = Some(interval.clamp(SECOND, LONGEST));
        self
    }

    /// Keeps a copy of the cache on disk, from which the next start of the program resumes: a warm start. `persist` is
    /// the folder of the copy, or [`Persist`] with more options.
    ///
    /// The copy is used only for the same cluster, user, resource, Rust type, namespace, selectors and skipped fields,
    /// and only if it is whole. Otherwise it is ignored, with a log line that says why. Its objects can then be read
    /// and subscribed to at once, without a list. The informer watches from their version, and subscribers receive the
    /// differences to what the server has. If the server no longer has that version, the informer lists, and subscribers
    /// still receive the differences only.
    ///
    /// Until the server has confirmed the copy, it is marked as [`Status::from_disk`], [`Snapshot::is_from_disk`] and in
    /// [`Event::Synced`](crate::Event::Synced); the informer is not [ready](Status::is_ready), and
    /// [`synced`](Informer::synced) waits. The server confirms it by an event or a bookmark, or by accepting the watch
    /// without an error for one second, or by a complete list. To read before that, wait until [`Status::synced`].
    ///
    /// The cache is written at intervals and by [`Informer::save`]. When the last handle is dropped or the informers are
    /// cancelled, a last write begins; it needs an answer of the server, so it is lost if the runtime is shut down at once.
    /// A program that ends awaits [`Informer::save`] before. A crash leaves the last complete copy. Objects that fail to decode cannot be written: while
    /// there are any, the copy stays as it was.
    ///
    /// Objects that are not [compact](Self::compact) are used only by the same executable, because another one may know
    /// more fields of the type than were written. Compact ones are written as the server sent them. Types that are
    /// [polled](Self::poll_every), and informers with a [transform](Self::transform), are not persisted.
    ///
    /// At the start, the server is asked for the user (`SelfSubjectReview`), the namespace `kube-system`, and one object
    /// of the type. This happens while the file is read. User and `kube-system` are asked for again before each write.
    /// Without an answer, the file is ignored and nothing is written. Once another user or cluster has answered, as after
    /// a failover behind the same address, nothing is read or written until the next start of the program.
    ///
    /// # Errors
    /// Fails for Secrets, and for the metadata of Secrets, unless [`Persist::allow_secrets`] permits them. Other types can contain secrets, too; the files
    /// can be read by their owner only, but are not encrypted.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # use kube_informer::{Informer, Informers, SecretsNotAllowed};
    /// fn start(informers: &Informers) -> Result<Informer<Pod>, SecretsNotAllowed> {
    ///     Ok(informers.typed::<Pod>().persist("/var/cache/my-controller")?.start())
    /// }
    /// ```
    pub fn persist(mut self, persist: impl Into<Persist>) -> Result<Self, SecretsNotAllowed>
    where
        K: Persistable,
    {
        let options = persist.into();
        let Target { group, plural, .. } = &self.target;
        // Their metadata, too: the annotation that `kubectl apply` leaves contains the whole Secret.
        if group.is_empty() && plural == "secrets" && !options.secrets {
            return Err(SecretsNotAllowed);
        }
        self.persist = Some(Plan::new(options));
        Ok(self)
    }

    /// Changes each object before it is cached: removes what is not needed, or derives something once. As client-go's
    /// `SetTransform`. To leave out fields without allocating them first, use [`skip`](Self::skip).
    ///
    /// The function must not change name, namespace, uid or resourceVersion. It is called once for each state of an object,
    /// in the informer's task; if it panics, the informer [stops](crate::Phase::Stopped). It is not called for objects that
    /// fail to decode. [Compact](Self::compact) objects are serialized again after it. The cached objects then differ
    /// from those of the server: do not write them back as a whole.
    ///
    /// An informer with a transform is shared only by handles of the same builder, and is not
    /// [persisted](Self::persist), because functions cannot be compared.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # fn example(informers: &kube_informer::Informers) {
    /// let pods = informers.typed::<Pod>().transform(|pod| pod.spec = None).start();
    /// # }
    /// ```
    pub fn transform(mut self, change: impl Fn(&mut K::Object) + Send + Sync + 'static) -> Self
    where
        K::Object: Serialize,
    {
        self.settings.transform = Some(Transform::new(change));
        self
    }

    /// Like [`start`](Self::start), in this runtime: for code that runs outside of one, or that gives informers a runtime
    /// of their own.
    #[must_use]
    pub fn start_on(self, runtime: &tokio::runtime::Handle) -> Informer<K> {
        let _entered = runtime.enter();
        self.start()
    }

    /// Starts the informer, or returns a handle to a running one with the same type, scope, selectors and options. An
    /// informer of a [set of namespaces](Self::namespaces) is always a new one, because its set can change.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, as `tokio::spawn` does.
    #[must_use]
    pub fn start(self) -> Informer<K> {
        let Self { informers, target, set, settings, persist, .. } = self;
        if let Some(namespaces) = set {
            let scopes: Vec<Scope> = namespaces.iter().map(|namespace| Scope::new(Some(namespace))).collect();
            return Informer {
                handle: Arc::new(Handle::new(&informers, target, settings, persist, &scopes, true)),
            };
        }
        let scope = Scope::new(target.namespace.as_deref());
        let options = persist.as_ref().map(|plan| plan.options.clone());
        let identity = Identity { object: TypeId::of::<K>(), target, settings, persist: options };
        // Declared before the lock is taken, and so dropped after it: dropping the last handle takes the lock.
        let found: Option<Arc<Handle<K>>>;
        let mut running = informers.inner.running();
        found = running.get(&identity).and_then(Weak::upgrade).and_then(|handle| handle.downcast().ok());
        if let Some(handle) = &found
            && !handle.cancelled.is_cancelled()
            && !handle.task.is_finished()
        {
            return Informer { handle: Arc::clone(handle) };
        }
        let (target, settings) = (identity.target.clone(), identity.settings.clone());
        let handle = Arc::new(Handle::new(&informers, target, settings, persist, &[scope], false));
        let weak: Weak<dyn Any + Send + Sync> = Arc::downgrade(&handle) as _;
        running.insert(identity, weak);
        Informer { handle }
    }
}

/// A cache of objects that follows the server. Clones are handles to the same cache. When the last handle and the
/// last [`Subscription`] are dropped, the informer stops and its memory is freed.
pub struct Informer<K: Cached> {
    handle: Arc<Handle<K>>,
}

impl<K: Cached> fmt::Debug for Informer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer").field("phase", &self.status().phase).finish_non_exhaustive()
    }
}

impl<K: Cached> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

/// Owns the task, and ends it when dropped.
struct Handle<K: Cached> {
    state: Arc<State<K>>,
    shard: Option<Shard>,
    cancelled: CancellationToken,
    /// The watched namespaces, or `None` if all are watched.
    namespaces: Option<Namespaces>,
    task: AbortOnDropHandle<()>,
    persister: Option<Arc<Persister<K>>>,
    /// Keeps the informer findable, so that it can be shared as long as it has a handle.
    informers: Informers,
}

type Watched<'a> = MutexGuard<'a, BTreeMap<String, Scope>>;

/// The namespaces of an informer that does not watch all of them.
struct Namespaces {
    watched: Mutex<BTreeMap<String, Scope>>,
    /// Sends added namespaces to the driver. `None` if they cannot change.
    added: Option<mpsc::UnboundedSender<Scope>>,
}

impl<K: Cached> Handle<K> {
    fn new(
        informers: &Informers,
        target: Target,
        settings: Settings,
        persist: Option<Plan<K>>,
        scopes: &[Scope],
        can_change: bool,
    ) -> Self {
        let cancelled = informers.inner.cancelled.child_token();
        let state = Arc::new(State::new(scopes));
        #[cfg(feature = "metrics")]
        informers.inner.metrics.add(&target, &state);
        let (added, receiver) = mpsc::unbounded_channel();
        // The receiver exists, so this cannot fail.
        scopes.iter().for_each(|scope| drop(added.send(scope.clone())));
        let connection = Arc::clone(&informers.inner.connection);
        // The version of what is polled is not the server's, and whether a transform is the same is not known.
        let persister =
            persist.filter(|_| settings.poll_every.is_none() && settings.transform.is_none()).map(|plan| {
                let (target, settings) = (target.clone(), settings.clone());
                Arc::new(Persister::new(
                    plan,
                    target,
                    settings,
                    Arc::clone(&connection.asked),
                    Arc::clone(&state),
                ))
            });
        let shard = target.shard.clone();
        let driver = Driver::new(
            connection,
            target,
            settings,
            Arc::clone(&state),
            receiver,
            cancelled.clone(),
            persister.clone(),
        );
        let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        let watched =
            scopes.iter().filter_map(|scope| Some((scope.namespace.as_deref()?.to_owned(), scope.clone())));
        let watched = Mutex::new(watched.collect());
        let by_name = can_change || scopes.iter().any(|scope| scope.namespace.is_some());
        let namespaces = by_name.then(|| Namespaces { watched, added: can_change.then_some(added) });
        Self { state, shard, cancelled, namespaces, task, persister, informers: informers.clone() }
    }
}

impl<K: Cached> Drop for Handle<K> {
    fn drop(&mut self) {
        if let Some(persister) = &self.persister {
            persister.save_at_end();
        }
        self.informers.inner.forget_ended();
    }
}

/// The result of [`Informer::synced`]: the first list is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Synced {
    /// The number of cached objects.
    pub count: usize,
    /// The version of the cache, as [`Snapshot::resource_version`] returns it. `None` for an empty set of namespaces.
    pub resource_version: Option<ResourceVersion>,
    /// The number of objects that failed to decode. [`Status::quarantined`] lists them with their errors. If no
    /// object decoded, `K` is probably not the type that the server serves.
    pub quarantined: usize,
}

/// There is no snapshot yet: the first list is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the first list is not complete")]
pub struct NotSynced;

/// Why [`Informer::add_namespace`] or [`Informer::remove_namespace`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceSetError {
    /// The informer watches all namespaces or a single one. Only a [set of namespaces](InformerBuilder::namespaces) can
    /// change.
    #[error("the informer was not started with a set of namespaces")]
    Fixed,
    /// The name is empty, which stands for all namespaces. They are not part of a set; an informer that watches all of
    /// them is another one.
    #[error("an empty name stands for all namespaces, which cannot be added to a set or removed from it")]
    All,
}

impl<K: Cached> Informer<K> {
    /// Waits until the first list is complete, or until an attempt at it fails. For a set of namespaces, waits for
    /// the first list of each, or the first failure of one; the error names the namespace, and [`Status::namespaces`]
    /// has the state of all.
    ///
    /// # Errors
    /// Fails as soon as an attempt has failed and none has succeeded: the server cannot be reached, or answers with
    /// 401, 403, 404 and so on. The informer keeps retrying. To wait through failures, use
    /// [`synced_within`](Self::synced_within).
    ///
    /// A 429 counts as a failure only after 30 seconds, because the server merely asks to come back later; a
    /// kube-apiserver does so for a second or two after a CustomResourceDefinition was installed.
    ///
    /// Returns [`Error::Stopped`] once the informer has [stopped](crate::Phase::Stopped).
    pub async fn synced(&self) -> Result<Synced, Error> {
        let mut status = self.watch_status();
        let settled = status.wait_for(|status| {
            let synced = status.synced && !status.from_disk;
            status.is_stopped() || synced || status.not_synced_because().is_some()
        });
        let (failed, quarantined) = match settled.await {
            Ok(status) if status.is_stopped() => (Some(Error::Stopped), 0),
            // The list will never be followed.
            Ok(status) if matches!(status.error(), Some(Error::NotWatchable { .. })) => {
                (status.error().cloned(), 0)
            }
            Ok(status) if status.synced && !status.from_disk => (None, status.quarantined.len()),
            Ok(status) => (status.not_synced_because().cloned(), 0),
            Err(Stopped) => (Some(Error::Stopped), 0),
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

    /// Returns all cached objects at this moment. O(1).
    ///
    /// Never waits for the network. It may wait for the writer to finish one change: an object, up to 1,000 deletions
    /// that a list revealed, a whole namespace that joins or leaves a set, or all objects of a type that disappeared.
    /// With 100,000 objects the last takes some tenths of a second.
    ///
    /// # Errors
    /// Fails until the first list is complete. There are no partial snapshots.
    pub fn snapshot(&self) -> Result<Snapshot<K>, NotSynced> {
        self.handle.state.snapshot().ok_or(NotSynced)
    }

    /// Subscribes to the present state, then [`Event::Synced`](crate::Event::Synced), then every change. See
    /// [`Subscription`].
    #[must_use]
    pub fn subscribe(&self) -> Subscription<K> {
        let handle: Arc<dyn Send + Sync> = Arc::clone(&self.handle) as _;
        Subscription::new(self.handle.state.subscribe(), handle)
    }

    /// Returns the part of the collection that it watches. `None`: all of it.
    #[must_use]
    pub fn shard(&self) -> Option<&Shard> {
        self.handle.shard.as_ref()
    }

    /// Returns the present status. O(1), and never waits.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.handle.state.status()
    }

    /// Follows the status: [`changed`](StatusWatch::changed) and [`wait_for`](StatusWatch::wait_for) return later ones.
    #[must_use]
    pub fn watch_status(&self) -> StatusWatch {
        self.handle.state.watch_status()
    }

    /// Writes the cache to disk now, as [`InformerBuilder::persist`] does at intervals. Does nothing if the file has the
    /// version of the cache already.
    ///
    /// # Errors
    /// Fails if the informer is not persisted, if the cache cannot be written at the moment, as before the first list is
    /// complete, or if the file cannot. If a namespace of a set cannot be written, the others are, and the first error is
    /// returned.
    pub async fn save(&self) -> Result<(), SaveError> {
        self.handle.persister.as_ref().ok_or(SaveError::NotPersisted)?.save().await
    }

    /// Adds a namespace. Its objects appear all at once, when its first list is complete; until then
    /// [`Status::synced`] is false, and [`synced`](Self::synced) waits for the list. Does nothing if the namespace is
    /// watched already.
    ///
    /// # Errors
    /// Fails if the informer was not started with a [set of namespaces](InformerBuilder::namespaces), or if the name is
    /// empty.
    pub fn add_namespace(&self, namespace: &str) -> Result<(), NamespaceSetError> {
        let (mut watched, added) = self.set(namespace)?;
        if !watched.contains_key(namespace) {
            let scope = Scope::new(Some(namespace));
            self.handle.state.add_scope(&scope);
            watched.insert(namespace.to_owned(), scope.clone());
            // Fails if the informer has stopped, and then there is nothing to watch.
            let _ = added.send(scope);
        }
        Ok(())
    }

    /// Removes a namespace. When this returns, its objects are gone from the cache, and subscribers receive deletions
    /// with [`DeletionReason::NamespaceRemoved`](crate::DeletionReason::NamespaceRemoved). Does nothing if the
    /// namespace is not watched.
    ///
    /// # Errors
    /// Fails if the informer was not started with a [set of namespaces](InformerBuilder::namespaces), or if the name is
    /// empty.
    pub fn remove_namespace(&self, namespace: &str) -> Result<(), NamespaceSetError> {
        let (mut watched, _) = self.set(namespace)?;
        if let Some(scope) = watched.remove(namespace) {
            self.handle.state.remove_scope(&scope);
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> &State<K> {
        &self.handle.state
    }

    /// Whether namespaces are watched by name.
    pub(crate) fn is_by_namespace(&self) -> bool {
        self.handle.namespaces.is_some()
    }

    /// Returns the set, in which this namespace may be added or removed.
    fn set(
        &self,
        namespace: &str,
    ) -> Result<(Watched<'_>, &mpsc::UnboundedSender<Scope>), NamespaceSetError> {
        let fixed = NamespaceSetError::Fixed;
        let Namespaces { watched, added } = self.handle.namespaces.as_ref().ok_or(fixed)?;
        let added = added.as_ref().ok_or(fixed)?;
        one_namespace(namespace).ok_or(NamespaceSetError::All)?;
        Ok((watched.lock().unwrap_or_else(PoisonError::into_inner), added))
    }
}

impl<K: Cached> Informer<K> {
    /// Adds an index. The function returns the keys of an object, any number of them; [`Snapshot::by_index`] looks
    /// objects up. An index can be added at any time. On a filled cache, this call visits every object.
    ///
    /// The function must always return the same keys for the same object. It is called while the cache is locked, so
    /// it must not use the informer. If it panics, the informer [stops](crate::Phase::Stopped), as it does if an object's
    /// `Deserialize` panics; [`InformerBuilder::start`] then starts a new one.
    pub fn index<I, Keys>(&self, keys: impl Fn(&K::Stored) -> Keys + Send + Sync + 'static) -> Index<K, I>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
        Keys: IntoIterator<Item = I>,
    {
        self.handle.state.add_index(Arc::new(move |object| keys(object).into_iter().collect()))
    }
}

impl<K: Object> Informer<K> {
    /// Adds an index by the value of a label. Objects without the label have no entry.
    pub fn label_index(&self, label: &str) -> Index<K, String> {
        let label = label.to_owned();
        self.index(move |object: &Arc<K>| object.labels().get(&label).cloned())
    }
}
