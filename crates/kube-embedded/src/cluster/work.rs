//! The work that the controllers have to do.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::Location;

/// Something for a controller to look at. Looking at it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// A namespace that is being deleted.
    Namespace(String),
    /// A namespace that needs its `default` ServiceAccount.
    ServiceAccount(String),
    /// A definition that is being deleted.
    Definition(String),
    /// An APIService that was written or removed, or whose Service was.
    ApiService(String),
    /// An object that names owners, some of which may be gone.
    Collect(Location),
    /// An object that is being deleted after its dependents, or without them.
    Finalize(Location),
    /// An object was removed that others name as their owner.
    OwnerGone(Gone),
    /// The uid of an owner that an object no longer references in the same way, or one of whose dependents was removed.
    /// It may have waited for that dependent.
    Disowned(Box<str>),
    /// A namespace has objects that its quotas have not counted, or counts some that are gone.
    Quotas(String),
    /// An object of storage that is being deleted and stays while it is in use.
    Protected(Location),
    /// Other resources are served than before.
    SchemeChanged,
    /// A ValidatingAdmissionPolicy that was written.
    #[cfg(feature = "cel")]
    Policy(String),
    /// Panics.
    #[cfg(test)]
    Panic,
}

/// An object that was removed, as others name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gone {
    pub(crate) uid: Box<str>,
    /// Empty: it was cluster-scoped.
    pub(crate) namespace: Box<str>,
    pub(crate) kind: Box<str>,
    /// The versions in which it was served. A reference in another version is to an object that nobody has seen.
    pub(crate) api_versions: Box<[String]>,
}

/// A queue of work without duplicates.
#[derive(Debug, Default)]
pub(crate) struct WorkQueue {
    queue: Mutex<Queue>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Work>,
    waiting: HashSet<Work>,
}

impl WorkQueue {
    /// Adds a piece of work, unless it is already queued.
    pub(crate) fn push(&self, work: Work) {
        let mut queue = self.lock();
        if queue.waiting.insert(work.clone()) {
            queue.order.push_back(work);
            drop(queue);
            self.added.notify_one();
        }
    }

    /// Takes the next piece of work. If it is added again while it is being done, it is returned again.
    pub(crate) async fn pop(&self) -> Work {
        loop {
            // There is one reader: a notification that arrives before it waits is kept for it.
            if let Some(work) = self.take() {
                return work;
            }
            self.added.notified().await;
        }
    }

    fn take(&self) -> Option<Work> {
        let mut queue = self.lock();
        let work = queue.order.pop_front()?;
        queue.waiting.remove(&work);
        Some(work)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_waits_once_and_comes_in_order() {
        let queue = WorkQueue::default();
        let namespace = |name: &str| Work::Namespace(name.to_owned());
        for name in ["a", "b", "a"] {
            queue.push(namespace(name));
        }
        assert_eq!(queue.pop().await, namespace("a"));
        queue.push(namespace("a"));
        assert_eq!((queue.pop().await, queue.pop().await), (namespace("b"), namespace("a")));
        assert_eq!(queue.take(), None);
    }
}
