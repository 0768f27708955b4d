//! CEL expressions of webhooks and admission policies, which a function of the caller compiles.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::Errors;
use kube_validation::{FieldError, FieldPath};

/// What an expression is for, which determines its variables and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose<'a> {
    /// A condition of a webhook or of a policy: a `bool`.
    MatchCondition,
    /// The variable of this name, which the expressions after it can use.
    Variable(&'a str),
    /// A validation: a `bool`.
    Validation,
    /// A validation's `messageExpression`: a `string`.
    Message,
    /// The value of an audit annotation: a `string` or null.
    AuditAnnotation,
    /// A mutation: a `list(JSONPatch)`.
    JsonPatch,
    /// A mutation: an `Object`.
    ApplyConfiguration,
    /// A selector of devices: a `bool`.
    DeviceSelector,
}

/// An expression of a webhook or of an admission policy.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Expression<'a> {
    /// The expression.
    pub text: &'a str,
    /// What it is for.
    pub purpose: Purpose<'a>,
    /// Whether it can use `params`.
    pub has_params: bool,
    /// Whether the object that is replaced has it, too. kube-apiserver allows such an expression more than a new one.
    pub is_stored: bool,
}

/// Compiles the expressions of one object in their order. The error is what is wrong with one of them.
pub type Compile<'a> = dyn FnMut(&Expression<'_>) -> Result<(), String> + 'a;

/// The compiler for one object.
pub(super) struct Cel<'a> {
    compile: &'a mut Compile<'a>,
    stored: HashSet<&'a str>,
    pub(super) has_params: bool,
}

impl<'a> Cel<'a> {
    /// `old`: the object that is replaced, or null.
    pub(super) fn new(compile: &'a mut Compile<'a>, old: &'a Value) -> Self {
        let mut stored = HashSet::new();
        collect(old, &mut stored);
        Self { compile, stored, has_params: false }
    }

    /// Reports an expression that does not compile. An empty one has been refused already.
    pub(super) fn check(
        &mut self,
        text: &str,
        purpose: Purpose<'_>,
        path: FieldPath<'_>,
        errors: &mut Errors,
    ) {
        if text.is_empty() {
            return;
        }
        if let Err(why) = self.compile(text, purpose) {
            errors.push(FieldError::invalid(path, &text.into(), &why));
        }
    }

    pub(super) fn compile(&mut self, text: &str, purpose: Purpose<'_>) -> Result<(), String> {
        let is_stored = self.stored.contains(text.trim());
        (self.compile)(&Expression { text, purpose, has_params: self.has_params, is_stored })
    }
}

/// Collects the expressions in an object.
fn collect<'a>(value: &'a Value, found: &mut HashSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (field, value) in members {
                let is_expression =
                    ["expression", "messageExpression", "valueExpression"].contains(&field.as_str());
                match value.as_str() {
                    Some(text) if is_expression => _ = found.insert(text.trim()),
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
