//! What a write of one object means for others: namespaces that must be there, names that are made up, definitions
//! that become resources, work for the controllers.

use std::sync::Arc;

use serde_json::Value;

use crate::api::Api;
use crate::controllers::{Work, definition, garbage};
use crate::registry::{CRDS, Resource, custom_resources};
use crate::status::{Cause, Status};
use crate::store::Range;

/// The collection of namespaces.
pub(crate) const NAMESPACES: &str = "/namespaces";

/// Refuses new objects in a namespace that is not there, or will not be for long.
pub(crate) fn admit(api: &Api, resource: &Resource, namespace: &str, name: &str) -> Result<(), Status> {
    if !resource.namespaced {
        return Ok(());
    }
    let Some(stored) = api.store.get(NAMESPACES, namespace) else {
        return Err(Status::not_found("", "namespaces", namespace));
    };
    if !is_deleted(&stored.value()) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    Err(Status::forbidden(&resource.group, &resource.plural, name, &why).because(vec![cause]))
}

/// A name for `metadata.generateName`: it and five random characters, no longer than a name may be.
pub(crate) fn generate_name(base: &str) -> String {
    // As apimachinery's: no vowels, so that no words come out.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const LENGTH: usize = 5;
    const MAX: usize = 63 - LENGTH;
    let base = base.char_indices().nth(MAX).map_or(base, |(end, _)| &base[..end]);
    let random = uuid::Uuid::new_v4();
    let letters = random
        .as_bytes()
        .iter()
        .take(LENGTH)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
    base.chars().chain(letters).collect()
}

/// Whether an object is marked as deleted.
pub(crate) fn is_deleted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether an object is marked as deleted and nobody has anything left to do for it.
pub(crate) fn is_finished(resource: &Resource, object: &Value) -> bool {
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    let namespace = resource.group.is_empty() && resource.kind == "Namespace";
    is_deleted(object)
        && empty(&object["metadata"]["finalizers"])
        && (!namespace || empty(&object["spec"]["finalizers"]))
}

/// Serves what is in the store of a server that starts, and goes on with what its controllers had left to do.
pub(crate) fn resume(api: &Api) {
    let all = |collection: &str| {
        let page = api.store.list(collection, Range::default(), None).unwrap_or_default();
        page.objects
    };
    for stored in all(CRDS) {
        // What has instances is served before anything else is looked at.
        let definition = stored.value();
        if definition::is_established(&definition) {
            api.change_registry(|registry| registry.set(&stored.key, custom_resources(&definition)));
        }
    }
    for collection in api.store.collections("") {
        let Some(resource) = api.registry(|registry| registry.by_collection(&collection).cloned()) else {
            continue;
        };
        for object in all(&collection) {
            let (namespace, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
            written(api, &resource, namespace, name, &object.value());
        }
    }
}

/// After an object was created or changed.
pub(crate) fn written(api: &Api, resource: &Resource, namespace: &str, name: &str, object: &Value) {
    match &*resource.collection {
        CRDS => definition::serve(api, name),
        NAMESPACES if is_deleted(object) => api.enqueue(Work::Namespace(name.to_owned())),
        NAMESPACES => api.enqueue(Work::ServiceAccount(name.to_owned())),
        _ => {}
    }
    let place = || (Arc::clone(&resource.collection), resource.key(namespace, name).into());
    if !garbage::references(object).is_empty() {
        api.enqueue(Work::Collect(place()));
    }
    if is_deleted(object) {
        api.enqueue(Work::Finalize(place()));
    }
}

/// After an object is gone.
pub(crate) fn removed(api: &Api, resource: &Resource, namespace: &str, name: &str, last: &Value) {
    match &*resource.collection {
        CRDS => definition::withdraw(api, name, last),
        // One that went without waiting was deleted by the controller itself, which goes on by itself.
        _ if is_deleted(last) && resource.custom.as_ref().is_some_and(|custom| custom.terminating) => {
            api.enqueue(Work::Definition(resource.qualified()));
        }
        _ => {}
    }
    let uid = last["metadata"]["uid"].as_str().unwrap_or_default();
    if api.store.has_dependents(uid) {
        for dependent in api.store.dependents(uid) {
            api.enqueue(Work::Collect(dependent));
        }
    }
    // An owner may have waited for this one.
    for owner in garbage::references(last) {
        if let Some(place) = garbage::owner_place(api, owner, namespace) {
            api.enqueue(Work::Finalize(place));
        }
    }
    if !namespace.is_empty()
        && is_deleted(last)
        && api.store.get(NAMESPACES, namespace).is_some_and(|it| is_deleted(&it.value()))
    {
        api.enqueue(Work::Namespace(namespace.to_owned()));
    }
    if resource.group.is_empty() && resource.kind == "ServiceAccount" && name == "default" {
        api.enqueue(Work::ServiceAccount(namespace.to_owned()));
    }
}
