//! One stored object in several versions, whose fields differ: Events and HorizontalPodAutoscalers.

mod autoscaler;
mod event;

use serde_json::Value;

/// Returns the group under which a resource's objects are stored: Events of `events.k8s.io` are those of the core group.
pub fn storage_group<'a>(group: &'a str, plural: &str) -> &'a str {
    if (group, plural) == ("events.k8s.io", "events") { "" } else { group }
}

/// Returns the `apiVersion` in which a version of a kind is stored, if its objects have other fields there. Events are stored
/// in both of their versions.
pub fn storage_version(api_version: &str, kind: &str) -> Option<&'static str> {
    ((api_version, kind) == (autoscaler::V1, autoscaler::KIND)).then_some(autoscaler::V2)
}

/// Returns the `apiVersion`s of a kind that has other fields in each of them, and none for other kinds.
pub fn versions(api_version: &str, kind: &str) -> &'static [&'static str] {
    match (api_version, kind) {
        (autoscaler::V1 | autoscaler::V2, autoscaler::KIND) => &[autoscaler::V1, autoscaler::V2],
        (event::CORE | event::EVENTS, "Event") => &[event::CORE, event::EVENTS],
        _ => &[],
    }
}

/// Converts an Event or a HorizontalPodAutoscaler of another version to the fields that it has in `api_version`. Other objects do
/// not change.
pub fn convert(object: &mut Value, api_version: &str) {
    match object["kind"].as_str() {
        Some("Event") => event::convert(object, api_version),
        Some(autoscaler::KIND) => autoscaler::convert(object, api_version),
        _ => {}
    }
}

/// Gives an autoscaler of version 1 what it gets from its conversion: a default of its target, and annotations that say what only
/// version 2 has.
pub(crate) fn canonical(object: &mut Value) {
    if object["apiVersion"] == autoscaler::V1 {
        autoscaler::convert(object, autoscaler::V2);
        autoscaler::convert(object, autoscaler::V1);
    } else {
        autoscaler::drop_annotations(object);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_objects_stay_as_they_are() {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "message": "a"});
        convert(&mut pod, "events.k8s.io/v1");
        assert_eq!(pod["message"], "a");
    }
}
