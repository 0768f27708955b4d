//! PriorityClasses: `pkg/apis/scheduling/validation`.

use serde_json::Value;

use super::errors::{Errors, text};
use kube_validation::{FieldError, FieldPath};

/// The largest value of a class that is not the system's.
const HIGHEST: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2 * HIGHEST + 1000), ("system-cluster-critical", 2 * HIGHEST)];
const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn create(object: &Value, errors: &mut Errors) {
    let (name, value) = (text(&object["metadata"], "name"), value(object));
    if name.starts_with("system-") {
        let why = match SYSTEM.iter().find(|(known, _)| *known == name) {
            None => format!("{name} is not a known system priority class"),
            Some((_, expected)) if *expected != value => {
                format!("value of {name} PriorityClass must be {expected}")
            }
            Some(_) if object["globalDefault"] == true => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => String::new(),
        };
        if !why.is_empty() {
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            );
            errors.push(FieldError::forbidden("metadata.name", &detail));
        }
    } else if value > HIGHEST {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        errors.push(FieldError::forbidden("value", &detail));
    }
    errors.one_of(
        &object["preemptionPolicy"],
        &["PreemptLowerPriority", "Never"],
        ROOT.child("preemptionPolicy"),
    );
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    if value(new) != value(old) {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    let field = "preemptionPolicy";
    errors.immutable(&new[field], &old[field], ROOT.child(field));
}

fn value(object: &Value) -> i64 {
    object["value"].as_i64().unwrap_or_default()
}
