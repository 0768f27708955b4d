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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{DeleteParams, ObjectMeta, PostParams};
    use kube_embedded::Server;
    use kube_informer::Phase;

    use super::*;

    fn map(name: &str, finalizers: &[&str]) -> ConfigMap {
        let finalizers = Some(finalizers.iter().map(|name| (*name).to_owned()).collect());
        let metadata = ObjectMeta { name: Some(name.to_owned()), finalizers, ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn write(map: &ConfigMap, state: Written) -> Write {
        let key = ObjectKey::new("default", map.metadata.name.as_deref().unwrap());
        let uid = map.metadata.uid.as_deref().map(Into::into);
        Write { group: "".into(), plural: "configmaps".into(), key, uid, state }
    }

    /// That an object was written in the version of another.
    fn written(map: &ConfigMap, version: &ConfigMap) -> Write {
        write(map, Written::Version(version.metadata.resource_version.as_deref().unwrap().into()))
    }

    /// Writes maps, of which `early` are in the cache that is returned, and `late` are not.
    async fn cache(early: &[ConfigMap], late: &[ConfigMap]) -> (Typed<ConfigMap>, Vec<ConfigMap>) {
        let server = Server::start();
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
        let mut created = Vec::new();
        for map in early {
            created.push(maps.create(&PostParams::default(), map).await.unwrap());
            if map.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty()) {
                maps.delete(map.metadata.name.as_ref().unwrap(), &DeleteParams::default()).await.unwrap();
            }
        }
        let end = tokio_util::sync::CancellationToken::new();
        let informers = kube_informer::Informers::with_cancellation(server.client(), end.clone());
        let informer = informers.typed::<ConfigMap>().namespace("default").start();
        informer.synced().await.unwrap();
        // The cache stays as it is now.
        end.cancel();
        informer.watch_status().wait_for(|status| matches!(status.phase, Phase::Stopped)).await.unwrap();
        for map in late {
            created.push(maps.create(&PostParams::default(), map).await.unwrap());
        }
        (Typed::new(informer), created)
    }

    #[tokio::test]
    async fn a_cache_has_what_is_in_it_in_that_version_or_a_later_one() {
        let (cache, maps) = cache(&[map("a", &[]), map("b", &[])], &[map("c", &[])]).await;
        let [a, b, c] = &maps[..] else { panic!() };
        assert!(cache.has(&written(a, a)) && cache.has(&written(b, a)));
        assert!(!cache.has(&written(c, c)), "it came later");
        assert!(!cache.has(&written(a, c)), "it is of an earlier version");
        // The cache may be of other objects: it has reached the version.
        assert!(cache.has(&written(&map("of another selection", &[]), b)));
        let incomparable = write(c, Written::Version("of another kind".into()));
        assert!(cache.has(&incomparable), "it cannot be waited for");
    }

    #[tokio::test]
    async fn a_cache_has_seen_a_delete_if_the_object_is_gone_is_another_or_is_being_deleted() {
        let (cache, maps) = cache(&[map("there", &[]), map("held", &["example.com/a"])], &[]).await;
        let [there, held] = &maps[..] else { panic!() };
        assert!(!cache.has(&write(there, Written::Deleted)));
        let unknown = Write { uid: None, ..write(there, Written::Deleted) };
        assert!(!cache.has(&unknown), "it may be the same");
        let earlier = Write { uid: Some("earlier".into()), ..write(there, Written::Deleted) };
        assert!(cache.has(&earlier), "another of the same name");
        assert!(cache.has(&write(held, Written::Deleted)), "it is being deleted");
        assert!(cache.has(&write(&map("gone", &[]), Written::Deleted)));
    }
}
