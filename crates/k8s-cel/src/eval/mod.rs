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
}

impl Program {
    pub(crate) fn variables(&self) -> &[Arc<str>] {
        &self.variables
    }
}
