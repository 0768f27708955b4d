//! The type checker: cel-go's `checker` package.

mod builtin;
mod checker;
mod environment;
mod format;
mod substitution;
#[cfg(test)]
mod tests;
mod validate;
mod walk;

use std::{collections::HashMap, sync::Arc};

use checker::Checker;
pub(crate) use environment::Environment;
pub(crate) use format::Clause;
pub(crate) use validate::{Parsers, validate};
pub(crate) use walk::inner_first;

use crate::{
    syntax::{Ast, Expr, Id, Issue, Kind, Literal},
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
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reference {
    /// A variable or a type; a constant has a value.
    Name { name: Arc<str>, value: Option<Literal> },
    /// The overloads that fit the types of the arguments, in the order of their declaration.
    Overloads(Vec<Arc<str>>),
}

/// Finds the types of an expression and what its names refer to, or everything that is wrong with it.
pub(crate) fn check(ast: Ast, environment: &Environment) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker::new(&ast, environment);
    checker.run();
    let Checker { types, references, functions, issues, .. } = checker;
    if !issues.is_empty() {
        return Err(issues);
    }
    let mut checked = Checked { ast, types, references };
    walk::change(&mut checked.ast.root, |expr| write_full_names(expr, &checked.references, &functions));
    Ok(checked)
}

/// Makes a name that the checker resolved an identifier, with the namespace that it was found in.
fn write_full_names(expr: &mut Expr, references: &HashMap<Id, Reference>, functions: &HashMap<Id, Arc<str>>) {
    let reference = references.get(&expr.id);
    match (&mut expr.kind, reference) {
        (Kind::Struct { type_name, .. }, Some(Reference::Name { name, .. })) => *type_name = name.clone(),
        (kind @ (Kind::Ident(_) | Kind::Select { .. }), Some(Reference::Name { name, .. })) => {
            *kind = Kind::Ident(name.clone());
        }
        (Kind::Call { function, target, .. }, _) => {
            if let Some(name) = functions.get(&expr.id) {
                *function = name.clone();
                *target = None;
            }
        }
        _ => {}
    }
}

/// An error at an expression.
fn issue(ast: &Ast, id: Id, message: String) -> Issue {
    let offset = usize::try_from(id).ok().and_then(|id| ast.offsets.get(id)).copied().unwrap_or_default();
    Issue { position: ast.source.position(offset), message }
}
