//! What an informer watches: all namespaces, or some by name. Each scope has its own watch and its own progress; the
//! objects of all scopes live in one store.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use tokio_util::sync::CancellationToken;

use kube::core::{DynamicResourceScope, NamespaceResourceScope};

use crate::{ObjectKey, ResourceVersion};

/// One watch of an informer.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The namespace, or `None` for all namespaces and for cluster-scoped types.
    pub(crate) namespace: Option<Arc<str>>,
    /// Cancelled when the informer stops watching this scope. Changes on its behalf after that are ignored.
    pub(crate) removed: CancellationToken,
}

/// The scopes of types whose objects are in namespaces, or may be: [`kube::Resource::Scope`] of a namespaced type, and of
/// one that is known only at run time.
///
/// This trait is sealed: it cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "objects of this type are in no namespace",
    label = "a `{Self}` has no namespaces to choose from",
    note = "leave the call out: an informer of a cluster-scoped type watches all of its objects"
)]
pub trait NamespacedScope: sealed::Sealed {}

impl NamespacedScope for NamespaceResourceScope {}
impl NamespacedScope for DynamicResourceScope {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NamespaceResourceScope {}
    impl Sealed for super::DynamicResourceScope {}
}

/// Returns the namespace that a name stands for. As everywhere in Kubernetes, the empty name stands for all: `None`.
pub(crate) fn one_namespace(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

impl Scope {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        let namespace = namespace.and_then(one_namespace);
        Self { namespace: namespace.map(Arc::from), removed: CancellationToken::new() }
    }

    /// Whether the server may send this object for this scope.
    pub(crate) fn contains(&self, key: &ObjectKey) -> bool {
        self.namespace.is_none() || key.namespace() == self.namespace.as_deref()
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.is_cancelled()
    }
}

/// The scopes of one informer with their progress. Cloning is O(1); everything else is O(log n).
#[derive(Debug, Clone, Default)]
pub(crate) struct Scopes {
    progress: OrdMap<Option<Arc<str>>, Progress>,
    /// The versions of the complete scopes.
    versions: OrdSet<(ResourceVersion, Option<Arc<str>>)>,
    /// How many first lists are pending.
    listing: usize,
    /// How many come from disk.
    from_disk: usize,
    /// The lists after the first of each scope that had any.
    relists: OrdMap<Option<Arc<str>>, Relists>,
}

/// The lists of a scope after the first one.
#[derive(Debug, Clone, Copy, Default)]
struct Relists {
    complete: u64,
    /// Whether one has begun and is not complete, so that the scope can be a mixture.
    is_running: bool,
}

/// Identifies the state of a scope. Versions alone do not: after a restore from a backup they come again, with other
/// contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    /// How many lists were complete before.
    lists: u64,
    pub(crate) version: ResourceVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The first list is pending.
    Listing,
    /// At least one attempt at the first list has failed, and none has succeeded.
    Failing,
    /// The store holds the whole scope as an earlier run left it on disk at this version. The server has not confirmed
    /// yet that it can be continued.
    FromDisk(ResourceVersion),
    /// The store holds the whole scope, up to this version.
    Complete(ResourceVersion),
    /// The server does not serve the type any more. The scope was complete up to this version, and is empty or about to
    /// be emptied, although no event said so.
    Gone(ResourceVersion),
}

impl Scopes {
    pub(crate) fn add(&mut self, namespace: Option<&Arc<str>>) {
        let namespace = namespace.cloned();
        if !self.progress.contains_key(&namespace) {
            self.set(namespace, Some(Progress::Listing));
        }
    }

