//! The type checker: cel-go's `checker` package.

mod environment;

use std::{collections::HashMap, sync::Arc};

pub(crate) use environment::Environment;

use crate::{
    syntax::{Ast, Id, Literal},
    types::Type,
};

/// An expression that is well-typed.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The expression; names that the checker resolved are single identifiers, as cel-go leaves them.
    pub(crate) ast: Ast,
    /// The type of each expression.
    pub(crate) types: HashMap<Id, Type>,
    /// What each name and each call refers to.
    pub(crate) references: HashMap<Id, Reference>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reference {
    /// A variable or a type; a constant has a value.
    Name { name: Arc<str>, value: Option<Literal> },
    /// The overloads that fit the types of the arguments, in the order of their declaration.
    Overloads(Vec<Arc<str>>),
}
