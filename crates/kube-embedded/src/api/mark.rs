//! What a deletion makes of an object: when it ends, and by finalizers what has to come first.
//!
//! The rules are those of `BeforeDelete` and of the store in `k8s.io/apiserver/pkg/registry`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::delete_options::{DeleteOptions, Propagation};
use crate::clock;
use crate::controllers::{definition, garbage};
use crate::lifecycle::{self, NAMESPACES, PODS};
use crate::registry::{CRDS, Resource};
use crate::strategy;

/// Marks an object as deleted. A Pod that stops already can only be asked to be quicker.
pub(super) fn mark(resource: &Resource, object: &mut Value, options: &DeleteOptions, now: Timestamp) {
    let marked = lifecycle::is_deleted(object);
    let asked = options.grace.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let left = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if marked && left > 0 {
        match asked {
            Some(asked) if asked < left => shorten(object, left, asked, now),
            _ => return,
        }
    } else if !marked {
        let seconds = if &*resource.collection == PODS { grace(object, asked) } else { 0 };
        let metadata = strategy::metadata(object);
        metadata.insert("deletionTimestamp".to_owned(), clock::seconds(after(now, seconds)).into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    let mut finalizers = finalizers(resource, object, options.propagation);
    match &*resource.collection {
        CRDS if !marked => {
            finalizers.push(definition::FINALIZER.into());
            definition::mark_terminating(object, &clock::seconds(now));
        }
        NAMESPACES if !marked => {
            strategy::metadata(object).remove("deletionGracePeriodSeconds");
            object["status"]["phase"] = "Terminating".into();
        }
        _ => {}
    }
    let metadata = strategy::metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Whether objects of this kind leave behind what they own when nobody says otherwise: those that did so before there
/// was garbage collection.
pub(super) fn orphans_by_default(resource: &Resource) -> bool {
    matches!(
        (resource.group.as_str(), resource.version.as_str(), resource.kind.as_str()),
        ("batch", "v1", "Job") | ("", "v1", "ReplicationController")
    )
}

/// How many seconds a Pod gets to stop: none, unless there is a node that runs it.
fn grace(pod: &Value, asked: Option<i64>) -> i64 {
    let nowhere = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if nowhere || matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return 0;
    }
    let own = || pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
    match asked.unwrap_or_else(own) {
        ..0 => 1,
        seconds => seconds,
    }
}

/// Moves the end of a Pod that stops to an earlier time, though not into the past.
fn shorten(pod: &mut Value, left: i64, asked: i64, now: Timestamp) {
    let end = pod["metadata"]["deletionTimestamp"].as_str().and_then(|end| end.parse().ok()).unwrap_or(now);
    let earlier = after(end, asked - left);
    // Who runs it still has to see a second of it, unless nobody is to wait.
    let seconds = if earlier < now && asked != 0 { 1 } else { asked };
    let metadata = strategy::metadata(pod);
    metadata.insert("deletionTimestamp".to_owned(), clock::seconds(earlier.max(now)).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
}

/// The object's finalizers, and what of its dependents has to be done before it is gone.
fn finalizers(resource: &Resource, object: &Value, propagation: Propagation) -> Vec<Value> {
    let old = &object["metadata"]["finalizers"];
    let mut finalizers = old.as_array().cloned().unwrap_or_default();
    let ours = |finalizer: &Value| finalizer == garbage::ORPHAN || finalizer == garbage::FOREGROUND;
    let propagation = match propagation {
        Propagation::Unset if orphans_by_default(resource) && !finalizers.iter().any(ours) => {
            Propagation::Orphan
        }
        other => other,
    };
    if !matches!(propagation, Propagation::Collected | Propagation::Unset) {
        finalizers.retain(|finalizer| !ours(finalizer));
    }
    match propagation {
        Propagation::Orphan => finalizers.push(garbage::ORPHAN.into()),
        Propagation::Foreground => finalizers.push(garbage::FOREGROUND.into()),
        Propagation::Collected | Propagation::Unset | Propagation::Background => {}
    }
    finalizers
}

/// Some seconds later; at the end of time, then.
fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_gets_time_where_a_node_runs_it() {
        let pod = |node: &str, phase: &str| json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}});
        assert_eq!(grace(&pod("n", "Running"), None), 30);
        assert_eq!(grace(&pod("n", "Running"), Some(5)), 5);
        assert_eq!(grace(&pod("n", "Running"), Some(0)), 0);
        assert_eq!(grace(&pod("", "Pending"), Some(5)), 0);
        assert_eq!(grace(&pod("n", "Succeeded"), None), 0);
    }

    #[test]
    fn the_end_moves_earlier_and_not_into_the_past() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().unwrap();
        let stops = |left: i64, asked: i64| {
            let mut pod = json!({"metadata": {
                "deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": left,
            }});
            shorten(&mut pod, left, asked, now);
            let end = pod["metadata"]["deletionTimestamp"].as_str().unwrap().to_owned();
            (end, pod["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap())
        };
        let at = |second: u32, left: i64| (format!("2026-01-01T00:00:{second}Z"), left);
        assert_eq!(stops(30, 25), at(25, 25));
        assert_eq!(stops(30, 5), at(20, 1));
        assert_eq!(stops(30, 0), at(20, 0));
    }
}