    /// Iterates over the watched namespaces, or the one `None` that stands for all.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &Option<Arc<str>>> {
        self.progress.keys()
    }

    pub(crate) fn remove(&mut self, namespace: Option<&Arc<str>>) {
        self.relists.remove(&namespace.cloned());
        self.set(namespace.cloned(), None);
    }

    /// Records that the whole scope is there.
    pub(crate) fn reached(&mut self, namespace: Option<&Arc<str>>, progress: Progress) {
        let namespace = namespace.cloned();
        if self.progress.get(&namespace).is_some_and(|held| *held != progress) {
            self.set(namespace, Some(progress));
        }
    }

    pub(crate) fn failed(&mut self, namespace: Option<&Arc<str>>) {
        let namespace = namespace.cloned();
        if self.progress.get(&namespace) == Some(&Progress::Listing) {
            self.set(namespace, Some(Progress::Failing));
        }
    }

    /// Whether a snapshot may be taken: the first list of every scope has succeeded or failed, and at least one has
    /// succeeded. The snapshot then contains nothing of the scopes that failed.
    pub(crate) fn can_be_shown(&self) -> bool {
        self.progress.is_empty() || (self.version().is_some() && self.listing == 0)
    }

    /// The version up to which every complete scope is complete. Incomplete scopes are ignored.
    pub(crate) fn version(&self) -> Option<ResourceVersion> {
        self.versions.get_min().map(|(version, _)| *version)
    }

    /// The version up to which a namespace is complete, or all of them.
    pub(crate) fn version_of(&self, namespace: Option<&str>) -> Option<ResourceVersion> {
        let Some(namespace) = namespace.and_then(one_namespace) else { return self.version() };
        self.progress.get(&Some(Arc::from(namespace))).or_else(|| self.progress.get(&None))?.version()
    }

    /// Whether the server has not confirmed a part yet.
    pub(crate) fn any_from_disk(&self) -> bool {
        self.from_disk > 0
    }

    /// Which state a scope is complete up to, according to the server. `None` if it is not complete.
    pub(crate) fn confirmed(&self, namespace: Option<&Arc<str>>) -> Option<At> {
        let namespace = namespace.cloned();
        let lists = self.relists.get(&namespace).map_or(0, |relists| relists.complete);
        match self.progress.get(&namespace) {
            Some(Progress::Complete(version)) => Some(At { lists, version: *version }),
            _ => None,
        }
    }

    /// A list after the first one of a scope begins.
    pub(crate) fn relist_begins(&mut self, namespace: Option<&Arc<str>>) {
        self.relists.entry(namespace.cloned()).or_default().is_running = true;
    }

    /// A list is complete, and [`reached`](Self::reached) was called with its version.
    pub(crate) fn relist_ends(&mut self, namespace: Option<&Arc<str>>) {
        if let Some(relists) = self.relists.get_mut(&namespace.cloned()) {
            relists.is_running = false;
            relists.complete += 1;
        }
    }

    /// Whether a list after the first one of a scope is in progress, or broke off.
    pub(crate) fn is_relisting(&self, namespace: Option<&Arc<str>>) -> bool {
        self.relists.get(&namespace.cloned()).is_some_and(|relists| relists.is_running)
    }

    fn set(&mut self, namespace: Option<Arc<str>>, progress: Option<Progress>) {
        let before = match progress {
            Some(progress) => self.progress.insert(namespace.clone(), progress),
            None => self.progress.remove(&namespace),
        };
        self.listing += usize::from(progress == Some(Progress::Listing));
        self.listing -= usize::from(before == Some(Progress::Listing));
        let from_disk = |progress| usize::from(matches!(progress, Some(Progress::FromDisk(_))));
        self.from_disk += from_disk(progress);
        self.from_disk -= from_disk(before);
        if let Some(version) = before.and_then(Progress::version) {
            self.versions.remove(&(version, namespace.clone()));
        }
        if let Some(version) = progress.and_then(Progress::version) {
            self.versions.insert((version, namespace));
        }
    }
}

impl At {
    /// The state that was read from disk, to which the first list corresponds.
    pub(crate) fn start(version: ResourceVersion) -> Self {
        Self { lists: 0, version }
    }
}

impl From<ResourceVersion> for Progress {
    /// What the server has sent is complete.
    fn from(version: ResourceVersion) -> Self {
        Self::Complete(version)
    }
}

impl Progress {
    fn version(self) -> Option<ResourceVersion> {
        match self {
            Self::Listing | Self::Failing => None,
            Self::FromDisk(version) | Self::Complete(version) | Self::Gone(version) => Some(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Remove,
        Fail,
        Reach(Progress),
    }

    fn reached() -> impl Strategy<Value = Step> {
        (1..9_u32, any::<bool>()).prop_map(|(version, from_disk)| {
            let version = version.to_string().parse().unwrap();
            Step::Reach(if from_disk { Progress::FromDisk(version) } else { Progress::Complete(version) })
        })
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_a_scan_finds(
            steps in prop::collection::vec((prop::option::of(0..4_u8), prop_oneof![
                Just(Step::Add), Just(Step::Remove), Just(Step::Fail), reached()
            ]), 0..60),
        ) {
            let mut scopes = Scopes::default();
            for (namespace, step) in steps {
                let namespace = namespace.map(|namespace| Arc::from(namespace.to_string()));
                let namespace = namespace.as_ref();
                match step {
                    Step::Add => scopes.add(namespace),
                    Step::Remove => scopes.remove(namespace),
                    Step::Fail => scopes.failed(namespace),
                    Step::Reach(progress) => scopes.reached(namespace, progress),
                }
                let listing = scopes.progress.values().filter(|held| **held == Progress::Listing).count();
                let lowest = scopes.progress.values().filter_map(|held| held.version()).min();
                prop_assert_eq!((scopes.listing, scopes.version()), (listing, lowest));
                let from_disk = |held: &&Progress| matches!(held, Progress::FromDisk(_));
                prop_assert_eq!(scopes.any_from_disk(), scopes.progress.values().any(|held| from_disk(&held)));
            }
        }
    }
}
