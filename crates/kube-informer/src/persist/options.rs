//! How an informer is persisted, and which can be.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use crate::{Cached, Compact, Object, bounds::LONGEST};

/// How often a cache is written by default.
const INTERVAL: Duration = Duration::from_secs(300);

/// How an informer keeps a copy of its cache on disk: [`InformerBuilder::persist`](crate::InformerBuilder::persist).
///
/// A path, as `&str`, `&Path` or `PathBuf`, converts to the default options with that folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Persist {
    pub(crate) folder: PathBuf,
    pub(crate) interval: Duration,
    pub(crate) cluster: Option<String>,
    pub(crate) secrets: bool,
}

impl Persist {
    /// Keeps the copy in this folder, one file for each informer and namespace of a set. The folder is created with
    /// mode 0700 if it is missing, the files with mode 0600. Informers and processes can share a folder.
    ///
    /// A folder is for one cluster: the name of a file does not tell clusters apart, unless they have
    /// [names](Self::cluster). Otherwise two clusters replace each other's files. A file of another cluster is never used,
    /// but neither is there a warm start.
    pub fn to(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), interval: INTERVAL, cluster: None, secrets: false }
    }

    /// Sets how often the cache is written if its version has changed. The default is 5 minutes, the most a
    /// year, so that `Duration::MAX` leaves the write at the end. Each write is the whole cache, as JSON.
    ///
    /// The copy is only useful while the server still has its version: a kube-apiserver keeps the changes of a type
    /// in memory, some hundreds to some ten thousand of them, and everything for 5 minutes in etcd.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.clamp(Duration::from_millis(1), LONGEST);
        self
    }

    /// Names the cluster. Without a name, a cluster is recognized by the uid of its namespace `kube-system`, which
    /// the user must be permitted to `get`. With a name, a user who may not can persist, too; one who may is held to
    /// both. The name must not be given to another cluster, or to a cluster that was made anew. An empty name is no name.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        self.cluster = Some(name.to_owned()).filter(|name| !name.is_empty());
        self
    }

    /// Permits Secrets and their metadata, which can contain a whole Secret in the annotation that `kubectl apply` leaves.
    /// They are written as plain JSON, base64 at most.
    #[must_use]
    pub fn allow_secrets(mut self) -> Self {
        self.secrets = true;
        self
    }
}

impl From<&str> for Persist {
    fn from(folder: &str) -> Self {
        Self::to(folder)
    }
}

impl From<&Path> for Persist {
    fn from(folder: &Path) -> Self {
        Self::to(folder)
    }
}

impl From<PathBuf> for Persist {
    fn from(folder: PathBuf) -> Self {
        Self::to(folder)
    }
}

/// Secrets are written to disk only with [`Persist::allow_secrets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Secrets are not persisted unless it is allowed explicitly")]
pub struct SecretsNotAllowed;

/// What an informer can persist: each type that is [`Serialize`], and each [`Compact`] type.
///
/// The `Serialize` of a type must write every field that its `Deserialize` reads, as derived implementations do.
pub trait Persistable: Cached {
    /// Whether the JSON is what the server sent, so that a program with another definition of the type reads the same
    /// object from it.
    #[doc(hidden)]
    const VERBATIM: bool;

    /// Appends the object's JSON.
    #[doc(hidden)]
    fn write_json(stored: &Self::Stored, to: &mut Vec<u8>) -> Result<(), serde_json::Error>;
}

impl<K: Object + Serialize> Persistable for K {
    // A field that the type did not have when it was written is missing, although the server has it.
    const VERBATIM: bool = false;

    fn write_json(stored: &Self::Stored, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(to, &**stored)
    }
}

impl<K: Object> Persistable for Compact<K> {
    const VERBATIM: bool = true;

    fn write_json(stored: &Self, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        to.extend_from_slice(&stored.to_json());
        Ok(())
    }
}
