//! CustomResourceDefinitions: their names are accepted, they are served, and they end after their instances.

use serde_json::{Value, json};

use crate::api::{Api, DeleteOptions, delete_object};
use crate::apply::{self, Types, Writer};
use crate::lifecycle::is_deleted;
use crate::registry::{CRDS, Registry, custom_resources};
use crate::store::Range;

/// What keeps a definition until its instances are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Accepts a definition's names and serves its resources; returns when they are served.
pub(crate) fn serve(api: &Api, name: &str) {
    // The write below may meet another one of the same definition, which then comes here itself.
    let Some(stored) = api.store.get(CRDS, name) else { return };
    let old = stored.value();
    let mut new = old.clone();
    let now = api.clock.seconds();
    match api.registry(|registry| conflict(registry, name, &new)) {
        None => {
            let names = new["spec"]["names"].clone();
            new["status"]["acceptedNames"] = names;
            set_condition(&mut new, "NamesAccepted", true, "NoConflicts", "no conflicts found", &now);
            if !is_established(&new) && !is_deleted(&new) {
                let message = "the initial names have been accepted";
                set_condition(&mut new, "Established", true, "InitialNamesAccepted", message, &now);
            }
        }
        Some((reason, message)) => {
            set_condition(&mut new, "NamesAccepted", false, reason, &message, &now);
            if !is_established(&new) {
                let message = "not all names are accepted";
                set_condition(&mut new, "Established", false, "NotAccepted", message, &now);
            }
        }
    }
    api.change_registry(|registry| {
        let before = registry.versions(name);
        let served = match is_established(&new) {
            true => custom_resources(&new, api.store.revision(), before.as_ref()),
            false => Vec::new(),
        };
        // Who watches objects of another make watches again, from now on.
        if let Some(first) = served.first()
            && !before.is_some_and(|before| before.are_of(&new))
        {
            api.store.renew(&first.collection);
        }
        registry.set(name, served);
    });
    if new != old {
        let writer = Writer {
            manager: "kube-apiserver",
            subresource: "status",
            api_version: "apiextensions.k8s.io/v1",
            time: api.clock.now(),
            reset: &[],
        };
        apply::track(
            Types::builtin(writer.api_version, "CustomResourceDefinition"),
            Some(&old),
            &mut new,
            &writer,
        );
        if api.store.update(&CRDS.into(), name, stored.revision, &new).is_err() {
            return serve(api, name);
        }
    }
    if is_deleted(&new) {
        api.enqueue(super::Work::Definition(name.to_owned()));
    }
}

/// No longer serves a definition that is gone.
pub(crate) fn withdraw(api: &Api, name: &str, last: &Value) {
    api.change_registry(|registry| registry.set(name, Vec::new()));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let collection = format!("{}/{}", text(&last["spec"]["group"]), text(&last["spec"]["names"]["plural"]));
    api.store.reset(&collection.into());
}

/// Says that a definition is being deleted.
pub(crate) fn mark_terminating(definition: &mut Value, now: &str) {
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will be issued soon";
    set_condition(definition, "Terminating", true, "InstanceDeletionPending", message, now);
}

/// Deletes the instances of a definition that is being deleted, and then lets the definition go.
pub(super) async fn finalize(api: &Api, name: &str) {
    let Some(stored) = api.store.get(CRDS, name).filter(|stored| stored.deleted) else { return };
    let resource = api.registry(|registry| registry.defined(name).first().cloned());
    if let Some(resource) = resource {
        let Ok(page) = api.store.list(&resource.collection, Range::default(), None) else { return };
        for object in page.objects {
            let (namespace, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
            // One that is gone already is as good as deleted.
            let _ = delete_object(api, &resource, namespace, name, &DeleteOptions::default());
            // There may be many.
            tokio::task::yield_now().await;
        }
        if api.store.count(&resource.collection, "") > 0 {
            // Instances with finalizers: the definition is looked at again when they are gone.
            return;
        }
    }
    let mut last = stored.value();
    let finalizers = last["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let left: Vec<Value> = finalizers.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
    let done = if left.is_empty() {
        api.store.delete(&CRDS.into(), name, stored.revision).map(|_| withdraw(api, name, &last))
    } else {
        last["metadata"]["finalizers"] = left.into();
        api.store.update(&CRDS.into(), name, stored.revision, &last).map(|_| ())
    };
    if done.is_err() {
        // Changed in between.
        api.enqueue(super::Work::Definition(name.to_owned()));
    }
}

/// Which of a definition's names another one of its group has: the condition's reason and message.
fn conflict(registry: &Registry, definition: &str, object: &Value) -> Option<(&'static str, String)> {
    let spec = &object["spec"];
    let group = spec["group"].as_str().unwrap_or_default();
    let others = || registry.custom_of_group(group, definition);
    let names = &spec["names"];
    let taken = |name: &str| {
        others()
            .any(|it| it.plural == name || it.singular == name || it.short_names.iter().any(|it| it == name))
    };
    let kind_taken = |name: &str| others().any(|it| it.kind == name || it.list_kind == name);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (field, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        if taken(&text(&names[field])) {
            return Some((reason, in_use(&text(&names[field]))));
        }
    }
    for short in names["shortNames"].as_array().into_iter().flatten() {
        if taken(&text(short)) {
            return Some(("ShortNamesConflict", in_use(&text(short))));
        }
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        if kind_taken(&text(&names[field])) {
            return Some((reason, in_use(&text(&names[field]))));
        }
    }
    None
}

/// Whether a definition is served.
pub(crate) fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|it| it["type"] == "Established" && it["status"] == "True")
}

fn set_condition(definition: &mut Value, kind: &str, is: bool, reason: &str, message: &str, now: &str) {
    let status = if is { "True" } else { "False" };
    let condition = json!({
        "type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message,
    });
    if !definition["status"]["conditions"].is_array() {
        definition["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = definition["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|it| it["type"] == kind) {
        Some(old) if old["status"] == status && old["reason"] == reason && old["message"] == message => {}
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}
