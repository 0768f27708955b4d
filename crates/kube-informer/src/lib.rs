#![doc = include_str!("../README.md")]

mod decode;
mod driver;
mod engine;
mod error;
mod frame;
mod informer;
mod key;
mod protocol;
mod shared;
mod status;
mod store;
mod subscribe;
mod version;

pub use error::{Error, SharedCause};
pub use informer::{Builder, Informer, Informers, NotSynced, Object, Synced, WaitError};
pub use key::ObjectKey;
pub use protocol::ListFrom;
pub use status::{Phase, Quarantined, Status};
pub use store::Snapshot;
pub use subscribe::{Change, Event, Reason, Subscription};
pub use version::{InvalidResourceVersion, ResourceVersion};
