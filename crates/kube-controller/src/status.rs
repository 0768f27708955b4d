//! The one status write that follows a run.

use std::sync::Mutex;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::conditions::{self, ConditionChanges, InvalidCondition};
use crate::differences::equal;
use crate::lock::lock;

/// The fields of the status that a run sets. They are written together with the conditions, by one request after the
/// run, and only if something differs.
#[derive(Debug, Default)]
pub struct StatusChanges {
    fields: Mutex<StatusFields>,
}

/// What was set.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusFields {
    values: Map<String, Value>,
    observe_generation: bool,
    /// The first value that could not be serialized.
    error: Option<StatusError>,
}

impl StatusFields {
    /// Whether nothing was set.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && !self.observe_generation && self.error.is_none()
    }
}

/// The reason why a status cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StatusError {
    #[error("the status field {field:?} cannot be serialized: {message}")]
    Serialize { field: String, message: String },
    #[error(transparent)]
    Condition(#[from] InvalidCondition),
    #[error("`.status.conditions` is set as a field and by conditions in the same run")]
    Both,
}

impl StatusChanges {
    /// Sets a field directly under `.status` as a whole; `None` removes it. The last call for a field wins.
    ///
    /// A value that cannot be serialized makes the status write of this run fail with an error that says so.
    pub fn set(&self, field: &str, value: impl Serialize) {
        let value = serde_json::to_value(value);
        let mut fields = lock(&self.fields);
        match value {
            Ok(value) => {
                fields.values.insert(field.to_owned(), value);
            }
            Err(error) => {
                let error = StatusError::Serialize { field: field.to_owned(), message: error.to_string() };
                fields.error.get_or_insert(error);
            }
        }
    }

    /// Sets `.status.observedGeneration` to the generation of the object that the run saw. This lets readers of the
    /// status know whether it is about the current spec.
    pub fn observe_generation(&self) {
        lock(&self.fields).observe_generation = true;
    }

    /// Returns what was set until now.
    pub(crate) fn fields(&self) -> StatusFields {
        lock(&self.fields).clone()
    }
}

/// Returns the JSON merge patch for the status subresource that a run asks for. `None` if the object has it all.
///
/// `object` is what the patch is computed from: the state that the run saw, or, if the server refused that with 409, the
/// one read anew, as long as its uid is the same. The patch has its version, so that what others wrote in between, such
/// as conditions, is never lost. `generation` is that of the state that the *run* saw in both cases.
///
/// What is sent must be computed from an object as the server sent it. One that went through a Rust type lacks the
/// fields that the type does not have, and the list of conditions, which is replaced as a whole, would lose them. It
/// suffices to find out that nothing is to be written.
pub(crate) fn patch(
    object: &Value,
    fields: &StatusFields,
    changes: &ConditionChanges,
    generation: Option<i64>,
    now: Timestamp,
) -> Result<Option<Value>, StatusError> {
    if let Some(error) = &fields.error {
        return Err(error.clone());
    }
    let mut wanted = fields.values.clone();
    if fields.observe_generation
        && let Some(generation) = generation
    {
        wanted.insert("observedGeneration".to_owned(), generation.into());
    }
    let old = object.get("status");
    if !changes.is_empty() {
        changes.check()?;
        if wanted.contains_key("conditions") {
            return Err(StatusError::Both);
        }
        let existing = old.and_then(|status| status.get("conditions")).and_then(Value::as_array);
        let existing = existing.map(Vec::as_slice).unwrap_or_default();
        let merged = conditions::merged(existing, changes, generation, now);
        if merged != existing {
            wanted.insert("conditions".to_owned(), merged.into());
        }
    }

    let differing = wanted.iter().filter_map(|(field, new)| {
        let old = old.and_then(|status| status.get(field));
        Some((field.clone(), merge_patch(old, new)?))
    });
    let status: Map<_, _> = differing.collect();
    if status.is_empty() {
        return Ok(None);
    }
    let metadata = |field: &str| object.get("metadata").and_then(|metadata| metadata.get(field));
    let metadata = json!({"uid": metadata("uid"), "resourceVersion": metadata("resourceVersion")});
    Ok(Some(json!({"metadata": metadata, "status": status})))
}

