//! The status of Jobs, which their own controller or another one writes: `pkg/apis/batch/validation`.
//!
//! As in kube-apiserver, most rules only hold for what a write changes.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::errors::{Errors, items, text};
use kube_validation::{FieldError, FieldPath, go};

const PATH: FieldPath<'static> = FieldPath::Root("status");

/// A Job with a status.
#[derive(Clone, Copy)]
struct Job<'a> {
    spec: &'a Value,
    status: &'a Value,
}

impl<'a> Job<'a> {
    fn of(object: &'a Value) -> Self {
        Self { spec: &object["spec"], status: &object["status"] }
    }

    fn has(self, condition: &str, status: &str) -> bool {
        let is_it = |it: &Value| it["type"] == condition && it["status"] == status;
        items(&self.status["conditions"]).iter().any(is_it)
    }

    fn is(self, condition: &str) -> bool {
        self.has(condition, "True")
    }

    fn is_finished(self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn count(self, field: &str) -> i64 {
        self.status[field].as_i64().unwrap_or_default()
    }

    fn time(self, field: &str) -> Option<&'a str> {
        self.status[field].as_str()
    }

    fn is_indexed(self) -> bool {
        text(self.spec, "completionMode") == "Indexed"
    }
}

/// Checks a status that replaces that of `old`.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (job, before) = (Job::of(new), Job::of(old));
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        errors.not_negative(job.status, field, &PATH);
    }
    uncounted(&job.status["uncountedTerminatedPods"], errors);
    end(job, before, errors);
    indexes(job, before, errors);
    let changed = |field: &str| job.status[field] != before.status[field];
    let finishes = job.is_finished() != before.is_finished();
    if (finishes || changed("terminating")) && job.is_finished() && job.count("terminating") > 0 {
        invalid(
            "terminating",
            &job.status["terminating"],
            "terminating>0 is invalid for finished job",
            errors,
        );
    }
    let ready = &job.status["ready"];
    if (changed("ready") || changed("active")) && job.count("ready") > job.count("active") {
        invalid("ready", ready, "cannot set more ready pods than active", errors);
    }
    let meets = job.is("SuccessCriteriaMet");
    for other in ["Failed", "FailureTarget"] {
        if meets && job.is(other) {
            conditions(&format!("cannot set SuccessCriteriaMet=True and {other}=true conditions"), errors);
        }
    }
    if !job.spec["successPolicy"].is_null() && !meets && job.is("Complete") {
        let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        conditions(detail, errors);
    }
    transition(job, before, errors);
}

fn invalid(field: &str, value: &Value, detail: &str, errors: &mut Errors) {
    errors.push(FieldError::invalid(PATH.child(field), value, detail));
}

fn conditions(detail: &str, errors: &mut Errors) {
    errors.push(FieldError::invalid_omitted(PATH.child("conditions"), detail));
}

/// Checks the UIDs of Pods that have ended and are not counted yet.
fn uncounted(pods: &Value, errors: &mut Errors) {
    let (path, mut known) = (PATH.child("uncountedTerminatedPods"), HashSet::new());
    for field in ["succeeded", "failed"] {
        errors.each(pods, field, &path, |uid, path, errors| {
            if *uid == "" {
                errors.push(FieldError::invalid(path, uid, "must not be empty"));
            } else if !known.insert(uid.clone()) {
                errors.push(FieldError::duplicate(path, uid));
            }
        });
    }
}

