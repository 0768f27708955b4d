//! What goes from the store to the thread that writes its copy on disk.
#![cfg_attr(not(feature = "disk"), expect(dead_code, reason = "there is no such thread"))]

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::collection::Signal;
use super::object::Object;

/// How far a store is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The last write that may be seen.
    pub(super) revision: u64,
    /// No further one will be: the copy on disk is closed or broken.
    pub(super) ended: bool,
}

/// A change to write, and the watches to notify once it is synced.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) change: Change,
    /// Of the store after the change.
    pub(super) revision: u64,
    pub(super) notify: Option<(tokio::sync::watch::Sender<Signal>, Signal)>,
}

#[derive(Debug)]
pub(super) enum Change {
    Put(Arc<str>, Arc<Object>),
    Remove(Arc<str>, Box<str>),
    Keep(String, Vec<u8>),
    /// Only notifies, in its turn.
    None,
}

/// The thread that writes. It ends when all senders of its records are gone.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) records: Sender<Record>,
    pub(super) thread: JoinHandle<()>,
}
