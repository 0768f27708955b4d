//! kube-runtime's `watcher`, on this engine: for those who change one line.
//!
//! What always holds: the events are those of one subscription, in its order; an error never ends the stream.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    error::Error as StdError,
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use kube::{
    Api, Resource,
    runtime::watcher::{
        Config, Error as WatcherError, Event, InitialListStrategy, ListSemantic as KubeListSemantic, Result,
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::{
    Change, Compact, Error, InformerBuilder, Informers, Object, ObjectKey, Phase, Quarantined,
    ResourceVersion, Status, Subscription,
    protocol::{ListSemantic, Settings, Target},
    skip::Skip,
};

/// Watches a resource, in the place of [`kube::runtime::watcher()`]: the same arguments and the same events, so that kube's
/// [`reflector`](kube::runtime::reflector()) and [`WatchStreamExt`](kube::runtime::WatchStreamExt) work on it.
///
/// ```no_run
/// use futures_util::TryStreamExt as _;
/// use k8s_openapi::api::core::v1::ConfigMap;
/// use kube::{Api, runtime::{WatchStreamExt as _, reflector, watcher}};
///
/// # async fn example(client: kube::Client) -> Result<(), watcher::Error> {
/// let (store, writer) = reflector::store();
/// // Was: watcher(Api::<ConfigMap>::all(client), watcher::Config::default())
/// let events = kube_informer::watcher(Api::<ConfigMap>::all(client), watcher::Config::default());
/// let applied = reflector(writer, events).default_backoff().applied_objects();
/// applied.try_for_each(|map| async move { Ok(println!("{:?}", map.metadata.name)) }).await
/// # }
/// ```
///
/// # What differs
/// - `Init`, `InitApply` and `InitDone` come once. A relist is told as the `Apply` and `Delete` of what differs: nothing
///   is sent again that did not change, and an object whose deletion was missed is a `Delete`.
/// - Each failed attempt is one `Err`, and the engine goes on by itself, with waits of its own: whether and when the
///   stream is read changes nothing. A reader that falls behind gets the last error alone.
/// - A reader that is slow gets the present state of an object and not each one before it.
/// - An object that does not decode is one `Err` that names it. It is not lost: its next state comes as an `Apply`.
/// - It remembers what it told: the JSON of each object, one allocation, as [`Compact`] does. Each event costs a
///   second decoding.
/// - It runs in a task, from the first time that the stream is polled, and has to be polled in a tokio runtime. Dropping
///   the stream ends it.
/// - `K` is `Sync`, too; all types of `k8s-openapi` and `kube` are.
///
/// # What the configuration means
/// - `label_selector`, `field_selector`: the same.
/// - `timeout`: the same. Without it, watches end after 240 to 285 seconds.
/// - `list_semantic`: the same, and `Any` without pages: with a page size a server goes to its storage.
/// - `initial_list_strategy`: the same. A server that refuses or ignores `StreamingList` is listed instead.
/// - `page_size`: the same.
/// - `bookmarks`: always on, because progress and the end of a streaming list are told by them. A configuration that
///   turns them off is warned about in the log.
///
/// # Errors
/// Before the first list is complete, [`InitialListFailed`](WatcherError::InitialListFailed); later, one of the `Watch`
/// variants. What is not an answer of the server is this crate's [`Error`](crate::Error) inside a
/// [`kube::Error::Service`].
pub fn watcher<K>(api: Api<K>, config: Config) -> impl Stream<Item = Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let begin = async move {
        let state = Watcher::new(api, &config);
        stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) })
    };
    stream::once(begin).flatten()
}

struct Watcher<K: Object> {
    subscription: Subscription<Compact<K>>,
    status: watch::Receiver<Status>,
    /// What is told before anything else is asked for.
    ready: VecDeque<Result<Event<K>>>,
    /// The attempt after the one whose failure was told last.
    told: Option<Instant>,
    quarantined: Arc<BTreeMap<ObjectKey, Quarantined>>,
}

/// An object that could not be decoded; why is the source, because it can name a value.
#[derive(Debug, thiserror::Error)]
#[error("{key} does not decode at resource version {resource_version}")]
struct Undecoded {
    key: ObjectKey,
    resource_version: ResourceVersion,
    source: Box<dyn StdError + Send + Sync>,
}