/// Returns the merge patch that makes `old` become `new`. `None` if they are equal. A member that is null is absent.
fn merge_patch(old: Option<&Value>, new: &Value) -> Option<Value> {
    let Value::Object(new) = new else {
        return match old {
            None if new.is_null() => None,
            Some(old) if equal(old, new) => None,
            _ => Some(new.clone()),
        };
    };
    let Some(Value::Object(old)) = old else {
        // Merged into nothing: nulls inside would be dropped by the server in any case.
        return Some(Value::Object(new.clone()));
    };
    let changed = new.iter().filter_map(|(name, new)| Some((name.clone(), merge_patch(old.get(name), new)?)));
    let gone = old.iter().filter(|(name, old)| !new.contains_key(*name) && !old.is_null());
    let gone = gone.map(|(name, _)| (name.clone(), Value::Null));
    let patch: Map<_, _> = changed.chain(gone).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use kube::api::{Patch, PatchParams, PostParams};
    use kube_embedded::Server;
    use proptest::prelude::*;

    use crate::conditions::Conditions;

    use super::*;

    fn now() -> Timestamp {
        "2026-02-02T10:20:30Z".parse().unwrap()
    }

    fn object() -> Value {
        json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "generation": 4},
            "status": {"url": "a", "counts": {"a": 1, "b": 2}, "foreign": true},
        })
    }

    fn patched(object: &Value, status: &StatusChanges, conditions: &Conditions) -> Option<Value> {
        patch(object, &status.fields(), &conditions.changes(), Some(4), now()).unwrap()
    }

    // Rule 19
    #[test]
    fn nothing_is_written_if_equal() {
        let (status, conditions) = (StatusChanges::default(), Conditions::default());
        assert_eq!(patched(&object(), &status, &conditions), None);
        status.set("url", "a");
        status.set("counts", json!({"a": 1.0, "b": 2, "none": null}));
        status.set("absent", None::<String>);
        conditions.remove("Ready");
        assert_eq!(patched(&object(), &status, &conditions), None);
    }

    #[test]
    fn a_write_names_the_version_and_uid_that_it_was_computed_from() {
        let status = StatusChanges::default();
        status.set("url", "b");
        let expected = json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "status": {"url": "b"}});
        assert_eq!(patched(&object(), &status, &Conditions::default()), Some(expected));
    }

    #[test]
    fn a_field_is_set_as_a_whole() {
        let status = StatusChanges::default();
        status.set("counts", json!({"b": 3}));
        let patch = patched(&object(), &status, &Conditions::default()).unwrap();
        assert_eq!(patch["status"], json!({"counts": {"a": null, "b": 3}}));
        status.set("counts", None::<u8>);
        let patch = patched(&object(), &status, &Conditions::default()).unwrap();
        assert_eq!(patch["status"], json!({"counts": null}));
    }

    #[test]
    fn conditions_are_part_of_the_same_write() {
        let (status, conditions) = (StatusChanges::default(), Conditions::default());
        status.observe_generation();
        conditions.set("Ready", true, "Applied", "all good");
        let patch = patched(&object(), &status, &conditions).unwrap();
        let ready = json!({"type": "Ready", "status": "True", "reason": "Applied", "message": "all good",
                           "observedGeneration": 4, "lastTransitionTime": "2026-02-02T10:20:30Z"});
        assert_eq!(patch["status"], json!({"observedGeneration": 4, "conditions": [ready]}));
    }

    #[test]
    fn the_generation_is_the_one_that_the_run_saw() {
        let (status, conditions) = (StatusChanges::default(), Conditions::default());
        status.observe_generation();
        conditions.set("Ready", true, "Applied", "");
        let mut newer = object();
        newer["metadata"]["generation"] = 5.into();
        newer["metadata"]["resourceVersion"] = "8".into();
        let patch = patched(&newer, &status, &conditions).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "8");
        assert_eq!(patch["status"]["observedGeneration"], 4);
        assert_eq!(patch["status"]["conditions"][0]["observedGeneration"], 4);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_not_a_panic() {
        let (status, conditions) = (StatusChanges::default(), Conditions::default());
        let error = |status: &StatusChanges, conditions: &Conditions| {
            patch(&object(), &status.fields(), &conditions.changes(), None, now()).unwrap_err().to_string()
        };
        conditions.set("Ready", true, "two words", "");
        assert!(error(&status, &conditions).contains("CamelCase"));
        conditions.set("Ready", true, "Fine", "");
        status.set("conditions", json!([]));
        assert_eq!(error(&status, &conditions), StatusError::Both.to_string());
        let status = StatusChanges::default();
        status.set("map", std::collections::BTreeMap::from([(vec![1], 1)]));
        assert!(error(&status, &conditions).contains("\"map\" cannot be serialized"));
    }

    // Rule 19
    #[tokio::test]
    async fn conditions_of_others_survive_a_conflict() {
        let server = Server::start();
        let api = Api::<Pod>::default_namespaced(server.client());
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
        let seen = api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let foreign = json!({"status": {"conditions": [{"type": "Foreign", "status": "True"}]}});
        let params = PatchParams::default();
        api.patch_status("a", &params, &Patch::Merge(&foreign)).await.unwrap();

        let (status, conditions) = (StatusChanges::default(), Conditions::default());
        conditions.set("example.com/Ours", true, "Applied", "");
        let seen = serde_json::to_value(&seen).unwrap();
        let ours = patched(&seen, &status, &conditions).unwrap();
        let error = api.patch_status("a", &params, &Patch::Merge(&ours)).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 409), "{error:?}");

        let live = serde_json::to_value(api.get("a").await.unwrap()).unwrap();
        assert_eq!(live["metadata"]["uid"], seen["metadata"]["uid"]);
        let ours = patched(&live, &status, &conditions).unwrap();
        let written = api.patch_status("a", &params, &Patch::Merge(&ours)).await.unwrap();
        let types: Vec<_> = written.status.as_ref().unwrap().conditions.as_ref().unwrap().iter().collect();
        let types: Vec<_> = types.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["Foreign", "example.com/Ours"]);
        let written = serde_json::to_value(written).unwrap();
        // Also if the server drops the empty message, as it does for this kind.
        assert_eq!(patched(&written, &status, &conditions), None);
    }

    /// RFC 7396.
    fn merge(old: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut merged = old.as_object().cloned().unwrap_or_default();
        for (name, patch) in patch {
            if patch.is_null() {
                merged.remove(name);
            } else {
                let new = merge(merged.get(name).unwrap_or(&Value::Null), patch);
                merged.insert(name.clone(), new);
            }
        }
        Value::Object(merged)
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (0..3_i64).prop_map(Value::from),
            Just(json!(1.0)),
            Just(json!({})),
            Just(json!([1]))
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| json!(members))
        })
    }

    proptest! {
        #[test]
        fn the_patch_makes_the_field_what_was_set_and_then_there_is_none(
            old in prop::option::of(any_value()), new in any_value(),
        ) {
            let patch = merge_patch(old.as_ref(), &new);
            let after = patch.as_ref().map_or_else(|| old.clone(), |patch| {
                Some(merge(old.as_ref().unwrap_or(&Value::Null), patch))
            });
            prop_assert!(equal(after.as_ref().unwrap_or(&Value::Null), &new), "{after:?}");
            prop_assert_eq!(merge_patch(after.as_ref(), &new), None);
        }
    }
}
