//! Evaluates checked expressions: cel-go's `interpreter` package, with its planner, attributes and cost tracker.

mod cost;
mod node;
mod operator;
mod plan;
mod run;

use std::sync::Arc;

use node::Node;
pub(crate) use plan::plan;
pub(crate) use run::{Outcome, Variable};

use crate::{check::Checked, value::Error};

/// An expression that is ready to be evaluated, any number of times, by any number of threads.
#[derive(Debug)]
pub(crate) struct Program {
    root: Node,
    /// The names of the variables, in the order in which evaluation takes their values.
    variables: Vec<Arc<str>>,
    /// How many values of comprehensions exist at once.
    slots: usize,
    /// Whether it is an error to ask a value that is neither a map nor a list for the presence of something in it. It is one
    /// in the specification; in Kubernetes, nothing is present.
    strict_presence: bool,
}

impl Program {
    pub(crate) fn variables(&self) -> &[Arc<str>] {
        &self.variables
    }
}
