//! What a reconciler is given beside the object.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube_informer::{Object, ObjectKey, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::apply;
use crate::cache::Informers;
use crate::conditions::Conditions;
use crate::events::{Event, EventType, Events};
use crate::kind::{Kind, is_namespaced};
use crate::ledger::Ledger;
use crate::owners::{self, OwnerError};
use crate::reason::Reason;
use crate::status::StatusChanges;

/// A run, as its reconciler sees it: the way to the cluster, the reasons, and what is to be reported.
///
/// Every request through it belongs to the run: once leadership is lost, none leaves the process any more, and one that is
/// under way is abandoned. A client that the reconciler brings itself is not fenced.
///
/// Cloning it is cheap; clones are the same run.
pub struct Context<K, S> {
    run: Arc<Run<K>>,
    state: Arc<S>,
}

/// What a context shares with the run that made it.
pub(crate) struct Run<K> {
    pub(crate) object: Arc<K>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) ledger: Ledger,
    pub(crate) conditions: Conditions,
    pub(crate) status: StatusChanges,
    pub(crate) shared: Shared,
}

/// What the contexts of a controller have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) informers: Arc<Informers>,
    pub(crate) events: Events,
    pub(crate) field_manager: Arc<str>,
    pub(crate) shutting_down: CancellationToken,
}

/// Why an object could not be applied or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The object cannot be owned by the one that is reconciled.
    #[error("{kind} {key} cannot be owned: {source}")]
    Owner {
        /// The object's kind.
        kind: String,
        /// The object's namespace and name.
        key: ObjectKey,
        /// The rule that it breaks.
        source: OwnerError,
    },
    /// The object has no name.
    #[error("a {kind} without a name cannot be written")]
    NoName {
        /// The object's kind.
        kind: String,
    },
    /// The object is not one in JSON.
    #[error("{kind} {key} is not an object in JSON")]
    NotAnObject {
        /// The object's kind.
        kind: String,
        /// The object's namespace and name.
        key: ObjectKey,
    },
    /// The object cannot be written as JSON.
    #[error("{kind} {key} cannot be written as JSON")]
    Serialize {
        /// The object's kind.
        kind: String,
        /// The object's namespace and name.
        key: ObjectKey,
        /// Why.
        source: serde_json::Error,
    },
    /// The request failed, or was not sent because the fence is closed.
    #[error("{kind} {key} was not written")]
    Request {
        /// The object's kind.
        kind: String,
        /// The object's namespace and name.
        key: ObjectKey,
        /// Why.
        source: kube::Error,
    },
}

impl<K, S> Context<K, S> {
    pub(crate) fn new(run: Arc<Run<K>>, state: Arc<S>) -> Self {
        Self { run, state }
    }

    /// Returns what [`ControllerBuilder::reconciler`](crate::ControllerBuilder::reconciler) was given.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Returns why the object runs: everything that happened since its last run began, at most 16 reasons. For logs; what is
    /// to be done depends on the object, because reasons are lost in a restart.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.run.reasons
    }

    /// Returns a client for everything that [`Api`](kube::Api) can do. Its writes are those of this run: fenced, waited for in the
    /// caches, and tried without effect in a [dry run](crate::Operator::dry_run).
    #[must_use]
    pub fn client(&self) -> Client {
        self.run.ledger.client()
    }

    /// Returns the conditions to write after the run, with the status, in one request.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.run.conditions
    }

    /// Returns the fields of the status to write after the run.
    #[must_use]
    pub fn status(&self) -> &StatusChanges {
        &self.run.status
    }

    /// Returns all objects of a type in the controller's caches at this moment: the objects that it is for, those that it owns or
    /// watches, and those of [`reads`](crate::ControllerBuilder::reads). If it has several caches of the type, of the
    /// first. O(1).
    ///
    /// # Panics
    /// Panics if the controller has no cache of this type.
    #[must_use]
    pub fn snapshot<T: Object>(&self) -> Snapshot<T> {
        let snapshot = self.run.shared.informers.snapshots::<T>().next();
        snapshot.unwrap_or_else(|| {
            panic!("the controller has no cache of {}: add one with `reads`", std::any::type_name::<T>())
        })
    }

    /// Whether no write leaves: [`Operator::dry_run`](crate::Operator::dry_run).
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.run.ledger.is_dry_run()
    }

    /// Waits until the operator is asked to end. A run that takes long can stop early then; it has the time that
    /// [`Operator::shutdown_on_signal`](crate::Operator::shutdown_on_signal) grants.
    pub async fn shutting_down(&self) {
        self.run.shared.shutting_down.cancelled().await;
    }
}

