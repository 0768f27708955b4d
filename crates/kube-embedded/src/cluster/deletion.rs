//! How a deletion changes an object: when it ends, and which finalizers have to be removed first.
//!
//! The rules are those of `BeforeDelete` and the store in `k8s.io/apiserver/pkg/registry`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::clock;
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Resource};
use crate::status::Status;
use crate::strategy::{self, definition};

/// The finalizer of an object that is deleted after its dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that is deleted without its dependents.
pub(crate) const ORPHAN: &str = "orphan";

/// The fields of `DeleteOptions` that matter here.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) dry_run: bool,
    /// How many seconds a Pod has to stop.
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: Propagation,
    /// A precondition: the object's uid.
    pub(crate) uid: Option<String>,
    /// A precondition: the object's resourceVersion.
    pub(crate) resource_version: Option<String>,
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// As its finalizers demand, otherwise as in the background: how this server itself deletes.
    #[default]
    Collected,
    /// Not set by the client: as its finalizers demand, otherwise the default of the kind.
    Unset,
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
    /// They are kept.
    Orphan,
}

impl DeleteOptions {
    /// Refuses to delete an object that does not match the preconditions.
    pub(crate) fn check(&self, resource: &Resource, name: &str, object: &Value) -> Result<(), Status> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        if let Some(uid) = &self.uid
            && uid != text("uid")
        {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted \
                 and then recreated",
                text("uid")
            );
            return Err(Status::conflict_of_kind(resource, name, &why));
        }
        if let Some(version) = &self.resource_version
            && version != text("resourceVersion")
        {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
                 object might have been modified",
                text("resourceVersion")
            );
            return Err(Status::conflict_of_kind(resource, name, &why));
        }
        Ok(())
    }
}

pub(super) fn before_delete(
    resource: &Resource,
    object: &mut Value,
    options: &DeleteOptions,
    now: Timestamp,
) {
    let marked = strategy::is_deleted(object);
    let asked = options.grace.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let left = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if marked && left > 0 {
        match asked {
            Some(asked) if asked < left => shorten(object, left, asked, now),
            _ => return,
        }
    } else if !marked {
        let seconds = if resource.stored_as() == PODS { grace(object, asked) } else { 0 };
        let metadata = strategy::metadata(object);
        metadata.insert("deletionTimestamp".to_owned(), clock::seconds(after(now, seconds)).into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    let mut finalizers = finalizers(resource, object, options.propagation);
    match resource.stored_as() {
        CUSTOM_RESOURCE_DEFINITIONS if !marked => {
            finalizers.push(definition::FINALIZER.into());
            definition::set_terminating(object, &clock::seconds(now));
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

/// Whether objects of this kind orphan their dependents by default: the kinds that did so before there was garbage
/// collection.
pub(crate) fn orphans_by_default(resource: &Resource) -> bool {
    matches!(
        (resource.group.as_str(), resource.version.as_str(), resource.kind.as_str()),
        ("batch", "v1", "Job") | ("", "v1", "ReplicationController")
    )
}

/// How many seconds a Pod has to stop: 0 unless it runs on a node.
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

/// Moves the end of a stopping Pod to an earlier time, but not into the past.
fn shorten(pod: &mut Value, left: i64, asked: i64, now: Timestamp) {
    let end = pod["metadata"]["deletionTimestamp"].as_str().and_then(|end| end.parse().ok()).unwrap_or(now);
    let earlier = after(end, asked - left);
    // The kubelet still has to see one second of it, unless the request does not want to wait at all.
    let seconds = if earlier < now && asked != 0 { 1 } else { asked };
    let metadata = strategy::metadata(pod);
    metadata.insert("deletionTimestamp".to_owned(), clock::seconds(earlier.max(now)).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
}

/// The object's finalizers, plus the one for its dependents.
fn finalizers(resource: &Resource, object: &Value, propagation: Propagation) -> Vec<Value> {
    let old = &object["metadata"]["finalizers"];
    let mut finalizers = old.as_array().cloned().unwrap_or_default();
    let ours = |finalizer: &Value| finalizer == ORPHAN || finalizer == FOREGROUND;
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
        Propagation::Orphan => finalizers.push(ORPHAN.into()),
        Propagation::Foreground => finalizers.push(FOREGROUND.into()),
        Propagation::Collected | Propagation::Unset | Propagation::Background => {}
    }
    finalizers
}

/// A time some seconds later, or the same time if the later one cannot be represented.
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
