//! The type checker: cel-go's `checker` package.

mod builtin;
mod checked;
mod checker;
mod environment;
mod format;
mod substitution;
#[cfg(test)]
mod tests;
mod validate;
mod walk;

use std::{collections::HashMap, sync::Arc};

pub(crate) use checked::{Checked, Reference};
use checker::Checker;
pub(crate) use environment::Environment;
pub(crate) use format::{Clause, Form};
pub(crate) use validate::{Parsers, validate, validate_formats};
pub(crate) use walk::depth;

use crate::syntax::{Ast, Expr, Id, Issue, Kind};

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
