//! CustomResourceDefinitions: their status and conditions.

use serde_json::{Value, json};

use super::conditions;

/// The finalizer that keeps a definition until its instances are removed.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Sets the initial status of a definition.
pub(super) fn prepare_create(definition: &mut Value) {
    let storage = definition["spec"]["versions"]
        .as_array()
        .and_then(|versions| versions.iter().find(|version| version["storage"] == true))
        .map(|version| version["name"].clone());
    definition["status"] = json!({
        "acceptedNames": {"kind": "", "plural": ""},
        "conditions": null,
        "storedVersions": storage.into_iter().collect::<Vec<_>>(),
    });
}

/// Adds the storage version to the stored versions of a definition, because objects may be stored in it.
pub(super) fn prepare_update(definition: &mut Value) {
    let versions = definition["spec"]["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(storage) = versions.iter().find(|version| version["storage"] == true) else { return };
    let name = storage["name"].clone();
    if let Some(Value::Array(stored)) = definition.pointer_mut("/status/storedVersions")
        && !stored.contains(&name)
    {
        stored.push(name);
    }
}

/// Whether a definition is served.
pub(crate) fn is_established(definition: &Value) -> bool {
    conditions::is(definition, "Established", "True")
}

/// Accepts the names of a definition, or records the conflict: the reason and the message of the condition.
pub(crate) fn set_names_accepted(definition: &mut Value, conflict: Option<(&str, String)>, now: &str) {
    match conflict {
        None => {
            definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
            set(definition, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
            if !is_established(definition) && !super::is_deleted(definition) {
                let message = "the initial names have been accepted";
                set(definition, "Established", true, "InitialNamesAccepted", message, now);
            }
        }
        Some((reason, message)) => {
            set(definition, "NamesAccepted", false, reason, &message, now);
            if !is_established(definition) {
                set(definition, "Established", false, "NotAccepted", "not all names are accepted", now);
            }
        }
    }
}

/// Marks a definition as being deleted.
pub(crate) fn set_terminating(definition: &mut Value, now: &str) {
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will be issued soon";
    set(definition, "Terminating", true, "InstanceDeletionPending", message, now);
}

fn set(definition: &mut Value, kind: &str, is: bool, reason: &str, message: &str, now: &str) {
    let status = if is { "True" } else { "False" };
    let condition = json!({"type": kind, "status": status, "reason": reason, "message": message});
    conditions::set(definition, condition, now);
}
