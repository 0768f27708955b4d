//! A controller, as its author describes it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube_informer::{Informer, ObjectKey};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::cache::{Cache, Informers, Typed};
use crate::context::Shared;
use crate::events::Events;
use crate::kind::Kind;
use crate::queue::Debounce;
use crate::run::{Finalizer, Perform, Program, Reconciler};
use crate::source::{self, Source};
use crate::worker::{List, Priority};

/// The priority of the objects that are there when a controller starts: they give way to changes.
pub(crate) const LISTED: i32 = -100;

/// A controller: a reconciler, the objects that it is for, and what makes them run. Made by [`Controller::new`] and
/// run by [`Operator::run`](crate::Operator::run).
pub struct Controller {
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) debounce: Option<Debounce>,
    pub(crate) backoff: Backoff,
    /// All caches; the first is that of the objects that it is for.
    pub(crate) caches: Vec<Arc<dyn Cache>>,
    pub(crate) sources: Vec<Box<dyn Source>>,
    /// The keys that there are, with their priorities.
    pub(crate) list: List,
    /// The priority of a key, if its object is there.
    pub(crate) priority: Option<Priority>,
    pub(crate) program: Box<dyn FnOnce(Surroundings) -> Perform + Send>,
}

/// The priority of an object.
type PriorityOf<K> = Arc<dyn Fn(&K) -> i32 + Send + Sync>;

/// What an operator gives its controllers.
pub(crate) struct Surroundings {
    pub(crate) events: Events,
    pub(crate) field_manager: Arc<str>,
    pub(crate) shutting_down: CancellationToken,
}

/// A controller without a reconciler.
#[must_use = "a controller without a reconciler does nothing"]
pub struct ControllerBuilder<K: Kind, C = NoFinalizer> {
    draft: Draft<K>,
    cleanup: C,
}

/// A controller without its reconciler and cleanup.
struct Draft<K: Kind> {
    name: String,
    informer: Informer<K>,
    informers: Informers,
    caches: Vec<Arc<dyn Cache>>,
    sources: Vec<Box<dyn Source>>,
    concurrency: usize,
    timeout: Option<Duration>,
    debounce: Option<Debounce>,
    backoff: Backoff,
    priority: Option<PriorityOf<K>>,
}

/// A controller that sets no finalizer.
#[derive(Debug)]
pub struct NoFinalizer(());

/// A finalizer, with the function that cleans up before it is removed.
#[derive(Debug)]
pub struct WithFinalizer<F> {
    name: String,
    cleanup: F,
}

/// Whether a controller has a finalizer. Sealed.
pub trait Cleanup<K, S>: sealed::Sealed {
    #[doc(hidden)]
    fn into_reconciler(self) -> Option<(String, Box<dyn Reconciler<K, S>>)>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NoFinalizer {}
    impl<F> Sealed for super::WithFinalizer<F> {}
}

impl<K, S> Cleanup<K, S> for NoFinalizer {
    fn into_reconciler(self) -> Option<(String, Box<dyn Reconciler<K, S>>)> {
        None
    }
}

impl<K, S, F: Reconciler<K, S>> Cleanup<K, S> for WithFinalizer<F> {
    fn into_reconciler(self) -> Option<(String, Box<dyn Reconciler<K, S>>)> {
        Some((self.name, Box::new(self.cleanup)))
    }
}

impl Controller {
    /// Describes a controller for the objects of an informer. The name is the label of its metrics and stands in its logs; it must be
    /// unique in the operator.
    ///
    /// The reconciler runs for each object once the caches are complete, and again after each change of it that is one:
    /// of its generation, labels, annotations, finalizers, deletion timestamp or uid. (Of a type that counts no generations,
    /// such as ConfigMap, each change is one.) An object that is being deleted runs only if it has the controller's
    /// [finalizer](ControllerBuilder::finalizer).
    #[expect(clippy::new_ret_no_self, reason = "a controller needs a reconciler, which has types of its own")]
    pub fn new<K: Kind>(name: &str, informer: Informer<K>) -> ControllerBuilder<K> {
        let mut informers = Informers::default();
        informers.add(&informer);
        let draft = Draft {
            name: name.to_owned(),
            informers,
            caches: vec![Arc::new(Typed::new(informer.clone()))],
            sources: vec![source::primary(&informer)],
            informer,
            concurrency: 1,
            timeout: None,
            debounce: None,
            backoff: Backoff::default(),
            priority: None,
        };
        ControllerBuilder { draft, cleanup: NoFinalizer(()) }
    }
}

impl<K: Kind, C> ControllerBuilder<K, C> {
    /// Also runs the owner when one of these objects changes: every owner reference that names group, kind and name counts, in
    /// any version of the group.
    ///
    /// For [`Context::apply`](crate::Context::apply) to send nothing where nothing differs, the informer has to
    /// [keep managed fields](kube_informer::InformerBuilder::keep_managed_fields).
    pub fn owns<T: Kind>(mut self, informer: Informer<T>) -> Self {
        self.draft.sources.push(source::owned::<K, T>(&informer));
        self.cache(informer)
    }

