//! From text to an abstract syntax tree.
//!
//! A lexer and an interpreter of the grammar make a parse tree, from which expressions are built. Syntax
//! errors are those of cel-go, which come from ANTLR; the tree that is recovered after them is built too,
//! because cel-go reports more errors from it.

mod ast;
mod build;
mod grammar;
mod ids;
mod lexer;
mod macros;
mod options;
mod parser;
mod source;
#[cfg(test)]
mod tests;
mod unescape;

use std::sync::Arc;

pub(crate) use ast::{Ast, Comprehension, Entry, Expr, Id, Kind, Literal};
pub(crate) use build::RESERVED;
pub(crate) use options::{Extension, Options};
pub(crate) use source::{Issue, Position, Source};

/// How many characters an expression may have.
const SIZE_MAX: usize = 100_000;

/// Parses an expression, or says everything that is wrong with it.
pub(crate) fn parse(text: &str, options: Options) -> Result<Ast, (Arc<Source>, Vec<Issue>)> {
    let source = Arc::new(Source::new(text));
    let size = text.chars().count();
    if size > SIZE_MAX {
        let message = format!("expression code point size exceeds limit: size: {size}, limit {SIZE_MAX}");
        return Err((source, vec![Issue { position: Position::UNKNOWN, message }]));
    }
    let parser::Parsed { tree, errors, root } = parser::parse(text);
    let mut issues: Vec<_> = errors
        .into_iter()
        .map(|error| Issue {
            position: error.offset.map_or(Position::UNKNOWN, |offset| source.position(offset)),
            message: error.message,
        })
        .collect();
    let Some(root) = root else { return Err((source, issues)) };
    let (built, errors) = build::build(text, &tree, root, options);
    issues.extend(errors.into_iter().map(|error| Issue {
        position: match error.place {
            ids::Place::Unknown => Position::UNKNOWN,
            ids::Place::Before => Position::BEFORE,
            ids::Place::At(offset) => source.position(offset),
        },
        message: error.message,
    }));
    match built {
        Some((root, offsets)) if issues.is_empty() => Ok(Ast { root, source, offsets }),
        _ => Err((source, issues)),
    }
}
