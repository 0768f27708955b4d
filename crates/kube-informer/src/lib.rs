#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bounds;
mod cached;
mod compact;
mod compress;
#[cfg(feature = "runtime")]
mod controller;
mod decode;
mod delta;
mod driver;
mod engine;
mod entry;
mod error;
mod event;
mod frame;
mod free;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod index;
mod informer;
mod key;
mod mailbox;
mod metrics;
mod objects;
mod persist;
mod phase;
mod protocol;
mod quarantine;
mod scope;
mod shard;
mod skip;
mod snapshot;
mod staging;
mod state;
mod status;
mod store;
mod subscribe;
mod transform;
mod uid;
mod version;
mod wait;
#[cfg(feature = "runtime")]
mod watcher;

pub use cached::{Cached, Object};
pub use compact::Compact;
#[cfg(feature = "runtime")]
pub use controller::{SharedObject, reflect, touched_objects};
pub use error::{Error, SharedCause};
pub use event::{Change, DeletionReason, Event};
pub use index::Index;
pub use informer::{Informer, InformerBuilder, Informers, NamespaceSetError, NotSynced, Synced};
pub use key::{InvalidObjectKey, ObjectKey};
pub use persist::{Persist, Persistable, SaveError, SecretsNotAllowed};
pub use phase::{NamespaceStatus, NamespaceStatuses, Phase};
pub use protocol::ListSemantic;
pub use quarantine::{Quarantined, QuarantinedObjects};
pub use scope::NamespacedScope;
pub use shard::{InvalidShard, Shard};
pub use skip::InvalidPath;
pub use snapshot::{Iter, Snapshot};
pub use status::{Status, StatusWatch, Stopped};
pub use subscribe::Subscription;
pub use version::{InvalidResourceVersion, ResourceVersion};
pub use wait::WaitError;
#[cfg(feature = "runtime")]
pub use watcher::watcher;
