//! The revisioned store: every write of any object raises one counter, as etcd's does.
//!
//! Invariants:
//! - an object's `metadata.resourceVersion` is the revision of the write that stored it;
//! - a collection's history has every event after its floor, in order, so that a reader at any revision from the
//!   floor on can go on from there, and the collection can be listed as it was at that revision;
//! - the lock is held for one object, one page or one batch of events, never across an await;
//! - with a copy on disk, no write is acknowledged before it is synced: answers wait for [`Store::settled`], and watches
//!   see events up to there.
//!
//! The store knows neither resources nor HTTP. [`crate::cluster`] is the only caller of its writes.

mod collection;
#[cfg(feature = "disk")]
mod disk;
mod log;
mod object;
#[expect(clippy::module_inception, reason = "the store itself, beside its parts")]
mod store;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use self::collection::{Event, Page, Range};
#[cfg(feature = "disk")]
pub(crate) use self::disk::OpenError;
pub(crate) use self::object::{Content, Location, Object};
pub(crate) use self::store::{Error, Store};
pub(crate) use self::watch::Watch;
