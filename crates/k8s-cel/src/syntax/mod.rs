//! From text to an abstract syntax tree.

mod ast;
mod source;

pub(crate) use ast::{Ast, Comprehension, Entry, Expr, Id, Kind, Literal};
pub(crate) use source::{Issue, Position, Source};
