//! The messages from the store to the thread that writes its copy on disk.
#![cfg_attr(not(feature = "disk"), expect(dead_code, reason = "only used by that thread"))]

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::collection::Signal;
use super::object::Object;

/// The progress of a store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The last write that may be visible.
    pub(super) revision: u64,
    /// No more writes will become visible: the copy on disk is closed or broken.
    pub(super) ended: bool,
}

/// A change to write, and the watches to notify once it is synced.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) change: Change,
    /// The store's revision after the change.
    pub(super) revision: u64,
    pub(super) notify: Option<(tokio::sync::watch::Sender<Signal>, Signal)>,
}

#[derive(Debug)]
pub(super) enum Change {
    Put(Arc<str>, Arc<Object>),
    Remove(Arc<str>, Box<str>),
    Keep(String, Vec<u8>),
    /// Changes nothing, but notifies watches in order.
    None,
}

/// The writer thread. It ends when all senders of its records are dropped.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) records: Sender<Record>,
    pub(super) thread: JoinHandle<()>,
}
