//! What Kubernetes refuses beyond types: cel-go's validators of literals.

use super::{
    checked::{Checked, issue},
    format::{self, Form},
    substitution::{optional_value, same},
    walk,
};
use crate::{
    syntax::{Expr, Id, Issue, Kind, Literal},
    types::Type,
};

/// Whether the text of a literal is a value: the parsers that the functions have.
#[derive(Clone, Copy)]
pub(crate) struct Parsers {
    pub(crate) is_duration: fn(&str) -> bool,
    pub(crate) is_timestamp: fn(&str) -> bool,
    pub(crate) is_regex: fn(&str) -> bool,
}

/// The seconds of timestamps: the years 1 to 9999.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Finds lists and maps with values of several types, literals that are not the duration, timestamp or regular expression that
/// their function takes, and format strings that do not fit their arguments. Only an expression without errors of types comes
/// here, as in cel-go.
pub(crate) fn validate(checked: &Checked, parsers: &Parsers) -> Vec<Issue> {
    let root = &checked.ast.root;
    let mut validator = Validator { checked, issues: Vec::new() };
    // Arguments of `format` may have any types.
    let aggregates: Vec<_> = walk::inner_first_in(root, |expr| !is_call(expr, "format")).collect();
    aggregates.iter().for_each(|expr| validator.list(expr));
    aggregates.iter().for_each(|expr| validator.map(expr));
    validator.literals("duration", |literal| match literal {
        Literal::String(text) => (parsers.is_duration)(text),
        _ => true,
    });
    validator.literals("timestamp", |literal| match literal {
        Literal::String(text) => (parsers.is_timestamp)(text),
        Literal::Int(seconds) => TIMESTAMPS.contains(seconds),
        _ => true,
    });
    validator.literals("matches", |literal| match literal {
        Literal::String(text) => (parsers.is_regex)(text),
        _ => true,
    });
    validator.issues.extend(validate_formats(checked, Form::American));
    validator.issues
}

/// Finds format strings that do not fit their arguments. cel-go has this check with the function, so that the specification's
/// environment has it, too.
pub(crate) fn validate_formats(checked: &Checked, form: Form) -> Vec<Issue> {
    walk::inner_first(&checked.ast.root)
        .filter_map(|expr| format::validate(checked, expr, form))
        .map(|(id, message)| issue(&checked.ast, id, message))
        .collect()
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, Kind::Call { function, .. } if &**function == name)
}

struct Validator<'a> {
    checked: &'a Checked,
    issues: Vec<Issue>,
}

impl<'a> Validator<'a> {
    fn report(&mut self, id: Id, message: String) {
        self.issues.push(issue(&self.checked.ast, id, message));
    }

    /// Checks the first argument of a function where it is a literal. For `matches(text, pattern)` that is the text: cel-go
    /// has that so.
    fn literals(&mut self, function: &str, valid: impl Fn(&Literal) -> bool) {
        for expr in walk::inner_first(&self.checked.ast.root) {
            let Kind::Call { args, .. } = &expr.kind else { continue };
            let Some(Expr { id, kind: Kind::Literal(literal) }) = args.first() else { continue };
            if is_call(expr, function) && !valid(literal) {
                self.report(*id, format!("invalid {function} argument"));
            }
        }
    }

    fn list(&mut self, expr: &'a Expr) {
        let Kind::List { elements, optional } = &expr.kind else { return };
        let mut first = None;
        for (index, element) in (0..).zip(elements) {
            // One error for a list is enough.
            if !self.agrees(&mut first, element.id, optional.binary_search(&index).is_ok()) {
                break;
            }
        }
    }

    fn map(&mut self, expr: &'a Expr) {
        let Kind::Map(entries) = &expr.kind else { return };
        let (mut key, mut value) = (None, None);
        for entry in entries {
            self.agrees(&mut key, entry.key.id, false);
            self.agrees(&mut value, entry.value.id, entry.optional);
        }
    }

    /// Whether the expression has the type of the first one.
    fn agrees(&mut self, first: &mut Option<&'a Type>, id: Id, optional: bool) -> bool {
        let checked = self.checked;
        let Some(of) = checked.types.get(&id) else { return true };
        let of = optional_value(of).filter(|_| optional).unwrap_or(of);
        match *first {
            None => *first = Some(of),
            Some(expected) if same(expected, of, &|| false) => {}
            Some(expected) => {
                self.report(id, format!("expected type '{expected}' but found '{of}'"));
                return false;
            }
        }
        true
    }
}
