//! Evaluates checked expressions: cel-go's `interpreter` package, with its planner, attributes and cost tracker.

mod cost;
mod lazy;
mod names;
mod node;
mod operator;
mod plan;
mod program;
mod run;

pub(crate) use lazy::{Lazy, composed};
pub(crate) use plan::plan;
pub(crate) use program::{Dialect, Program};
pub(crate) use run::{Outcome, Variable};
