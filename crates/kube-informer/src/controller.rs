//! Drives kube-runtime's `Controller` from an informer.
//!
//! kube's controller reads its objects from a store of its own, which only its writer fills. With [`SharedObject`],
//! that store holds the informer's objects instead of copies.

use std::{borrow::Cow, hash::Hash, ops::Deref, sync::Arc};

use futures_util::{Stream, StreamExt as _, future, stream};
use kube::{
    Resource,
    core::ObjectMeta,
    runtime::{
        reflector::store::Writer,
        watcher::{self, Event},
    },
};
use serde::{Deserialize, Deserializer};

use crate::{Change, Object, Subscription};

/// An object of an informer in a form that kube's runtime accepts. Cloning it increments a reference count.
///
/// It implements [`Resource`] as `K` does, and dereferences to `K`.
#[derive(Debug)]
pub struct SharedObject<K>(Arc<K>);

/// Fills kube's store from an informer, and yields the objects that a [`Controller`](kube::runtime::Controller) must
/// reconcile. Meant for `Controller::for_stream`, which needs kube's feature `unstable-runtime`.
///
/// ```
/// # use std::{convert::Infallible, sync::Arc, time::Duration};
/// use futures_util::StreamExt as _;
/// use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
/// use kube::runtime::{Controller, controller::Action, reflector};
/// use kube_informer::{Informers, SharedObject, reflect, touched_objects};
///
/// async fn reconcile(deployment: Arc<SharedObject<Deployment>>, _: Arc<()>) -> Result<Action, Infallible> {
///     println!("{:?}", deployment.metadata.name);
///     Ok(Action::await_change())
/// }
///
/// async fn run(client: kube::Client) {
///     let informers = Informers::new(client);
///     let deployments = informers.typed::<Deployment>().start();
///     let pods = informers.typed::<Pod>().label_selector("app").start();
///     let (reader, writer) = reflector::store();
///     Controller::for_stream(reflect(deployments.subscribe(), writer), reader)
///         .owns_stream(touched_objects(pods.subscribe()))
///         .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(5)), Arc::new(()))
///         .for_each(|_| std::future::ready(()))
///         .await;
/// }
/// ```
///
/// - Each object of the first list is yielded once, then each object that is added or changes. After a relist, only
///   objects that differ are yielded.
/// - No item is an `Err`. The informer retries by itself and reports failures in its [status](crate::Status), so a
///   fault of one watch does not hold up the others. (kube's controller pauses all of them.)
/// - A deleted object is removed from the store but not yielded. kube's controller does not reconcile objects that
///   are missing from its store, so to act on a deletion use a finalizer, as with kube's own streams. To merely
///   forget something, subscribe to the informer itself.
/// - The store is ready (`Store::wait_until_ready`) when the first list is complete. It costs an
///   [`ObjectRef`](kube::runtime::reflector::ObjectRef) and a reference per object, but no copy of it.
/// - The stream fills the store as it is polled, and ends when the informer stops.
///
/// Get the writer from [`reflector::store`](kube::runtime::reflector::store()). For a type that is known at run time,
/// use [`Writer::new`] and `Controller::for_stream_with`.
pub fn reflect<K>(
    subscription: Subscription<K>,
    mut writer: Writer<SharedObject<K>>,
) -> impl Stream<Item = watcher::Result<SharedObject<K>>> + Send
where
    K: Object + Clone,
    K::DynamicType: Eq + Hash + Clone,
{
    writer.apply_watcher_event(&Event::Init);
    subscription.filter_map(move |event| {
        let (event, applied) = match event {
            crate::Event::Change(Change::Added { object, initial, .. }) => {
                let object = SharedObject(object);
                let event = if initial { Event::InitApply } else { Event::Apply }(object.clone());
                (event, Some(object))
            }
            crate::Event::Change(Change::Updated { new, .. }) => {
                let object = SharedObject(new);
                (Event::Apply(object.clone()), Some(object))
            }
            crate::Event::Change(Change::Deleted { last, .. }) => (Event::Delete(SharedObject(last)), None),
            crate::Event::Synced { .. } => (Event::InitDone, None),
        };
        writer.apply_watcher_event(&event);
        future::ready(applied.map(Ok))
    })
}

/// Yields the objects that exist, then each object that is added, changes or is deleted. Meant for `owns_stream` and
/// `watches_stream` of kube's [`Controller`](kube::runtime::Controller), which reconcile what these objects belong to
/// and need kube's feature `unstable-runtime`. See [`reflect`].
///
/// An object whose deletion was missed is yielded, too, once a list reveals that it is gone. If the owner references
/// of an object change, its old state is yielded before the new one, so that both owners are reconciled.
pub fn touched_objects<K: Object>(
    subscription: Subscription<K>,
) -> impl Stream<Item = watcher::Result<SharedObject<K>>> + Send {
    subscription.flat_map(|event| {
        let (before, object) = match event {
            crate::Event::Change(Change::Added { object, .. } | Change::Deleted { last: object, .. }) => {
                (None, Some(object))
            }
            crate::Event::Change(Change::Updated { old, new, .. }) => {
                let moved = old.meta().owner_references != new.meta().owner_references;
                (moved.then_some(old), Some(new))
            }
            crate::Event::Synced { .. } => (None, None),
        };
        stream::iter(before.into_iter().chain(object).map(|object| Ok(SharedObject(object))))
    })
}

impl<K> SharedObject<K> {
    /// Returns the object as the informer's snapshots hold it.
    pub fn as_arc(&self) -> &Arc<K> {
        &self.0
    }
}

impl<K> Clone for SharedObject<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Deref for SharedObject<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.0
    }
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for SharedObject<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(deserializer).map(|object| Self(Arc::new(object)))
    }
}

impl<K: Resource + Clone> Resource for SharedObject<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic_type: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic_type)
    }

    fn group(dynamic_type: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic_type)
    }

    fn version(dynamic_type: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic_type)
    }

    fn plural(dynamic_type: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic_type)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    /// Copies the object if the informer still holds it.
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        Arc::make_mut(&mut self.0).meta_mut()
    }
}