/// Checks that the conditions, times and numbers of a Job that ends agree.
fn end(job: Job<'_>, before: Job<'_>, errors: &mut Errors) {
    let changed = |field: &str| job.status[field] != before.status[field];
    let became = |condition: &str| job.is(condition) != before.is(condition);
    let (complete, failed, finished) = (job.is("Complete"), job.is("Failed"), job.is_finished());
    for other in ["Failed", "FailureTarget"] {
        if (became("Complete") || became(other)) && complete && job.is(other) {
            conditions(&format!("cannot set Complete=True and {other}=true conditions"), errors);
        }
    }
    let (start, completion) = (job.time("startTime"), job.time("completionTime"));
    if became("Complete") || changed("completionTime") {
        if let Some(time) = completion.filter(|_| !complete) {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            invalid("completionTime", &time.into(), detail, errors);
        }
        if completion.is_none() && complete {
            let detail = "completionTime is required for Complete jobs";
            errors.push(FieldError::required(PATH.child("completionTime"), detail));
        }
    }
    if let (Some(start), Some(completion)) = (start, completion)
        && (changed("startTime") || changed("completionTime"))
        && completion < start
    {
        invalid("completionTime", &completion.into(), "must be equal to or after `startTime`", errors);
    }
    if (became("Failed") || changed("failedIndexes")) && failed && !job.is("FailureTarget") {
        conditions("cannot set Failed=True condition without the FailureTarget=true condition", errors);
    }
    let criteria = "SuccessCriteriaMet";
    if (became("Complete") || became(criteria)) && complete && !job.is(criteria) {
        conditions(
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            errors,
        );
    }
    let finishes = finished != before.is_finished();
    if (finishes || changed("active")) && finished && job.count("active") > 0 {
        invalid("active", &job.status["active"], "active>0 is invalid for finished job", errors);
    }
    let never_runs = job.spec["suspend"] == true && job.spec["completions"] == 0;
    if (finishes || changed("startTime")) && !never_runs && finished && start.is_none() {
        let detail = "startTime is required for finished job";
        errors.push(FieldError::required(PATH.child("startTime"), detail));
    }
    let pods = &job.status["uncountedTerminatedPods"];
    let some = ["succeeded", "failed"].iter().any(|field| !items(&pods[*field]).is_empty());
    if (finishes || changed("uncountedTerminatedPods")) && finished && some {
        let shown = |field: &str| go::json(&pods[field]);
        let shown = format!(r#"{{"Succeeded":{},"Failed":{}}}"#, shown("succeeded"), shown("failed"));
        let path = PATH.child("uncountedTerminatedPods");
        errors.push(FieldError::invalid_shown(path, &shown, "must be empty for finished job"));
    }
}

/// Checks which indexes of an indexed Job are done, and which have failed.
fn indexes(job: Job<'_>, before: Job<'_>, errors: &mut Errors) {
    let (completed, failed) = (text(job.status, "completedIndexes"), job.status["failedIndexes"].as_str());
    let changed = |field: &str| text(job.status, field) != text(before.status, field);
    let failed_changed = job.status["failedIndexes"] != before.status["failedIndexes"];
    let completions = job.spec["completions"].as_i64();
    let per_index = !job.spec["backoffLimitPerIndex"].is_null();
    let mut check = |field: &str, text: &str| {
        if let Some(Err(why)) = completions.map(|completions| intervals(text, completions)) {
            invalid(field, &text.into(), &format!("error parsing {field}: {why}"), errors);
        }
    };
    if changed("completedIndexes") {
        check("completedIndexes", completed);
    }
    if let Some(failed) = failed.filter(|_| failed_changed && per_index) {
        check("failedIndexes", failed);
    }
    if changed("completedIndexes") && !completed.is_empty() && !job.is_indexed() {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        invalid("completedIndexes", &completed.into(), detail, errors);
    }
    let Some(failed) = failed else { return };
    if failed_changed && !per_index {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        invalid("failedIndexes", &failed.into(), detail, errors);
    }
    if (failed_changed || changed("completedIndexes"))
        && let Some(completions) = completions
        && let (Ok(completed), Ok(wrong)) =
            (intervals(completed, completions), intervals(failed, completions))
        && let Some(index) = overlap(&completed, &wrong)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        invalid("failedIndexes", &failed.into(), &detail, errors);
    }
}

