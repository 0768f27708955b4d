//! Conditions in the status of an object: `metav1.ValidateConditions`.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, text};
use kube_validation::{FieldError, FieldPath, names};

/// Checks `conditions`, of which there is one of a type.
pub(super) fn check(status: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX_REASON: usize = 1024;
    const MAX_MESSAGE: usize = 32 * 1024;
    let mut types = HashSet::new();
    errors.each(status, "conditions", path, |condition, path, errors| {
        let kind = text(condition, "type");
        if !types.insert(kind.to_owned()) {
            errors.push(FieldError::duplicate(path, &kind.into()));
        }
        if !errors.required(condition, "type", path, "is required") {
            errors.named(kind, names::qualified_name, path.child("type"));
        }
        if !errors.required(condition, "status", path, "") {
            errors.one_of(&condition["status"], &["False", "True", "Unknown"], path.child("status"));
        }
        let generation = &condition["observedGeneration"];
        if generation.as_i64().is_some_and(|number| number < 0) {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(path.child("observedGeneration"), generation, detail));
        }
        errors.required(condition, "lastTransitionTime", path, "");
        if !errors.required(condition, "reason", path, "") {
            let reason = text(condition, "reason");
            errors.named(reason, reason_problems, path.child("reason"));
            if reason.len() > MAX_REASON {
                errors.push(FieldError::too_long(path.child("reason"), MAX_REASON));
            }
        }
        if text(condition, "message").len() > MAX_MESSAGE {
            errors.push(FieldError::too_long(path.child("message"), MAX_MESSAGE));
        }
    });
}

fn reason_problems(reason: &str) -> Vec<String> {
    const DETAIL: &str = "a condition reason must start with alphabetic character, optionally followed by a string of \
                          alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. \
                          'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used \
                          for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
    let is_end = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_valid = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(is_end)
        && reason.chars().all(|c| is_end(c) || c == ',' || c == ':');
    if is_valid { Vec::new() } else { vec![DETAIL.to_owned()] }
}
