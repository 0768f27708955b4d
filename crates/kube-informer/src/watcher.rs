//! A drop-in replacement for kube-runtime's `watcher`.
//!
//! Invariant: the events are those of one subscription, in its order; an error never ends the stream.

use std::{any::Any, collections::VecDeque, error::Error as StdError, fmt::Debug, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use kube::{
    Api, Resource,
    runtime::watcher::{
        Config, Error as WatcherError, Event, InitialListStrategy, ListSemantic as KubeListSemantic, Result,
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use crate::{
    Change, Compact, Error, InformerBuilder, Informers, Object, ObjectKey, Phase, QuarantinedObjects,
    ResourceVersion, Status, StatusWatch, Subscription,
    protocol::{ListSemantic, Settings, Target},
    scope::one_namespace,
    skip::Skip,
};

/// Watches a resource, in place of [`kube::runtime::watcher()`]. Arguments and events are the same, so kube's
/// [`reflector`](kube::runtime::reflector()) and [`WatchStreamExt`](kube::runtime::WatchStreamExt) work on the
/// stream.
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
/// # Differences
/// - `Init`, `InitApply` and `InitDone` are sent once. A relist is sent as `Apply` and `Delete` of what differs:
///   unchanged objects are not sent again, and an object whose deletion was missed is a `Delete`.
/// - Each failed attempt is one `Err`. The informer retries by itself, with its own delays, whether or not the stream
///   is polled. A slow reader gets only the last error.
/// - A slow reader gets the present state of an object, not every state before it.
/// - An object that fails to decode is one `Err` that names it. It is not lost: its next state that decodes is an
///   `Apply`.
/// - The JSON of each object is kept in one allocation, as by [`Compact`], to detect what differs. Each event costs a
///   second decoding.
/// - The watch runs in a task, which starts when the stream is first polled, and ends when the stream is dropped. The
///   stream must be polled in a tokio runtime.
/// - `K` must be `Sync`, as all types of `k8s-openapi` and `kube` are.
///
/// # Configuration
/// - `label_selector`, `field_selector`: the same.
/// - `timeout`: the same. The default is a random time between 240 and 285 seconds.
/// - `list_semantic`: the same, but `Any` is not paged, because a page size makes older servers read from storage.
/// - `initial_list_strategy`: the same. If the server refuses or ignores `StreamingList`, it is listed instead.
/// - `page_size`: the same.
/// - `bookmarks`: always on, because progress and the end of a streaming list depend on them. Turning them off logs a
///   warning.
///
/// # Errors
/// Until the first list is complete, [`InitialListFailed`](WatcherError::InitialListFailed); after that, one of the
/// `Watch` variants. Errors that are not a response of the server are this crate's [`Error`](crate::Error) inside a
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
    status: StatusWatch,
    /// Items to yield before anything else is awaited.
    ready: VecDeque<Result<Event<K>>>,
    /// When the attempt after the last reported failure starts, which identifies that failure.
    reported: Option<Instant>,
    quarantined: QuarantinedObjects,
}

/// An object that failed to decode. The decoder's error is the source, because it can contain a value.
#[derive(Debug, thiserror::Error)]
#[error("{key} failed to decode{}", .resource_version.map(|version| format!(" at resource version {version}")).unwrap_or_default())]
struct Undecoded {
    key: ObjectKey,
    resource_version: Option<ResourceVersion>,
    source: Box<dyn StdError + Send + Sync>,
}

impl<K: Object> Watcher<K> {
    fn new(api: Api<K>, config: &Config) -> Self {
        let informer = builder::<K>(api, config).start();
        Self {
            subscription: informer.subscribe(),
            status: informer.watch_status(),
            ready: VecDeque::from([Ok(Event::Init)]),
            reported: None,
            quarantined: QuarantinedObjects::default(),
        }
    }

    async fn next(&mut self) -> Option<Result<Event<K>>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            tokio::select! {
                // What was received before a fault is yielded before it.
                biased;
                event = self.subscription.next() => self.event(event?),
                Ok(status) = self.status.changed() => self.failures(&status),
            }
        }
    }

    fn event(&mut self, event: crate::Event<Compact<K>>) {
        let (object, wrap): (_, fn(K) -> Event<K>) = match event {
            crate::Event::Change(Change::Added { object, initial: true, .. }) => (object, Event::InitApply),
            crate::Event::Change(Change::Added { object, .. } | Change::Updated { new: object, .. }) => {
                (object, Event::Apply)
            }
            crate::Event::Change(Change::Deleted { last, .. }) => (last, Event::Delete),
            crate::Event::Synced { .. } => return self.ready.push_back(Ok(Event::InitDone)),
        };
        let decoded =
            object.decode().map_err(|error| WatcherError::WatchFailed(kube::Error::SerdeError(error)));
        self.ready.push_back(decoded.map(wrap));
    }

    /// Queues the failures since the last call.
    fn failures(&mut self, status: &Status) {
        if let Phase::Retrying { error, next, .. } = &status.phase
            && self.reported != Some(*next)
        {
            self.reported = Some(*next);
            self.ready.push_back(Err(as_watcher_error(error, status.synced)));
        }
        let before = std::mem::replace(&mut self.quarantined, status.quarantined.clone());
        for (key, held) in self.quarantined.since(&before) {
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
        warn!(
            resource = api.resource_url(),
            "bookmarks stay on: progress and streaming lists depend on them"
        );
    }
    // An `Api` does not expose its dynamic type. A type that is known at compile time has none, and for others the
    // path has all that is needed.
    let known = (&() as &dyn Any).downcast_ref::<K::DynamicType>().map(Target::new::<K>);
    let target = Target {
        namespace: api.namespace().and_then(one_namespace).map(str::to_owned),
        label_selector: label_selector.clone().unwrap_or_default(),
        field_selector: field_selector.clone().unwrap_or_default(),
        ..known.unwrap_or_else(|| Target::from_path::<K>(api.resource_url()))
    };
    let settings = Settings {
        list_semantic: match list_semantic {
            KubeListSemantic::MostRecent => ListSemantic::MostRecent,
            KubeListSemantic::Any => ListSemantic::Any,
        },
        // kube's watcher does not skip any field.
        //
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
