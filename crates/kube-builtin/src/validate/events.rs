//! Events: `pkg/apis/core/validation/events.go`. The rules of `events.k8s.io` are stricter than those of the core group.

use serde_json::{Value, json};

use super::errors::{Errors, text};
use crate::convert;
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn create(group: &str, event: &Value, errors: &mut Errors) {
    let event = &in_core(event);
    legacy(group, event, errors);
    if group.is_empty() {
        return;
    }
    series(event, errors);
    if event["eventTime"].is_null() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let mut wrong = |field: &str, detail: &str| {
        errors.push(FieldError::invalid(field, &"".into(), detail));
    };
    let kind = text(event, "type");
    if !["Normal", "Warning"].contains(&kind) {
        wrong("type", &format!("has invalid value: {kind}"));
    }
    for field in ["firstTimestamp", "lastTimestamp"] {
        if !event[field].is_null() {
            wrong(field, "needs to be unset");
        }
    }
    if event["count"].as_i64().is_some_and(|count| count != 0) {
        wrong("count", "needs to be unset");
    }
    if ["component", "host"].iter().any(|field| !text(&event["source"], field).is_empty()) {
        wrong("source", "needs to be unset");
    }
}

pub(super) fn update(group: &str, new: &Value, old: &Value, errors: &mut Errors) {
    const IMMUTABLE: [&str; 14] = [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "reason",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    let (new, old) = (&in_core(new), &in_core(old));
    legacy(group, new, errors);
    if group.is_empty() {
        return;
    }
    if new["series"] != old["series"] {
        series(new, errors);
    }
    for field in IMMUTABLE {
        let name = if field == "reportingComponent" { "reportingController" } else { field };
        errors.immutable(&new[field], &old[field], ROOT.child(name));
    }
}

/// Returns an Event with the field names of the core group, which are those of kube-apiserver's messages.
fn in_core(event: &Value) -> Value {
    let mut event = event.clone();
    convert(&mut event, "v1");
    event
}

fn series(event: &Value, errors: &mut Errors) {
    let series = &event["series"];
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or_default() < 2 {
        errors.push(FieldError::invalid("series.count", &"".into(), "should be at least 2"));
    }
    if series["lastObservedTime"].is_null() {
        errors.push(FieldError::required("series.lastObservedTime", ""));
    }
}

/// Checks what both groups require.
fn legacy(group: &str, event: &Value, errors: &mut Errors) {
    let (namespace, about) =
        (text(&event["metadata"], "namespace"), text(&event["involvedObject"], "namespace"));
    let is_new = !event["eventTime"].is_null();
    let fits = match about {
        "" if is_new => ["default", "kube-system"].contains(&namespace),
        "" => ["", "default"].contains(&namespace),
        about => is_new || namespace == about,
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", &json!(about), detail));
    }
    if !is_new {
        return;
    }
    let controller = if group.is_empty() { "reportingComponent" } else { "reportingController" };
    let reporter = text(event, "reportingComponent");
    if reporter.is_empty() {
        errors.push(FieldError::required(controller, ""));
    }
    errors.named(reporter, names::qualified_name, ROOT.child(controller));
    for (field, max) in [("reportingInstance", 128), ("action", 128), ("reason", 128)] {
        errors.required(event, field, &ROOT, "");
        at_most(event, field, max, errors);
    }
    at_most(event, "message", 1024, errors);
}

fn at_most(event: &Value, field: &str, max: usize, errors: &mut Errors) {
    if text(event, field).len() > max {
        let detail = format!("can have at most {max} characters");
        errors.push(FieldError::invalid(field, &"".into(), &detail));
    }
}
