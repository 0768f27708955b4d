//! The revisioned store: every write of any object increments one counter, as in etcd.
//!
//! Invariants:
//! - an object's `metadata.resourceVersion` is the revision of the write that stored it;
//! - a collection's history has every event after its floor, in order, so that a reader at any revision from the floor
//!   on can continue from there, and the collection can be listed as of that revision;
//! - the lock is held for one object, one page or one batch of events, and never across an await;
//! - with a copy on disk, no write is acknowledged before it is synced: responses wait for [`Store::settled`], and
//!   watches only see the events up to there.
//!
//! The store knows neither resources nor HTTP. [`crate::cluster`] is the only caller of its write methods.

mod collection;
#[cfg(feature = "disk")]
mod disk;
mod log;
mod object;
#[expect(clippy::module_inception, reason = "the store itself, next to its parts")]
mod store;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use self::collection::{Event, Page, Range};
#[cfg(feature = "disk")]
pub(crate) use self::disk::OpenError;
pub(crate) use self::object::{AS_IT_IS, Content, Location, Object, is_of_version};
pub(crate) use self::store::{Error, Store};
pub(crate) use self::watch::Watch;