/// Reads intervals of indexes: `0,2-4`.
fn intervals(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut all: Vec<(i64, i64)> = Vec::new();
    if text.is_empty() {
        return Ok(all);
    }
    let number = |text: &str| match text.parse() {
        Err(_) => Err(format!("cannot convert string to integer for index: {}", go::quote(text))),
        Ok(index) if index >= completions => Err(format!("too large index: {}", go::quote(text))),
        Ok(index) => Ok(index),
    };
    let order = |before: i64, now: i64| {
        let message = || format!("non-increasing order, previous: {before}, current: {now}");
        if before < now { Ok(()) } else { Err(message()) }
    };
    for interval in text.split(',') {
        let parts: Vec<_> = interval.split('-').collect();
        let (first, last) = match parts[..] {
            [one] => (number(one)?, number(one)?),
            [first, last] => {
                let ends = (number(first)?, number(last)?);
                order(ends.0, ends.1)?;
                ends
            }
            _ => {
                return Err(format!(
                    "the fragment {} violates the requirement that an index interval can have at most two parts separated \
                     by '-'",
                    go::quote(interval)
                ));
            }
        };
        if let Some((_, before)) = all.last() {
            order(*before, first)?;
        }
        all.push((first, last));
    }
    Ok(all)
}

/// Returns the first index that is in both. The intervals of each are in order, and apart.
fn overlap(some: &[(i64, i64)], others: &[(i64, i64)]) -> Option<i64> {
    let mut others = others.iter().peekable();
    some.iter().find_map(|(first, last)| {
        while others.next_if(|(_, to)| to < first).is_some() {}
        others.peek().filter(|(from, _)| from <= last).map(|(from, _)| *from.max(first))
    })
}

/// Refuses changes that turn back what has happened.
fn transition(job: Job<'_>, before: Job<'_>, errors: &mut Errors) {
    for condition in ["Failed", "Complete", "FailureTarget"] {
        if before.is(condition) && !job.is(condition) {
            conditions(&format!("cannot disable the terminal {condition}=True condition"), errors);
        }
    }
    // An indexed Job that runs all of its Pods at once can become smaller.
    let can_shrink = job.is_indexed() && job.spec["completions"] == job.spec["parallelism"];
    for field in ["failed", "succeeded"] {
        let decreases = job.count(field) < before.count(field);
        if decreases && (field == "failed" || !can_shrink) {
            let detail = format!("cannot decrease the {field} counter");
            invalid(field, &json!(job.count(field)), &detail, errors);
        }
    }
    let completion = job.time("completionTime");
    if before.time("completionTime").is_some_and(|old| completion.is_some_and(|new| new != old)) {
        errors.immutable(
            &job.status["completionTime"],
            &before.status["completionTime"],
            PATH.child("completionTime"),
        );
    }
    let resumes = before.is("Suspended") && job.has("Suspended", "False");
    let starts_again =
        before.time("startTime").is_some() && job.status["startTime"] != before.status["startTime"];
    if starts_again && !resumes && job.spec["suspend"] != true {
        let detail = "field is immutable for unsuspended job once set";
        invalid("startTime", &job.status["startTime"], detail, errors);
    }
    let criteria = "SuccessCriteriaMet";
    if before.is(criteria) && !job.is(criteria) {
        conditions("cannot disable the SuccessCriteriaMet=True condition", errors);
    }
    if before.is("Complete") && !before.is(criteria) && job.is(criteria) {
        let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        conditions(detail, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_indexes_are_read() {
        assert_eq!(intervals("", 3), Ok(vec![]));
        assert_eq!(intervals("0,2-4", 5), Ok(vec![(0, 0), (2, 4)]));
        for (wrong, why) in [
            ("0-3", "too large index: \"3\""),
            ("2,1", "non-increasing order, previous: 2, current: 1"),
            ("-1", "cannot convert string to integer for index: \"\""),
        ] {
            assert_eq!(intervals(wrong, 3), Err(why.to_owned()));
        }
    }

    #[test]
    fn failed_indexes_are_not_completed() {
        assert_eq!(overlap(&[(0, 1), (4, 6)], &[(2, 3), (5, 5)]), Some(5));
        assert_eq!(overlap(&[(0, 1)], &[(2, 3)]), None);
    }
}
