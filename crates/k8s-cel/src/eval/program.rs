//! A planned expression.

use std::sync::Arc;

use super::node::Node;

/// Where Kubernetes configures cel-go otherwise than cel-spec's tests do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dialect {
    /// A constant part without a value, such as `int('x')`, is an error before the expression runs. In values that are neither
    /// maps nor lists, nothing is present.
    Kubernetes,
    /// Such a part is an error of the evaluation, which `||` may ignore. Asking such values for the presence of something is
    /// an error.
    Specification,
}

/// An expression that is ready to be evaluated, any number of times, by any number of threads.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) root: Node,
    /// The names of the variables, in the order in which evaluation takes their values.
    pub(super) variables: Vec<Arc<str>>,
    /// How many values of comprehensions exist at once.
    pub(super) slots: usize,
    pub(super) dialect: Dialect,
}

impl Program {
    pub(crate) fn variables(&self) -> &[Arc<str>] {
        &self.variables
    }
}
