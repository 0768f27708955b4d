//! Deployments, DaemonSets, ReplicaSets, StatefulSets, ReplicationControllers, ControllerRevisions, PodTemplates, Jobs and
//! CronJobs.

use serde_json::{Value, json};

use super::errors::{Errors, int_or_percent, items, not_more_than_all, text};
use super::{cron, pod, time_zone};
use kube_selectors::LabelSelector;
use kube_validation::{FieldError, FieldPath};

const ROOT: FieldPath<'static> = FieldPath::Root("");
const MISMATCH: &str = "`selector` does not match template `labels`";

pub(super) fn create(kind: &str, object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    match kind {
        "Deployment" => deployment(spec, &path, errors),
        "DaemonSet" => daemon_set(spec, &path, errors),
        "ReplicaSet" => replica_set(spec, &path, errors),
        "StatefulSet" => stateful_set(spec, &path, errors),
        "ReplicationController" => replication_controller(spec, &path, errors),
        "PodTemplate" => pod::template(&object["template"], &ROOT.child("template"), errors),
        "ControllerRevision" => {
            errors.not_negative(object, "revision", &ROOT);
            let detail = match &object["data"] {
                Value::Null => "data is mandatory",
                Value::Object(_) => return,
                _ => "data must be a valid JSON object",
            };
            errors.push(FieldError::required("data", detail));
        }
        "Job" => {
            job(spec, &path, errors);
            generated_selector(object, &path, errors);
        }
        "CronJob" => cron_job(object, &path, errors),
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before, path) = (&new["spec"], &old["spec"], ROOT.child("spec"));
    let selector = |errors: &mut Errors| {
        errors.immutable(&spec["selector"], &before["selector"], path.child("selector"));
    };
    match kind {
        "Deployment" | "ReplicaSet" => {
            create(kind, new, errors);
            selector(errors);
        }
        "DaemonSet" => {
            selector(errors);
            create(kind, new, errors);
        }
        "StatefulSet" => {
            create(kind, new, errors);
            stateful_set_update(spec, before, &path, errors);
        }
        "ControllerRevision" => {
            errors.not_negative(new, "revision", &ROOT);
            errors.immutable(&new["data"], &old["data"], ROOT.child("data"));
        }
        "Job" => {
            job(spec, &path, errors);
            job_labels(spec, &path, errors);
            if text(spec, "completionMode") != "Indexed" {
                errors.immutable(&spec["completions"], &before["completions"], path.child("completions"));
            }
            selector(errors);
            // Also one that has run, if it is known that none of its Pods does any more.
            let (status, is_suspended) = (&old["status"], before["suspend"] == true);
            let mut conditions = items(&status["conditions"]).iter();
            let rests = status["startTime"].is_null()
                || conditions.any(|it| it["type"] == "Suspended" && it["status"] == "True");
            let is_idle = status["active"].as_i64().unwrap_or_default() == 0;
            if !(is_suspended && rests && is_idle) {
                errors.immutable(&spec["template"], &before["template"], path.child("template"));
            }
            errors.immutable(
                &spec["completionMode"],
                &before["completionMode"],
                path.child("completionMode"),
            );
        }
        _ => create(kind, new, errors),
    }
}

