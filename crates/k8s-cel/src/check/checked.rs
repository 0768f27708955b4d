//! What a check finds.

use std::{collections::HashMap, sync::Arc};

use crate::{
    syntax::{Ast, Id, Issue, Literal},
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

impl Checked {
    /// An expression whose types nobody looked at.
    pub(crate) fn unchecked(ast: Ast) -> Self {
        Self { ast, types: HashMap::new(), references: HashMap::new() }
    }

    /// Whether the checker has seen the expression.
    pub(crate) fn is_checked(&self) -> bool {
        // The checker finds at least the type of the root.
        !self.types.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reference {
    /// A variable or a type; a constant has a value.
    Name { name: Arc<str>, value: Option<Literal> },
    /// The overloads that fit the types of the arguments, in the order of their declaration.
    Overloads(Vec<Arc<str>>),
}

/// An error at an expression.
pub(super) fn issue(ast: &Ast, id: Id, message: String) -> Issue {
    let offset = usize::try_from(id).ok().and_then(|id| ast.offsets.get(id)).copied().unwrap_or_default();
    Issue { position: ast.source.position(offset), message }
}