impl<K: Object> Watcher<K> {
    fn new(api: Api<K>, config: &Config) -> Self {
        let informer = builder::<K>(api, config).start();
        Self {
            subscription: informer.subscribe(),
            status: informer.status(),
            ready: VecDeque::from([Ok(Event::Init)]),
            told: None,
            quarantined: Arc::default(),
        }
    }

    async fn next(&mut self) -> Option<Result<Event<K>>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            tokio::select! {
                // What came before a fault is told before it.
                biased;
                event = self.subscription.next() => self.event(event?),
                Ok(()) = self.status.changed() => self.failures(),
            }
        }
    }

    fn event(&mut self, event: crate::Event<Compact<K>>) {
        let (object, told): (_, fn(K) -> Event<K>) = match event {
            crate::Event::Change(Change::Added { object, initial: true, .. }) => (object, Event::InitApply),
            crate::Event::Change(Change::Added { object, .. } | Change::Updated { new: object, .. }) => {
                (object, Event::Apply)
            }
            crate::Event::Change(Change::Deleted { last, .. }) => (last, Event::Delete),
            crate::Event::Synced { .. } => return self.ready.push_back(Ok(Event::InitDone)),
        };
        let decoded =
            object.decode().map_err(|error| WatcherError::WatchFailed(kube::Error::SerdeError(error)));
        self.ready.push_back(decoded.map(told));
    }

    /// Tells what has failed since it was asked last.
    fn failures(&mut self) {
        let status = self.status.borrow_and_update();
        if let Phase::Retrying { error, next, .. } = &status.phase
            && self.told != Some(*next)
        {
            self.told = Some(*next);
            self.ready.push_back(Err(as_watcher_error(error, status.synced)));
        }
        let before = std::mem::replace(&mut self.quarantined, Arc::clone(&status.quarantined));
        for (key, held) in self.quarantined.iter().filter(|(key, held)| before.get(*key) != Some(*held)) {
            let resource_version = held.resource_version;
            let undecoded =
                Undecoded { key: key.clone(), resource_version, source: held.error.clone().into() };
            let error = WatcherError::WatchFailed(kube::Error::Service(undecoded.into()));
            self.ready.push_back(Err(error));
        }
    }
}

fn builder<K: Object>(api: Api<K>, config: &Config) -> InformerBuilder<Compact<K>> {
    let Config {
        label_selector,
        field_selector,
        timeout,
        list_semantic,
        initial_list_strategy,
        page_size,
        bookmarks,
    } = config;
    if !bookmarks {
        warn!(resource = api.resource_url(), "bookmarks stay on: they tell how far the cache is");
    }
    // An `Api` keeps its dynamic type to itself. A type that is known at compile time has none, and what is needed of the
    // others is in the path.
    let known = (&() as &dyn Any).downcast_ref::<K::DynamicType>().map(Target::new::<K>);
    let target = Target {
        namespace: api.namespace().map(str::to_owned),
        label_selector: label_selector.clone().unwrap_or_default(),
        field_selector: field_selector.clone().unwrap_or_default(),
        ..known.unwrap_or_else(|| Target::from_path::<K>(api.resource_url()))
    };
    let settings = Settings {
        list_semantic: match list_semantic {
            KubeListSemantic::MostRecent => ListSemantic::MostRecent,
            KubeListSemantic::Any => ListSemantic::Any,
        },
        // kube's watcher leaves nothing out.
        skip: Skip::default(),
        watch_list: *initial_list_strategy == InitialListStrategy::StreamingList,
        page_size: *page_size,
        watch_timeout: timeout.map(|seconds| Duration::from_secs(seconds.into())),
        ..Settings::default()
    };
    InformerBuilder::of(Informers::new(api.into_client()), target, settings)
}

fn as_watcher_error(error: &Error, synced: bool) -> WatcherError {
    let cause = match error {
        Error::Api { status, .. } => kube::Error::Api(Box::new(kube::core::Status::clone(status))),
        error => kube::Error::Service(Box::new(error.clone())),
    };
    match (error, cause) {
        (_, cause) if !synced => WatcherError::InitialListFailed(cause),
        (_, kube::Error::Api(status)) => WatcherError::WatchError(status),
        (Error::Unreachable { .. } | Error::Tls { .. } | Error::Client { .. }, cause) => {
            WatcherError::WatchStartFailed(cause)
        }
        (_, cause) => WatcherError::WatchFailed(cause),
    }
}
