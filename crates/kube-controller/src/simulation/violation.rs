//! What did not hold in an execution.

use std::time::Duration;

/// What did not hold in an execution. That the final state differs is not among it: see
/// [`Failure::differences`](super::Failure::differences).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An invariant of the test did not hold after a write.
    #[error("{name}: {error}")]
    Invariant {
        /// The invariant's name.
        name: String,
        /// What it says.
        error: String,
    },
    /// A reconciler panicked.
    #[error("{0}")]
    Panic(String),
    /// The operator still writes long after the scenario has ended, without a break of 11 minutes.
    #[error("it does not settle: it still writes after {0:?}")]
    NotSettled(Duration),
    /// The operator wrote after the lease had become another's.
    #[error("a write was sent after the lease had become another's")]
    WriteAfterLease,
    /// An object stays in deletion, because its finalizers are not removed.
    #[error("{object} is never deleted, because of {finalizers}")]
    NeverDeleted {
        /// The object's kind and name.
        object: String,
        /// Its finalizers, as JSON.
        finalizers: String,
    },
    /// The operator ended by itself.
    #[error("the operator ended: {0}")]
    Ended(String),
}
