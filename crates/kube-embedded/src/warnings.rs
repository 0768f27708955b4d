//! The warnings of an answer, from every step of a request.

use std::sync::{Mutex, PoisonError};

/// Collects warnings until the answer, which has them even if it is an error: clients of kube-apiserver see what was
/// wrong up to the step that failed.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Adds warnings. A step that is repeated may add them again.
    pub(crate) fn extend(&self, warnings: impl IntoIterator<Item = String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(warnings);
    }

    /// All warnings, in their order.
    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
