//! CustomResourceDefinitions: their status and conditions.

use kube_schema::crd::{Approval, approval};
use kube_validation::go::aggregate;
use serde_json::{Value, json};

use super::conditions;
use super::metadata::copy;

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

/// Accepts those names of a definition that no other definition of its group has, and sets the conditions. `others` are
/// the accepted names of the other definitions.
///
/// The rules are those of the naming controller, `pkg/controller/status` of apiextensions-apiserver.
pub(crate) fn accept_names(definition: &mut Value, others: &[&Value], now: &str) {
    let taken = |fields: [&str; 2], name: &Value| {
        others.iter().any(|other| {
            fields.iter().any(|field| other[field] == *name)
                || fields[0] == "plural"
                    && other["shortNames"].as_array().is_some_and(|short| short.contains(name))
        })
    };
    let (resources, kinds) = (["plural", "singular"], ["kind", "listKind"]);
    let in_use = |name: &Value| format!("{name} is already in use");
    let requested = definition["spec"]["names"].clone();
    let mut accepted = definition["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({});
    }
    // The condition reports the last conflict.
    let mut conflict = None;
    let mut accept = |field: &str, fields, reason| {
        let name = &requested[field];
        if !name.is_null() && *name != accepted[field] && taken(fields, name) {
            conflict = Some((reason, in_use(name)));
        } else if let (Some(names), false) = (accepted.as_object_mut(), name.is_null()) {
            names.insert(field.to_owned(), name.clone());
        }
    };
    accept("plural", resources, "PluralConflict");
    accept("singular", resources, "SingularConflict");
    accept("kind", kinds, "KindConflict");
    accept("listKind", kinds, "ListKindConflict");
    let conflict = match short_names(&requested, &mut accepted, |name| taken(resources, name)) {
        Some(in_use) if !matches!(conflict, Some(("KindConflict" | "ListKindConflict", _))) => {
            Some(("ShortNamesConflict", in_use))
        }
        _ => conflict,
    };
    copy(&mut accepted, &requested, "categories");
    definition["status"]["acceptedNames"] = accepted;
    match conflict {
        None => {
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

/// Sets the condition of a definition in one of Kubernetes' own groups that says whether it was approved.
///
/// The rules are those of `pkg/controller/apiapproval` of apiextensions-apiserver.
pub(crate) fn report_approval(definition: &mut Value, now: &str) {
    let Some((approval, message)) = approval(definition) else { return };
    let (is, reason) = match approval {
        Approval::Approved => (true, "ApprovedAnnotation"),
        Approval::Unapproved => (false, "UnapprovedAnnotation"),
        Approval::Missing => (false, "MissingAnnotation"),
        Approval::Invalid => (false, "InvalidAnnotation"),
    };
    set(definition, "KubernetesAPIApprovalPolicyConformant", is, reason, &message, now);
}

/// Accepts all short names, or none. Returns the message of the conflict.
fn short_names(requested: &Value, accepted: &mut Value, taken: impl Fn(&Value) -> bool) -> Option<String> {
    let names = requested["shortNames"].as_array().map_or(&[][..], Vec::as_slice);
    let own = accepted["shortNames"].as_array().map_or(&[][..], Vec::as_slice);
    let in_use = names.iter().filter(|name| !own.contains(name) && taken(name));
    let in_use: Vec<_> = in_use.map(|name| format!("{name} is already in use")).collect();
    if !in_use.is_empty() {
        return Some(aggregate(&in_use));
    }
    copy(accepted, requested, "shortNames");
    None
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
