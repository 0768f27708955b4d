//! What an informer watches: all namespaces, or some by name. Each scope has its own watch and its own progress; the
//! objects of all scopes live in one store.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::ResourceVersion;

/// One watch of an informer.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The namespace, or `None` for all namespaces and for cluster-scoped types.
    pub(crate) namespace: Option<Arc<str>>,
    /// Cancelled when the informer stops watching this scope. Changes on its behalf after that are ignored.
    pub(crate) removed: CancellationToken,
}

impl Scope {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        Self { namespace: namespace.map(Arc::from), removed: CancellationToken::new() }
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.is_cancelled()
    }
}

/// The scopes of one informer, ordered by namespace, with their progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scopes(Vec<(Option<Arc<str>>, Progress)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The first list is pending.
    Listing,
    /// At least one attempt at the first list has failed, and none has succeeded.
    Failing,
    /// The store holds the whole scope, up to this version.
    Complete(ResourceVersion),
}

impl Scopes {
    pub(crate) fn add(&mut self, namespace: Option<&Arc<str>>) {
        if let Err(at) = self.find(namespace.map(|namespace| &**namespace)) {
            self.0.insert(at, (namespace.cloned(), Progress::Listing));
        }
    }

    pub(crate) fn remove(&mut self, namespace: Option<&str>) {
        if let Ok(at) = self.find(namespace) {
            self.0.remove(at);
        }
    }

    pub(crate) fn complete(&mut self, namespace: Option<&str>, version: ResourceVersion) {
        if let Ok(at) = self.find(namespace) {
            self.0[at].1 = Progress::Complete(version);
        }
    }

    pub(crate) fn failed(&mut self, namespace: Option<&str>) {
        if let Ok(at) = self.find(namespace)
            && self.0[at].1 == Progress::Listing
        {
            self.0[at].1 = Progress::Failing;
        }
    }

    /// Whether a snapshot may be taken: the first list of every scope has succeeded or failed, and at least one has
    /// succeeded. The snapshot then contains nothing of the scopes that failed.
    pub(crate) fn can_be_shown(&self) -> bool {
        let is = |progress| self.0.iter().any(|(_, held)| *held == progress);
        self.0.is_empty() || (self.version().is_some() && !is(Progress::Listing))
    }

    /// The version up to which every complete scope is complete. Incomplete scopes are ignored.
    pub(crate) fn version(&self) -> Option<ResourceVersion> {
        self.0.iter().filter_map(|(_, progress)| progress.version()).min()
    }

    /// The version up to which a namespace is complete.
    pub(crate) fn version_of(&self, namespace: Option<&str>) -> Option<ResourceVersion> {
        let at = self.find(namespace).or_else(|_| self.find(None)).ok()?;
        self.0[at].1.version()
    }

    fn find(&self, namespace: Option<&str>) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| held.as_deref().cmp(&namespace))
    }
}

impl Progress {
    fn version(self) -> Option<ResourceVersion> {
        match self {
            Self::Listing | Self::Failing => None,
            Self::Complete(version) => Some(version),
        }
    }
}