/// Checks the selector of a workload, which must neither be absent nor empty.
fn selector(spec: &Value, path: &FieldPath<'_>, who: &str, errors: &mut Errors) {
    let (selector, field) = (&spec["selector"], path.child("selector"));
    if selector.is_null() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    errors.selector(selector, field);
    let is_empty = selector["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty)
        && items(&selector["matchExpressions"]).is_empty();
    if is_empty && !who.is_empty() {
        errors.push(FieldError::invalid(field, selector, &format!("empty selector is invalid for {who}")));
    }
}

/// Checks the template, which the selector must match.
fn template(spec: &Value, path: &FieldPath<'_>, may_be_empty: bool, errors: &mut Errors) {
    let field = path.child("template");
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = &spec["selector"];
    let parsed = LabelSelector::from_object(selector);
    let mismatches = match &parsed {
        // A null selector selects nothing.
        _ if selector.is_null() => true,
        // An empty selector has been refused already.
        Ok(parsed) if parsed.is_empty() && !may_be_empty => false,
        Ok(parsed) => !parsed.matches(&labels.as_object()),
        Err(_) => false,
    };
    if mismatches {
        let metadata = field.child("metadata");
        errors.push(FieldError::invalid(metadata.child("labels"), labels, MISMATCH));
    }
    pod::template(&spec["template"], &field, errors);
}

/// Checks that the pods of a template are always restarted.
fn always_restarts(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    // Unsupported policies have been refused already.
    if matches!(policy.as_str(), Some("Never" | "OnFailure")) {
        let template = path.child("template");
        let spec = template.child("spec");
        errors.push(FieldError::not_supported(spec.child("restartPolicy"), policy, &["Always"]));
    }
}

fn deployment(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.not_negative(spec, "replicas", path);
    selector(spec, path, "deployment", errors);
    if spec["selector"].is_object() && LabelSelector::from_object(&spec["selector"]).is_err() {
        errors.push(FieldError::invalid(path.child("selector"), &spec["selector"], "invalid label selector"));
    } else {
        template(spec, path, false, errors);
        always_restarts(spec, path, errors);
    }
    strategy(&spec["strategy"], &path.child("strategy"), errors);
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        errors.not_negative(spec, field, path);
    }
    let number = |field: &str| spec[field].as_i64().unwrap_or_default();
    let deadline = &spec["progressDeadlineSeconds"];
    if !deadline.is_null() && number("progressDeadlineSeconds") <= number("minReadySeconds") {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(path.child("progressDeadlineSeconds"), deadline, detail));
    }
}

fn strategy(strategy: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let rolling = path.child("rollingUpdate");
    match text(strategy, "type") {
        "Recreate" if !strategy["rollingUpdate"].is_null() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(rolling, detail));
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (surge, unavailable) =
                (&strategy["rollingUpdate"]["maxSurge"], &strategy["rollingUpdate"]["maxUnavailable"]);
            int_or_percent(unavailable, rolling.child("maxUnavailable"), errors);
            int_or_percent(surge, rolling.child("maxSurge"), errors);
            let is_zero = |value: &Value| *value == 0 || *value == "0%";
            if is_zero(surge) && is_zero(unavailable) {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(rolling.child("maxUnavailable"), unavailable, detail));
            }
            not_more_than_all(unavailable, rolling.child("maxUnavailable"), errors);
        }
        other => {
            let shown = format!(r#"{{"Type":{},"RollingUpdate":null}}"#, json!(other));
            errors.push(FieldError::not_supported_shown(path, &shown, &["Recreate", "RollingUpdate"]));
        }
    }
}

fn daemon_set(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    selector(spec, path, "daemonset", errors);
    template(spec, path, true, errors);
    always_restarts(spec, path, errors);
    let update = path.child("updateStrategy");
    errors.one_of(&spec["updateStrategy"]["type"], &["RollingUpdate", "OnDelete"], update.child("type"));
    for field in ["minReadySeconds", "revisionHistoryLimit"] {
        errors.not_negative(spec, field, path);
    }
}

fn replica_set(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.not_negative(spec, "replicas", path);
    errors.not_negative(spec, "minReadySeconds", path);
    selector(spec, path, "replicaset", errors);
    template(spec, path, false, errors);
    always_restarts(spec, path, errors);
}

fn replication_controller(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (selector, field) = (&spec["selector"], path.child("selector"));
    let is_empty = selector.as_object().is_none_or(serde_json::Map::is_empty);
    if is_empty {
        errors.push(FieldError::required(field, ""));
    }
    let (template, field) = (&spec["template"], path.child("template"));
    if template.is_null() {
        errors.push(FieldError::required(field, ""));
    } else {
        let labels = &template["metadata"]["labels"];
        if selector.as_object().into_iter().flatten().any(|(key, value)| labels[key] != *value) {
            let metadata = field.child("metadata");
            errors.push(FieldError::invalid(metadata.child("labels"), labels, MISMATCH));
        }
        pod::template(template, &field, errors);
        always_restarts(spec, path, errors);
        if !template["spec"]["activeDeadlineSeconds"].is_null() {
            let detail = "activeDeadlineSeconds in ReplicationController is not Supported";
            let spec = field.child("spec");
            errors.push(FieldError::forbidden(spec.child("activeDeadlineSeconds"), detail));
        }
    }
    // kube-apiserver checks these rules, which are declared in tags, after those that are implemented in code.
    for field in ["replicas", "minReadySeconds"] {
        errors.not_negative(spec, field, path);
    }
}

