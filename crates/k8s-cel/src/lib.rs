#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod check;
mod composition;
mod cost;
mod environment;
mod eval;
mod functions;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod go;
mod library;
mod patch;
mod policy;
mod program;
mod schema;
mod syntax;
#[cfg(test)]
mod tests;
mod typed;
mod types;
mod value;

pub use composition::PolicyVariables;
pub use environment::{Environment, Origin};
pub use functions::{Authorizer, Check, Decision, ResourceAttributes, ServiceAccount, Target};
pub use patch::MutationError;
pub use program::{COST_LIMIT, CompileError, Evaluation, EvaluationError, Program, Value, Variables};
pub use schema::{Declaration, DefinitionsError};
