//! A planned expression.

use std::sync::Arc;

use super::node::Node;

/// An expression that is ready to be evaluated, any number of times, by any number of threads.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) root: Node,
    /// The names of the variables, in the order in which evaluation takes their values.
    pub(super) variables: Vec<Arc<str>>,
    /// How many values of comprehensions exist at once.
    pub(super) slots: usize,
    /// Whether it is an error to ask a value that is neither a map nor a list for the presence of something in it. It is one
    /// in the specification; in Kubernetes, nothing is present.
    pub(super) strict_presence: bool,
}

impl Program {
    pub(crate) fn variables(&self) -> &[Arc<str>] {
        &self.variables
    }
}
