//! All cached objects at one moment.

use std::{any::Any, borrow::Borrow, collections::BTreeSet, fmt, hash::Hash, ops::Bound, sync::Arc};

use imbl::{
    OrdMap,
    ordmap::{DiffItem, Values},
    shared_ptr::DefaultSharedPtr,
};

use crate::{
    Cached, Change, DeletionReason, Index, ObjectKey, ResourceVersion,
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

/// Sorts after what divides namespace and name in a key, and before every character of a namespace.
const AFTER_DIVIDER: &str = "\u{1}";

/// Iterates over the objects of a [`Snapshot`], ordered by namespace and name.
pub struct Iter<'a, K: Cached>(Values<'a, ObjectKey, Entry<K>, DefaultSharedPtr>);

impl<'a, K: Cached> Iterator for Iter<'a, K> {
    type Item = &'a K::Stored;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| &entry.object)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K: Cached> DoubleEndedIterator for Iter<'_, K> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|entry| &entry.object)
    }
}

impl<K: Cached> ExactSizeIterator for Iter<'_, K> {}

impl<K: Cached> fmt::Debug for Iter<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("remaining", &self.len()).finish()
    }
}

impl<'a, K: Cached> IntoIterator for &'a Snapshot<K> {
    type Item = &'a K::Stored;
    type IntoIter = Iter<'a, K>;

    fn into_iter(self) -> Iter<'a, K> {
        self.iter()
    }
}

impl<K: Cached> fmt::Debug for Snapshot<K> {
    /// Formats the number of objects and the version, no object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("objects", &self.len())
            .field("resource_version", &self.resource_version())
            .finish_non_exhaustive()
    }
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

    /// Returns the object with this key. O(log n).
    #[must_use]
    pub fn get_key(&self, key: &ObjectKey) -> Option<&K::Stored> {
        self.objects.get(key).map(|entry| &entry.object)
    }

    /// Returns the object that one of kube's references names. O(log n).
    #[cfg(feature = "runtime")]
    #[must_use]
    pub fn get_ref<R: kube::runtime::reflector::Lookup>(
        &self,
        reference: &kube::runtime::reflector::ObjectRef<R>,
    ) -> Option<&K::Stored> {
        self.get(reference.namespace.as_deref(), &reference.name)
    }

    /// Iterates over all objects, ordered by namespace and name.
    pub fn iter(&self) -> Iter<'_, K> {
        Iter(self.objects.values())
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

    /// Iterates over the namespaces that contain objects, in order. O(log n) per namespace.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # use kube_informer::{Informer, NotSynced};
    /// # fn example(pods: &Informer<Pod>) -> Result<(), NotSynced> {
    /// let snapshot = pods.snapshot()?;
    /// for namespace in snapshot.namespaces() {
    ///     println!("{namespace}: {} pods", snapshot.in_namespace(namespace).count());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        let from = |start: &str| {
            let mut rest = self.objects.range::<_, str>((Bound::Included(start), Bound::Unbounded));
            rest.next().and_then(|(key, _)| key.namespace())
        };
        std::iter::successors(from(AFTER_DIVIDER), move |namespace| {
            from(&format!("{namespace}{AFTER_DIVIDER}"))
        })
    }

    /// Iterates over the changes that lead from an older snapshot to this one, ordered by key. Costs time proportional
    /// to what differs, if both are of the same informer; otherwise, to the number of objects.
    ///
    /// Each object that differs is one change, whatever happened in between: [`subscribe`](crate::Informer::subscribe)
    /// to see more. Another object under the same name is `Deleted` and then `Added`. The reason of a deletion is
    /// [`Unknown`](crate::DeletionReason::Unknown).
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # use kube_informer::{Change, Informer, NotSynced, Snapshot};
    /// # fn example(pods: &Informer<Pod>, seen: &mut Snapshot<Pod>) -> Result<(), NotSynced> {
    /// let now = pods.snapshot()?;
    /// for change in now.diff(seen) {
    ///     match change {
    ///         Change::Deleted { key, .. } => println!("{key} is gone"),
    ///         change => println!("{} is new or differs", change.key()),
    ///     }
    /// }
    /// *seen = now;
    /// # Ok(())
    /// # }
    /// ```
    pub fn diff(&self, older: &Self) -> impl Iterator<Item = Change<K>> {
        older.objects.diff(&self.objects).flat_map(|difference| {
            let added = |key: &ObjectKey, new: &Entry<K>| Change::Added {
                key: key.clone(),
                object: new.object.clone(),
                initial: false,
            };
            let deleted = |key: &ObjectKey, old: &Entry<K>| Change::Deleted {
                key: key.clone(),
                last: old.object.clone(),
                reason: DeletionReason::Unknown,
            };
            let (first, second) = match difference {
                DiffItem::Add(key, new) => (added(key, new), None),
                DiffItem::Remove(key, old) => (deleted(key, old), None),
                DiffItem::Update { old: (key, old), new: (_, new) }
                    if K::uid(&old.object) == K::uid(&new.object) =>
                {
                    let (old, new) = (old.object.clone(), new.object.clone());
                    (Change::Updated { key: key.clone(), old, new }, None)
                }
                DiffItem::Update { old: (key, old), new: (_, new) } => {
                    (deleted(key, old), Some(added(key, new)))
                }
            };
            [Some(first), second].into_iter().flatten()
        })
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
