//! The entries of the merged configuration by name, in a form to show to users. No field contains a secret.

use serde::Serialize;

use crate::merge::Merged;

/// A context of the merged configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContextEntry {
    /// Its name.
    pub name: String,
    /// The name of its cluster, as written: the cluster may not be defined. Empty if not set.
    pub cluster: String,
    /// The name of its user, as written. Empty if not set.
    pub user: String,
    /// Its namespace. Empty if not set.
    pub namespace: String,
    /// Whether `current-context` names it.
    pub current: bool,
}

/// The entries of all kubeconfig files, merged. Every list is sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Entries {
    /// The value of `current-context`, which may name a context that is not defined.
    pub current_context: Option<String>,
    /// The contexts.
    pub contexts: Vec<ContextEntry>,
    /// The names of the clusters.
    pub clusters: Vec<String>,
    /// The names of the users.
    pub users: Vec<String>,
}

impl Entries {
    pub(crate) fn of(merged: &Merged) -> Self {
        let current_context = merged.current_context.as_ref().map(|entry| entry.value.clone());
        let contexts = merged.contexts.iter().map(|(name, entry)| ContextEntry {
            name: name.clone(),
            cluster: entry.value.cluster.clone(),
            user: entry.value.user.clone(),
            namespace: entry.value.namespace.clone(),
            current: current_context.as_ref() == Some(name),
        });
        Self {
            contexts: contexts.collect(),
            clusters: merged.clusters.keys().cloned().collect(),
            users: merged.users.keys().cloned().collect(),
            current_context,
        }
    }
}