impl<K: Kind, S> Context<K, S> {
    /// Writes an Event about the object. It is sent in the background, and its failure fails no run.
    pub fn event(&self, type_: EventType, reason: &str, note: impl Into<String>) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.into()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let fence = self.run.ledger.fence().clone();
        self.run.shared.events.publish(fence, self.run.object.object_ref(&()), event);
    }

    /// Applies an object that the reconciled one owns: server-side apply, forced, with the operator's name as field manager and
    /// an owner reference. Without a namespace it gets the owner's. Returns the object as it is then.
    ///
    /// Nothing is sent if that would change nothing, which takes a cache that the object is in, with managed fields:
    /// [`owns`](crate::ControllerBuilder::owns) it with an informer that was made with
    /// [`keep_managed_fields`](kube_informer::InformerBuilder::keep_managed_fields).
    ///
    /// # Errors
    /// Fails if the object cannot have this owner (another namespace, another controller), or if the request fails.
    pub async fn apply<T: Kind>(&self, object: &T) -> Result<Arc<T>, WriteError> {
        let (kind, mut meta) = (T::kind(&()).into_owned(), object.meta().clone());
        let owned = owners::own(&mut meta, is_namespaced::<T>(), &*self.run.object, &());
        let key = named::<T>(&meta)?;
        let refused = |source| WriteError::Owner { kind: kind.clone(), key: key.clone(), source };
        owned.map_err(refused)?;
        let live = self.run.shared.informers.get::<T>(&key);
        if let (Some(live), Some(owner)) = (&live, owners::owner_reference(&*self.run.object, &())) {
            owners::check(live.meta(), &owner).map_err(refused)?;
        }

        let json = |object: &T| {
            let failed = |source| WriteError::Serialize { kind: kind.clone(), key: key.clone(), source };
            let mut value = serde_json::to_value(object).map_err(failed)?;
            let Some(map) = value.as_object_mut() else {
                return Err(WriteError::NotAnObject { kind: kind.clone(), key: key.clone() });
            };
            map.insert("apiVersion".to_owned(), T::api_version(&()).into());
            map.insert("kind".to_owned(), T::kind(&()).into());
            Ok(value)
        };
        let mut desired = json(object)?;
        let failed = |source| WriteError::Serialize { kind: kind.clone(), key: key.clone(), source };
        desired["metadata"] = serde_json::to_value(&meta).map_err(failed)?;
        // What a server sets cannot be applied.
        if let Some(meta) = desired["metadata"].as_object_mut() {
            for field in ["managedFields", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"]
            {
                meta.remove(field);
            }
        }
        if let Some(live) = live
            && apply::is_applied(&json(&live)?, &desired, &self.run.shared.field_manager)
        {
            return Ok(live);
        }
        let params = PatchParams::apply(&self.run.shared.field_manager).force();
        let url = T::url_path(&(), key.namespace());
        let request = Request::new(url).patch(key.name(), &params, &Patch::Apply(&desired));
        self.send(&kind, &key, request).await.map(Arc::new)
    }

    /// Deletes this very object: one of the same name with another uid stays. Returns whether there was one to
    /// delete. Its dependents are deleted in the background.
    ///
    /// # Errors
    /// Fails if the request fails, also with 409 if the object is another one by now.
    pub async fn delete<T: Kind>(&self, object: &T) -> Result<bool, WriteError> {
        let meta = object.meta();
        let (kind, key) = (T::kind(&()).into_owned(), named::<T>(meta)?);
        let preconditions = Preconditions { uid: meta.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let url = T::url_path(&(), key.namespace());
        let request = Request::new(url).delete(key.name(), &params);
        match self.send::<Value>(&kind, &key, request).await {
            Ok(_) => Ok(true),
            Err(WriteError::Request { source: kube::Error::Api(status), .. }) if status.code == 404 => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        kind: &str,
        key: &ObjectKey,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, WriteError> {
        let failed = |source| WriteError::Request { kind: kind.to_owned(), key: key.clone(), source };
        let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        self.run.ledger.request(request).await.map_err(failed)
    }
}

fn named<T: Kind>(meta: &ObjectMeta) -> Result<ObjectKey, WriteError> {
    let name = meta.name.as_deref().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| WriteError::NoName { kind: T::kind(&()).into_owned() })?;
    Ok(ObjectKey::new(meta.namespace.as_deref().filter(|_| is_namespaced::<T>()), name))
}

impl<K, S> Clone for Context<K, S> {
    fn clone(&self) -> Self {
        Self { run: Arc::clone(&self.run), state: Arc::clone(&self.state) }
    }
}

impl<K, S> fmt::Debug for Context<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("reasons", &self.run.reasons).finish_non_exhaustive()
    }
}
