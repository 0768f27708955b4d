//! One run: from the finalizer to the status.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use kube::api::{GetParams, ObjectMeta, Patch, PatchParams};
use kube::core::{PartialObjectMeta, Request};
use kube_informer::{Informer, ObjectKey};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use tower::BoxError;

use crate::action::Action;
use crate::conditions::Conditions;
use crate::context::{Context, Run, Shared};
use crate::finalizer;
use crate::kind::Kind;
use crate::ledger::{Account, Ledger, Write};
use crate::reason::Reason;
use crate::status::{self, StatusChanges};
use crate::terminal;

/// How often a write is tried whose object changes meanwhile.
const ATTEMPTS: usize = 5;

/// A reconciler: an `async fn(Arc<K>, Context<K, S>) -> Result<Action, E>`, with any error that can be boxed. Implemented for
/// functions and closures.
pub trait Reconciler<K, S>: Send + Sync + 'static {
    /// Makes the cluster what the object asks for.
    fn reconcile(
        &self,
        object: Arc<K>,
        context: Context<K, S>,
    ) -> BoxFuture<'static, Result<Action, BoxError>>;
}

impl<K, S, F, Running, E> Reconciler<K, S> for F
where
    F: Fn(Arc<K>, Context<K, S>) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<Action, E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn reconcile(
        &self,
        object: Arc<K>,
        context: Context<K, S>,
    ) -> BoxFuture<'static, Result<Action, BoxError>> {
        let running = self(object, context);
        Box::pin(async move { running.await.map_err(Into::into) })
    }
}

/// What a run is to do.
pub(crate) struct Job {
    pub(crate) key: ObjectKey,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) account: Account,
}

/// What a run has done.
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) writes: Vec<Write>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// As the reconciler says.
    Done(Action),
    /// There is nothing to do: the object is gone, or is being deleted and is not ours to clean up.
    Nothing {
        /// Whether the object is gone.
        gone: bool,
    },
    Failed(BoxError),
    /// The error is one that a retry would not help.
    Terminal(BoxError),
    TimedOut(Duration),
    Panicked(String),
}

/// Performs runs of a controller, without its types.
pub(crate) type Perform = Arc<dyn Fn(Job) -> BoxFuture<'static, Report> + Send + Sync>;

/// The finalizer of a controller, with what has to be done before it is removed.
pub(crate) struct Finalizer<K, S> {
    pub(crate) name: String,
    pub(crate) cleanup: Box<dyn Reconciler<K, S>>,
}

/// The user's part of a controller.
pub(crate) struct Program<K: Kind, S> {
    pub(crate) informer: Informer<K>,
    pub(crate) reconciler: Box<dyn Reconciler<K, S>>,
    pub(crate) finalizer: Option<Finalizer<K, S>>,
    pub(crate) state: Arc<S>,
    pub(crate) shared: Shared,
    pub(crate) timeout: Option<Duration>,
}

