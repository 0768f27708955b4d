#![doc = include_str!("../README.md")]

mod cached;
mod compact;
#[cfg(feature = "runtime")]
mod controller;
mod decode;
mod delta;
mod driver;
mod engine;
mod error;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod index;
mod informer;
mod key;
mod mailbox;
mod metrics;
mod objects;
mod protocol;
mod scope;
mod shared;
mod skip;
mod snapshot;
mod status;
mod store;
mod subscribe;
mod version;
#[cfg(feature = "runtime")]
mod watcher;

pub use cached::{Cached, Object};
pub use compact::Compact;
#[cfg(feature = "runtime")]
pub use controller::{Shared, reflect, touched_objects};
pub use error::{Error, SharedCause};
pub use index::Index;
pub use informer::{Builder, FixedScope, Informer, Informers, NotSynced, Synced, WaitError};
pub use key::ObjectKey;
pub use protocol::ListFrom;
pub use skip::InvalidPath;
pub use snapshot::Snapshot;
pub use status::{NamespaceStatus, Phase, Quarantined, Status};
pub use subscribe::{Change, Event, Reason, Subscription};
pub use version::{InvalidResourceVersion, ResourceVersion};
#[cfg(feature = "runtime")]
pub use watcher::watcher;
