//! Garbage collection: objects whose owners are gone go too, before them or after them.

use std::sync::Arc;

use serde_json::Value;

use crate::api::{Api, DeleteOptions, delete_object};
use crate::lifecycle::{self, is_deleted};
use crate::registry::Resource;
use crate::store::{Object, Place};

/// The finalizer of an object that goes after what it owns.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that goes without what it owns.
pub(crate) const ORPHAN: &str = "orphan";

/// Looks at an object that names owners: it goes if none of these is there.
pub(super) fn collect(api: &Api, place: &Place) {
    let Some((resource, object)) = find(api, place) else { return };
    let value = object.value();
    let owners = references(&value);
    if owners.is_empty() || is_deleted(&value) {
        return;
    }
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default();
    let (here, gone): (Vec<&Value>, Vec<&Value>) =
        owners.iter().partition(|owner| is_there(api, owner, namespace));
    if here.is_empty() {
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        // One that is gone already is as good as deleted.
        let _ = delete_object(api, &resource, namespace, name, &DeleteOptions::default());
    } else if !gone.is_empty() {
        let gone: Vec<&str> = gone.iter().filter_map(|owner| owner["uid"].as_str()).collect();
        disown(api, place, &gone);
    }
}

/// Goes on with an object that is being deleted in an order: its dependents first, or left behind.
pub(super) fn finalize(api: &Api, place: &Place) {
    let Some((resource, object)) = find(api, place) else { return };
    let value = object.value();
    let uid = value["metadata"]["uid"].as_str().unwrap_or_default();
    if !is_deleted(&value) {
        return;
    }
    let has = |finalizer: &str| {
        value["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|it| it == finalizer))
    };
    if has(ORPHAN) {
        for dependent in api.store.dependents(uid) {
            disown(api, &dependent, &[uid]);
        }
        return remove_finalizer(api, &resource, &object, ORPHAN);
    }
    if !has(FOREGROUND) {
        return;
    }
    let mut blocked = false;
    for dependent in api.store.dependents(uid) {
        let Some((resource, object)) = find(api, &dependent) else { continue };
        let value = object.value();
        let (namespace, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
        let own_uid = value["metadata"]["uid"].as_str().unwrap_or_default();
        if !is_deleted(&value) {
            let options = match api.store.has_dependents(own_uid) {
                true => DeleteOptions::foreground(),
                false => DeleteOptions::default(),
            };
            // One that is gone already is as good as deleted.
            let _ = delete_object(api, &resource, namespace, name, &options);
        }
        let blocks =
            references(&value).iter().any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true);
        blocked |= blocks && api.store.get(&dependent.0, &dependent.1).is_some();
    }
    if !blocked {
        remove_finalizer(api, &resource, &object, FOREGROUND);
    }
}

/// The owners that an object names.
pub(crate) fn references(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

/// Where an owner is, if it is served.
pub(crate) fn owner_place(api: &Api, owner: &Value, namespace: &str) -> Option<Place> {
    let (version, kind) = (owner["apiVersion"].as_str()?, owner["kind"].as_str()?);
    let resource = api.registry(|registry| registry.by_kind(version, kind).cloned())?;
    let key = resource.key(namespace, owner["name"].as_str()?);
    Some((Arc::clone(&resource.collection), key.into()))
}

fn is_there(api: &Api, owner: &Value, namespace: &str) -> bool {
    let found =
        owner_place(api, owner, namespace).and_then(|(collection, key)| api.store.get(&collection, &key));
    found.is_some_and(|found| found.value()["metadata"]["uid"] == owner["uid"])
}

fn find(api: &Api, place: &Place) -> Option<(Arc<Resource>, Arc<Object>)> {
    let resource = api.registry(|registry| registry.by_collection(&place.0).cloned())?;
    Some((resource, api.store.get(&place.0, &place.1)?))
}

/// Removes owners from an object.
fn disown(api: &Api, place: &Place, uids: &[&str]) {
    while let Some((resource, stored)) = find(api, place) {
        let mut value = resource.value(&stored);
        let Some(owners) = value["metadata"]["ownerReferences"].as_array_mut() else { return };
        owners.retain(|owner| !owner["uid"].as_str().is_some_and(|uid| uids.contains(&uid)));
        if owners.is_empty()
            && let Some(metadata) = value["metadata"].as_object_mut()
        {
            metadata.remove("ownerReferences");
        }
        if api.store.update(&place.0, &place.1, stored.revision, &resource.encode(&value)).is_ok() {
            return;
        }
    }
}

fn remove_finalizer(api: &Api, resource: &Arc<Resource>, object: &Object, finalizer: &str) {
    let mut value = resource.value(object);
    if let Some(finalizers) = value["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|it| it != finalizer);
    }
    let (namespace, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
    let finished = lifecycle::is_finished(resource, &value);
    let written = if finished {
        api.store.delete(&resource.collection, &object.key, object.revision).map(|_| ())
    } else {
        let value = resource.encode(&value);
        api.store.update(&resource.collection, &object.key, object.revision, &value).map(|_| ())
    };
    match written {
        Ok(()) if finished => lifecycle::removed(api, resource, namespace, name, &value),
        Ok(()) => lifecycle::written(api, resource, namespace, name, &value),
        // It changed in between.
        Err(_) => api.enqueue(super::Work::Finalize((Arc::clone(&resource.collection), object.key.clone()))),
    }
}