impl<K: Kind, S: Send + Sync + 'static> Program<K, S> {
    pub(crate) fn perform(self) -> Perform {
        let program = Arc::new(self);
        Arc::new(move |job| {
            let program = Arc::clone(&program);
            Box::pin(async move { program.run(job).await })
        })
    }

    async fn run(&self, job: Job) -> Report {
        let Job { key, reasons, account } = job;
        let ledger = Ledger::new(account, key.clone());
        let object = self.informer.snapshot().ok().and_then(|snapshot| snapshot.get_key(&key).cloned());
        let outcome = match object {
            None => Outcome::Nothing { gone: true },
            Some(object) => {
                let run = AssertUnwindSafe(self.reconcile(object, reasons, &ledger)).catch_unwind();
                // The writes after a reconciler are part of the run's time.
                let limited = async {
                    match self.timeout {
                        Some(limit) => timeout(limit, run).await.map_err(|_| limit),
                        None => Ok(run.await),
                    }
                };
                match limited.await {
                    Ok(Ok(Ok(outcome))) => outcome,
                    Ok(Ok(Err(error))) if terminal::is_terminal(&*error) => Outcome::Terminal(error),
                    Ok(Ok(Err(error))) => Outcome::Failed(error),
                    Ok(Err(panic)) => Outcome::Panicked(message(&*panic)),
                    Err(limit) => Outcome::TimedOut(limit),
                }
            }
        };
        Report { outcome, writes: ledger.take() }
    }

    async fn reconcile(
        &self,
        mut object: Arc<K>,
        reasons: Vec<Reason>,
        ledger: &Ledger,
    ) -> Result<Outcome, BoxError> {
        let deleted = object.meta().deletion_timestamp.is_some();
        let reconciler = match &self.finalizer {
            Some(finalizer) if deleted => {
                if !finalizer::is_on(object.meta(), &finalizer.name) {
                    return Ok(Outcome::Nothing { gone: false });
                }
                &finalizer.cleanup
            }
            None if deleted => return Ok(Outcome::Nothing { gone: false }),
            Some(finalizer) => {
                // On before the first run, so that whatever a run creates is cleaned up.
                let add = |meta: &ObjectMeta| finalizer::add(meta, &finalizer.name);
                match self.finalize(ledger, object.meta(), add).await? {
                    Patched::Unchanged => {}
                    Patched::Now(patched) => object = patched,
                    Patched::Gone => return Ok(Outcome::Nothing { gone: true }),
                }
                &self.reconciler
            }
            None => &self.reconciler,
        };
        let run = Arc::new(Run {
            object: Arc::clone(&object),
            reasons,
            ledger: ledger.clone(),
            conditions: Conditions::default(),
            status: StatusChanges::default(),
            shared: self.shared.clone(),
        });
        let context = Context::new(Arc::clone(&run), Arc::clone(&self.state));
        let result = reconciler.reconcile(Arc::clone(&object), context).await;
        // The status is attempted on an error, too: it is what tells the user of the error.
        let written = self.write_status(&run, &object).await;
        let (action, newest) = match (result, written) {
            (Ok(action), Ok(newest)) => (action, newest),
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => return Err(error),
            (Err(error), Err(status)) => {
                let status = chain(&*status);
                tracing::debug!(%status, "the status was not written either");
                return Err(error);
            }
        };
        if deleted && let Some(finalizer) = &self.finalizer {
            // Of the newest state: the status may have been written.
            let remove = |meta: &ObjectMeta| finalizer::remove(meta, &finalizer.name);
            let meta = newest.as_ref().unwrap_or(object.meta());
            self.finalize(ledger, meta, remove).await?;
            return Ok(Outcome::Nothing { gone: false });
        }
        Ok(Outcome::Done(action))
    }

    /// Adds or removes a finalizer. If the object has changed meanwhile, it is read again.
    async fn finalize(
        &self,
        ledger: &Ledger,
        meta: &ObjectMeta,
        patch: impl Fn(&ObjectMeta) -> Option<Value> + Send,
    ) -> Result<Patched<K>, BoxError> {
        let (url, name) = address::<K>(meta);
        let Some(mut change) = patch(meta) else { return Ok(Patched::Unchanged) };
        for attempt in 1.. {
            let request = Request::new(url.clone()).patch(name, &self.params(), &Patch::Merge(&change))?;
            match ledger.request::<K>(request).await {
                Ok(object) => return Ok(Patched::Now(Arc::new(object))),
                Err(error) if code(&error) == Some(404) => {
                    gone::<K>(ledger, meta);
                    return Ok(Patched::Gone);
                }
                Err(error) if code(&error) == Some(409) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
            let newer = read::<K>(ledger, &url, name).await?;
            let Some(newer) = newer.filter(|newer| newer.meta().uid == meta.uid) else {
                gone::<K>(ledger, meta);
                return Ok(Patched::Gone);
            };
            match patch(newer.meta()) {
                Some(again) => change = again,
                None => return Ok(Patched::Now(Arc::new(newer))),
            }
        }
        Ok(Patched::Unchanged)
    }

    /// Writes the status once, if the run changed anything in it, and returns the object's metadata then. A change of the
    /// object by somebody else in between is merged with, as long as it is the same object.
    async fn write_status(&self, run: &Run<K>, object: &K) -> Result<Option<ObjectMeta>, BoxError> {
        let (fields, conditions) = (run.status.fields(), run.conditions.changes());
        if fields.is_empty() && conditions.is_empty() {
            return Ok(None);
        }
        let meta = object.meta();
        let (url, name) = address::<K>(meta);
        let mut current = serde_json::to_value(object)?;
        // The list of conditions is written as a whole. A type that does not have it would lose those of others.
        let is_lossy = !conditions.is_empty() && !current["status"]["conditions"].is_array();
        for attempt in 1.. {
            let patch = status::patch(&current, &fields, &conditions, meta.generation, Timestamp::now())?;
            let Some(patch) = patch else { return Ok(None) };
            if attempt > 1 || !is_lossy {
                let request = Request::new(url.clone());
                let request =
                    request.patch_subresource("status", name, &self.params(), &Patch::Merge(&patch))?;
                match run.ledger.request::<PartialObjectMeta<K>>(request).await {
                    Ok(written) => return Ok(Some(written.metadata)),
                    Err(error) if code(&error) == Some(409) && attempt < ATTEMPTS => {}
                    // It is gone, and so is its status; or its type has none, which is an error.
                    Err(error) if code(&error) == Some(404) => {
                        return match read::<Value>(&run.ledger, &url, name).await? {
                            Some(_) => Err(error.into()),
                            None => {
                                gone::<K>(&run.ledger, meta);
                                Ok(None)
                            }
                        };
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let newer = read::<Value>(&run.ledger, &url, name).await?;
            let is_it = |newer: &Value| newer["metadata"]["uid"].as_str() == meta.uid.as_deref();
            let Some(newer) = newer.filter(is_it) else {
                gone::<K>(&run.ledger, meta);
                return Ok(None);
            };
            current = newer;
        }
        Ok(None)
    }

    fn params(&self) -> PatchParams {
        PatchParams { field_manager: Some(self.shared.field_manager.to_string()), ..PatchParams::default() }
    }
}

/// What became of an object whose finalizers were to change.
enum Patched<K> {
    /// There was nothing to do.
    Unchanged,
    /// Its present state.
    Now(Arc<K>),
    Gone,
}

/// The path of a type's objects, and an object's name.
fn address<K: Kind>(meta: &ObjectMeta) -> (String, &str) {
    (K::url_path(&(), meta.namespace.as_deref()), meta.name.as_deref().unwrap_or_default())
}

/// Reads an object from the server.
async fn read<T: DeserializeOwned>(ledger: &Ledger, url: &str, name: &str) -> Result<Option<T>, BoxError> {
    let request = Request::new(url).get(name, &GetParams::default())?;
    match ledger.request(request).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Notes that the object of a run is gone.
fn gone<K: Kind>(ledger: &Ledger, meta: &ObjectMeta) {
    let key = ObjectKey::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
    ledger.gone(&K::group(&()), &K::plural(&()), key, meta.uid.as_deref());
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

impl Outcome {
    /// The error, with its causes, in one line.
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Done(_) | Self::Nothing { .. } => None,
            Self::Failed(error) | Self::Terminal(error) => Some(chain(&**error)),
            Self::TimedOut(limit) => Some(format!("the run took longer than {limit:?}")),
            Self::Panicked(message) => Some(format!("the reconciler panicked: {message}")),
        }
    }
}

/// An error and its causes in one line. What a cause repeats is said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