fn stateful_set(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let policy = &spec["podManagementPolicy"];
    if !matches!(policy.as_str(), Some("OrderedReady" | "Parallel")) {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid(path.child("podManagementPolicy"), policy, detail));
    }
    for field in ["replicas", "minReadySeconds"] {
        errors.not_negative(spec, field, path);
    }
    selector(spec, path, "statefulset", errors);
    template(spec, path, false, errors);
    always_restarts(spec, path, errors);
}

fn stateful_set_update(spec: &Value, before: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAY_CHANGE: [&str; 8] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "serviceName",
    ];
    errors.immutable(&spec["serviceName"], &before["serviceName"], path.child("serviceName"));
    let rest = |spec: &Value| {
        let mut rest = spec.clone();
        if let Some(members) = rest.as_object_mut() {
            members.retain(|field, _| !MAY_CHANGE.contains(&field.as_str()));
        }
        rest
    };
    if rest(spec) != rest(before) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(path, detail));
    }
}

fn job(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"]
    {
        errors.not_negative(spec, field, path);
    }
    errors.one_of(&spec["completionMode"], &["NonIndexed", "Indexed"], path.child("completionMode"));
    if text(spec, "completionMode") == "Indexed" && spec["completions"].is_null() {
        let detail = "when completion mode is Indexed";
        errors.push(FieldError::required(path.child("completions"), detail));
    }
    let template = path.child("template");
    let pod = template.child("spec");
    pod::template(&spec["template"], &template, errors);
    match text(&spec["template"]["spec"], "restartPolicy") {
        "Always" | "" => {
            let detail = r#"valid values: "OnFailure", "Never""#;
            errors.push(FieldError::required(pod.child("restartPolicy"), detail));
        }
        _ => {}
    }
}

/// Checks that a Job has the selector that was generated for it, unless the selector is manual.
fn generated_selector(object: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let spec = &object["spec"];
    let selector = &spec["selector"];
    let field = path.child("selector");
    if spec["manualSelector"] != true {
        let own = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": object["metadata"]["uid"]}});
        if *selector != own {
            errors.push(FieldError::invalid(field, selector, "`selector` not auto-generated"));
        }
    }
    job_labels(spec, path, errors);
}

fn job_labels(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = LabelSelector::from_object(&spec["selector"]);
    // A null selector selects nothing; a malformed one has been refused already.
    if spec["selector"].is_null() || selector.is_ok_and(|selector| !selector.matches(&labels.as_object())) {
        let template = path.child("template");
        let metadata = template.child("metadata");
        errors.push(FieldError::invalid(metadata.child("labels"), labels, MISMATCH));
    }
}

fn cron_job(object: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let spec = &object["spec"];
    let schedule = text(spec, "schedule");
    let field = path.child("schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(field, &spec["schedule"], detail));
    } else if let Some(why) = cron::wrong(schedule) {
        errors.push(FieldError::invalid(field, &spec["schedule"], &why));
    }
    errors.not_negative(spec, "startingDeadlineSeconds", path);
    if let Some(zone) = spec["timeZone"].as_str() {
        errors.named(zone, time_zone::problems, path.child("timeZone"));
    }
    let policies = ["Allow", "Forbid", "Replace"];
    errors.one_of(&spec["concurrencyPolicy"], &policies, path.child("concurrencyPolicy"));
    let template = path.child("jobTemplate");
    job(&spec["jobTemplate"]["spec"], &template.child("spec"), errors);
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.not_negative(spec, field, path);
    }
    let name = text(&object["metadata"], "name");
    // The name of a Job is this name and eleven more characters.
    if name.len() > 52 {
        let detail = "must be no more than 52 characters";
        errors.push(FieldError::invalid("metadata.name", &name.into(), detail));
    }
}
