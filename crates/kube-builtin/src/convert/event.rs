//! Events: one of the core group is also one of `events.k8s.io`, whose fields differ in name.

use serde_json::Value;

use crate::decode::decode;

pub(super) const CORE: &str = "v1";
pub(super) const EVENTS: &str = "events.k8s.io/v1";

/// The names of fields in the core group and in `events.k8s.io`.
const NAMES: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// Converts an Event of the other group to the fields that it has in `api_version`.
pub(super) fn convert(object: &mut Value, api_version: &str) {
    let from = object["apiVersion"].as_str().unwrap_or_default();
    let to_core = match (from, api_version) {
        (EVENTS, CORE) => true,
        (CORE, EVENTS) => false,
        _ => return,
    };
    let Some(members) = object.as_object_mut() else { return };
    for (core, other) in NAMES {
        let (from, to) = if to_core { (other, core) } else { (core, other) };
        if let Some(value) = members.remove(from) {
            members.insert(to.to_owned(), value);
        }
    }
    members.insert("apiVersion".to_owned(), api_version.into());
    if let Some(Ok(decoded)) = decode(api_version, "Event", object) {
        *object = decoded.object;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_converted_both_ways() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "involvedObject": {"name": "b"}, "message": "c",
            "source": {"component": "d"}, "reportingComponent": "e", "count": 2,
        });
        let core = decode(CORE, "Event", &core).unwrap().unwrap().object;
        let mut other = core.clone();
        convert(&mut other, EVENTS);
        assert_eq!((&other["regarding"]["name"], &other["note"]), (&json!("b"), &json!("c")));
        assert!(other.get("message").is_none());
        convert(&mut other, CORE);
        assert_eq!(other, core);
    }
}
