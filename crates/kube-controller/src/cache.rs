//! The caches that a controller reads, without their types.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use kube_informer::{Informer, Object, ObjectKey, ResourceVersion, Shard, Snapshot, Status, StatusWatch};

use crate::kind::Kind;
use crate::ledger::{Write, Written};

/// A cache of any type.
pub(crate) trait Cache: Send + Sync {
    /// The kind of its objects.
    fn kind(&self) -> &str;
    fn group(&self) -> &str;
    fn plural(&self) -> &str;
    fn status(&self) -> Arc<Status>;
    fn watch_status(&self) -> StatusWatch;
    /// The part of the collection that it has. `None`: all of it.
    fn shard(&self) -> Option<&Shard>;
    /// Whether it contains what was written, or a later state.
    fn has(&self, write: &Write) -> bool;
}

/// A cache of objects of type `K`.
pub(crate) struct Typed<K: Object> {
    informer: Informer<K>,
    kind: String,
    group: String,
    plural: String,
}

impl<K: Kind> Typed<K> {
    pub(crate) fn new(informer: Informer<K>) -> Self {
        Self {
            informer,
            kind: K::kind(&()).into_owned(),
            group: K::group(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
        }
    }
}

impl<K: Object> Cache for Typed<K> {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn group(&self) -> &str {
        &self.group
    }

    fn plural(&self) -> &str {
        &self.plural
    }

    fn status(&self) -> Arc<Status> {
        self.informer.status()
    }

    fn watch_status(&self) -> StatusWatch {
        self.informer.watch_status()
    }

    fn shard(&self) -> Option<&Shard> {
        self.informer.shard()
    }

    fn has(&self, write: &Write) -> bool {
        // Without a first list there is nothing to be older than the write: no run reads it.
        let Ok(snapshot) = self.informer.snapshot() else { return true };
        let cached = snapshot.get_key(&write.key).map(|object| object.meta());
        let is_same = |uid: Option<&str>| write.uid.is_none() || uid.is_none() || uid == write.uid.as_deref();
        match &write.state {
            Written::Deleted => cached
                .is_none_or(|cached| !is_same(cached.uid.as_deref()) || cached.deletion_timestamp.is_some()),
            Written::Version(version) => {
                // A version that cannot be compared cannot be waited for.
                let Ok(written) = version.parse::<ResourceVersion>() else { return true };
                let reached = |text: Option<&str>| text.and_then(|text| text.parse().ok()) >= Some(written);
                cached.is_some_and(|cached| reached(cached.resource_version.as_deref()))
                    || snapshot.resource_version_of(write.key.namespace().unwrap_or_default())
                        >= Some(written)
            }
        }
    }
}

/// The informers of a controller by type, for reconcilers.
#[derive(Clone, Default)]
pub(crate) struct Informers(HashMap<TypeId, Vec<Arc<dyn Any + Send + Sync>>>);

impl Informers {
    pub(crate) fn add<K: Object>(&mut self, informer: &Informer<K>) {
        self.0.entry(TypeId::of::<K>()).or_default().push(Arc::new(informer.clone()));
    }

    /// The snapshots of each informer of the type.
    pub(crate) fn snapshots<K: Object>(&self) -> impl Iterator<Item = Snapshot<K>> {
        let informers = self.0.get(&TypeId::of::<K>()).into_iter().flatten();
        informers.filter_map(|informer| informer.downcast_ref::<Informer<K>>()?.snapshot().ok())
    }

    /// Finds an object in any of them.
    pub(crate) fn get<K: Object>(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.snapshots::<K>().find_map(|snapshot| snapshot.get_key(key).cloned())
    }
}
