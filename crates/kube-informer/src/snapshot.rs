//! All cached objects at one moment.

use std::{any::Any, borrow::Borrow, collections::BTreeSet, hash::Hash, ops::Bound, sync::Arc};

use imbl::OrdMap;

use crate::{
    Cached, Index, ObjectKey, ResourceVersion,
    entry::Entry,
    index::Keys,
    key::{of_namespace, with_text},
    scope::{Scopes, one_namespace},
};

/// All cached objects at one moment, ordered by namespace and name.
///
/// Taking or cloning a snapshot is O(1), plus one small allocation per [`Index`]. A snapshot never changes, and keeps
/// the objects that it contains in memory until it is dropped.
pub struct Snapshot<K: Cached> {
    pub(crate) objects: OrdMap<ObjectKey, Entry<K>>,
    /// The state of each index, by number.
    pub(crate) indexes: Vec<(u64, Arc<dyn Any + Send + Sync>)>,
    pub(crate) scopes: Scopes,
}

impl<K: Cached> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), indexes: self.indexes.clone(), scopes: self.scopes.clone() }
    }
}

impl<K: Cached> Snapshot<K> {
    /// Returns the object `name`, in `namespace` or, for a cluster-scoped type, without one. O(log n).
    ///
    /// Both `snapshot.get("default", "web")` and `snapshot.get(None, "node-1")` work.
    pub fn get<'a>(&self, namespace: impl Into<Option<&'a str>>, name: &str) -> Option<&K::Stored> {
        with_text(namespace.into(), name, |text| Some(&self.objects.get(text)?.object))
    }

    /// Iterates over all objects, ordered by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &K::Stored> {
        self.objects.values().map(|entry| &entry.object)
    }

    /// Iterates over all objects with their keys, ordered by key.
    pub fn entries(&self) -> impl Iterator<Item = (&ObjectKey, &K::Stored)> {
        self.objects.iter().map(|(key, entry)| (key, &entry.object))
    }

    /// Iterates over the objects of one namespace, ordered by name. Finding the first is O(log n). The empty name stands
    /// for all namespaces.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a K::Stored> {
        of_namespace(&self.objects, one_namespace(namespace)).map(|(_, entry)| &entry.object)
    }

    /// Iterates over the objects that have `key` in the index, ordered by namespace and name. Finding the first is
    /// O(log n). The key can be in a borrowed form: `&str` for an index of `String`s.
    ///
    /// Index and objects are of the same moment. A snapshot taken before the index was added has no entries for it;
    /// this method then scans all objects.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # use kube_informer::{Index, Informer, NotSynced};
    /// # fn example(pods: &Informer<Pod>) -> Result<(), NotSynced> {
    /// let by_node: Index<Pod, String> = pods.index(|pod| pod.spec.as_ref()?.node_name.clone());
    /// for pod in pods.snapshot()?.by_index(&by_node, "node-1") {
    ///     println!("{:?}", pod.metadata.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn by_index<'a, I, Q>(
        &'a self,
        index: &Index<K, I>,
        key: &'a Q,
    ) -> impl Iterator<Item = &'a K::Stored>
    where
        I: Borrow<Q> + Ord + Hash + Clone + Send + Sync + 'static,
        Q: Ord + Hash + ?Sized,
    {
        let keys = self.keys_of(index);
        let found = keys.map(|keys| keys.of(key));
        let scanned = keys.is_none().then(|| {
            let index = index.clone();
            let has_key =
                move |object: &K::Stored| index.keys_of(object).iter().any(|held| held.borrow() == key);
            self.iter().filter(move |object| has_key(object))
        });
        found.into_iter().flatten().chain(scanned.into_iter().flatten())
    }

    /// Returns the keys in the index, each once, in no particular order. O(log n) per key. As for
    /// [`by_index`](Self::by_index), all objects are scanned if the snapshot is older than the index.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # use kube_informer::{Index, Informer, NotSynced};
    /// # fn example(pods: &Informer<Pod>, by_node: &Index<Pod, String>) -> Result<(), NotSynced> {
    /// let snapshot = pods.snapshot()?;
    /// for node in snapshot.index_keys(by_node) {
    ///     println!("{node}: {} pods", snapshot.index_count(by_node, &node));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn index_keys<I>(&self, index: &Index<K, I>) -> impl Iterator<Item = I>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
    {
        let keys = self.keys_of(index);
        let scan = || self.iter().flat_map(|object| index.keys_of(object)).collect::<BTreeSet<I>>();
        let scanned = keys.is_none().then(scan);
        let held = keys.map(|keys| keys.each().cloned());
        held.into_iter().flatten().chain(scanned.into_iter().flatten())
    }

    /// Returns the number of objects that have `key` in the index. Costs as much as visiting them.
    pub fn index_count<I, Q>(&self, index: &Index<K, I>, key: &Q) -> usize
    where
        I: Borrow<Q> + Ord + Hash + Clone + Send + Sync + 'static,
        Q: Ord + Hash + ?Sized,
    {
        self.by_index(index, key).count()
    }

    /// Returns the index as it was at this moment, or `None` if it was added later.
    fn keys_of<I>(&self, index: &Index<K, I>) -> Option<&Keys<K, I>>
    where
        I: Ord + Hash + Clone + Send + Sync + 'static,
    {
        let (_, state) = self.indexes.iter().find(|(number, _)| *number == index.number())?;
        state.downcast_ref()
    }

    /// Returns the number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Returns the version up to which this snapshot contains every change. With several namespaces, which progress
    /// independently, it is the lowest of theirs. `None` if the snapshot contains no namespace.
    #[must_use]
    pub fn resource_version(&self) -> Option<ResourceVersion> {
        self.scopes.version()
    }

    /// Returns the version up to which this snapshot contains every change of one namespace. `None` if it does not
    /// contain the namespace, because the namespace is not watched or its first list was not complete. A namespace is
    /// contained as a whole or not at all. For the empty name, the same as [`resource_version`](Self::resource_version).
    #[must_use]
    pub fn resource_version_of(&self, namespace: &str) -> Option<ResourceVersion> {
        self.scopes.version_of(Some(namespace))
    }

    /// Returns whether the objects, or those of a namespace, come from disk, and the server had not confirmed yet that
    /// they can be continued. See [`InformerBuilder::persist`](crate::InformerBuilder::persist).
    #[must_use]
    pub fn is_from_disk(&self) -> bool {
        self.scopes.any_from_disk()
    }

    /// Iterates over the entries of a namespace. `None` stands for all namespaces.
    pub(crate) fn entries_of<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Entry<K>)> {
        of_namespace(&self.objects, namespace)
    }

    /// Returns the first entry after `key`. A subscription walks a snapshot that it owns with this.
    pub(crate) fn next_after(&self, key: Option<&ObjectKey>) -> Option<(&ObjectKey, &K::Stored)> {
        let found = match key {
            Some(key) => {
                let after: (Bound<&ObjectKey>, Bound<&ObjectKey>) = (Bound::Excluded(key), Bound::Unbounded);
                self.objects.range::<_, ObjectKey>(after).next()
            }
            None => self.objects.iter().next(),
        };
        found.map(|(key, entry)| (key, &entry.object))
    }
}