    /// Also runs other objects when one of these changes: those that the function returns for its old and for its new state.
    pub fn watches<T: Kind, I>(
        mut self,
        informer: Informer<T>,
        keys: impl Fn(&T) -> I + Send + Sync + 'static,
    ) -> Self
    where
        I: IntoIterator<Item = ObjectKey>,
    {
        self.draft.sources.push(source::watched(&informer, keys));
        self.cache(informer)
    }

    /// Adds a cache that reconcilers read with [`Context::snapshot`](crate::Context::snapshot). Its changes run nothing.
    pub fn reads<T: Kind>(self, informer: Informer<T>) -> Self {
        self.cache(informer)
    }

    /// Puts a finalizer on each object before its first run, and calls `cleanup` for an object that is being deleted. When that
    /// succeeds, the finalizer is removed; until then, the object stays. The name is a qualified one, such as
    /// `example.com/cleanup`.
    ///
    /// Clean up what the cluster's garbage collector does not know: owned objects go by themselves.
    pub fn finalizer<F>(self, name: &str, cleanup: F) -> ControllerBuilder<K, WithFinalizer<F>> {
        let cleanup = WithFinalizer { name: name.to_owned(), cleanup };
        ControllerBuilder { draft: self.draft, cleanup }
    }

    /// Sets how many objects run at the same time: 1 by default. No object ever runs twice at the same time.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.draft.concurrency = runs.max(1);
        self
    }

    /// Limits the time of a run. When it is over, the reconciler's future is dropped, and the run has failed. By default, there
    /// is no limit.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.draft.timeout = Some(limit);
        self
    }

    /// Lets an object run only once it has not changed for `quiet`, but at most `at_most` after the first change. By default, a
    /// change runs at once.
    pub fn debounce(mut self, quiet: Duration, at_most: Duration) -> Self {
        self.draft.debounce = Some(Debounce { quiet, at_most });
        self
    }

    /// Sets how long an object waits after a failed run: `first` after the first one, twice as long after each further one,
    /// at most `max`, ± 10 %. By default 100 ms and 5 minutes.
    pub fn backoff(mut self, first: Duration, max: Duration) -> Self {
        self.draft.backoff = Backoff::new(first, max);
        self
    }

    /// Sets the priority of an object's runs, 0 by default: higher ones run first, though every eighth run is that of the object that
    /// has waited longest. The objects that are there at the start have a priority that is lower by 100.
    pub fn priority(mut self, priority: impl Fn(&K) -> i32 + Send + Sync + 'static) -> Self {
        self.draft.priority = Some(Arc::new(priority));
        self
    }

    /// Completes the controller with its reconciler, an `async fn(Arc<K>, Context<K, S>) -> Result<Action, E>`, and the state that
    /// it finds at [`Context::state`](crate::Context::state).
    pub fn reconciler<S, R>(self, reconciler: R, state: S) -> Controller
    where
        S: Send + Sync + 'static,
        R: Reconciler<K, S>,
        C: Cleanup<K, S>,
    {
        let Self { draft, cleanup } = self;
        let Draft {
            name,
            informer,
            informers,
            caches,
            sources,
            concurrency,
            timeout,
            debounce,
            backoff,
            priority,
        } = draft;
        let finalizer = cleanup.into_reconciler().map(|(name, cleanup)| Finalizer { name, cleanup });
        let (listed, of_key) = (informer.clone(), informer.clone());
        let priority_of = priority.clone();
        let list = move || {
            let Ok(snapshot) = listed.snapshot() else { return Vec::new() };
            let base = |object: &K| priority_of.as_ref().map_or(0, |priority| priority(object));
            let entries = snapshot.entries();
            entries.map(|(key, object)| (key.clone(), base(object).saturating_add(LISTED))).collect()
        };
        let priority = priority.map(|priority| {
            let of = move |key: &ObjectKey| Some(priority(&**of_key.snapshot().ok()?.get_key(key)?));
            Box::new(of) as Priority
        });
        let program = move |surroundings: Surroundings| {
            let Surroundings { events, field_manager, shutting_down } = surroundings;
            let shared = Shared { informers: Arc::new(informers), events, field_manager, shutting_down };
            let reconciler: Box<dyn Reconciler<K, S>> = Box::new(reconciler);
            Program { informer, reconciler, finalizer, state: Arc::new(state), shared, timeout }.perform()
        };
        Controller {
            name,
            concurrency,
            debounce,
            backoff,
            caches,
            sources,
            list: Box::new(list),
            priority,
            program: Box::new(program),
        }
    }

    fn cache<T: Kind>(mut self, informer: Informer<T>) -> Self {
        self.draft.informers.add(&informer);
        self.draft.caches.push(Arc::new(Typed::new(informer)));
        self
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K: Kind, C> fmt::Debug for ControllerBuilder<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerBuilder").field("name", &self.draft.name).finish_non_exhaustive()
    }
}
