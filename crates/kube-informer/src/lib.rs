#![doc = include_str!("../README.md")]

mod cached;
mod compact;
mod decode;
mod delta;
mod driver;
mod engine;
mod error;
mod frame;
mod index;
mod informer;
mod key;
mod mailbox;
mod objects;
mod protocol;
mod shared;
mod skip;
mod snapshot;
mod status;
mod store;
mod subscribe;
mod version;

pub use cached::{Cached, Object};
pub use compact::Compact;
pub use error::{Error, SharedCause};
pub use index::Index;
pub use informer::{Builder, Informer, Informers, NotSynced, Synced, WaitError};
pub use key::ObjectKey;
pub use protocol::ListFrom;
pub use skip::InvalidPath;
pub use snapshot::Snapshot;
pub use status::{Phase, Quarantined, Status};
pub use subscribe::{Change, Event, Reason, Subscription};
pub use version::{InvalidResourceVersion, ResourceVersion};
