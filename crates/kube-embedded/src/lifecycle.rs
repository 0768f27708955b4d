//! What a write of one object means for others: namespaces that must be there, names that are made up, definitions
//! that become resources, work for the controllers.

use std::sync::Arc;

use serde_json::Value;

use crate::api::Api;
use crate::builtin;
use crate::controllers::{Work, definition, garbage};
use crate::registry::{CRDS, Resource, custom_resources};
use crate::status::{Cause, Status};
use crate::store::Range;
use crate::strategy;

/// The collection of namespaces.
pub(crate) const NAMESPACES: &str = "/namespaces";
/// The collection of pods.
pub(crate) const PODS: &str = "/pods";
/// The collection of classes of their priority.
const PRIORITY_CLASSES: &str = "scheduling.k8s.io/priorityclasses";
/// The collection of services.
pub(crate) const SERVICES: &str = "/services";

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

/// The admission of a new pod: its priority is that of its class, and it is ready to be scheduled.
pub(crate) fn admit_pod(api: &Api, resource: &Resource, name: &str, pod: &mut Value) -> Result<(), Status> {
    if &*resource.collection != PODS {
        return Ok(());
    }
    let class = match pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty()) {
        Some(class) => {
            let stored = api.store.get(PRIORITY_CLASSES, class).ok_or_else(|| {
                let why = format!("no PriorityClass with name {class} was found");
                Status::forbidden(&resource.group, &resource.plural, name, &why)
            })?;
            Some(stored.value())
        }
        None => {
            let all = api.store.list(PRIORITY_CLASSES, Range::default(), None).unwrap_or_default();
            all.objects.iter().map(|class| class.value()).find(|class| class["globalDefault"] == true)
        }
    };
    builtin::pod::prepare_create(pod, class.as_ref());
    Ok(())
}

/// What a Service was given and is not stored yet; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    api: &'a Api,
    /// The Service with it, and the one before.
    service: Option<(Value, Option<Value>)>,
}

impl Reserved<'_> {
    /// It is stored.
    pub(crate) fn keep(mut self) {
        self.service = None;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some((service, old)) = &self.service {
            self.api.allocations().undo(service, old.as_ref());
        }
    }
}

/// Gives a Service addresses and ports; other objects need none.
pub(crate) fn reserve<'a>(
    api: &'a Api,
    resource: &Resource,
    name: &str,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Reserved<'a>, Status> {
    if &*resource.collection != SERVICES {
        return Ok(Reserved { api, service: None });
    }
    api.allocations()
        .allocate(object, old)
        .map_err(|error| Status::invalid(&resource.group, &resource.kind, name, &[error]))?;
    Ok(Reserved { api, service: Some((object.clone(), old.cloned())) })
}

/// Whether an object is marked as deleted.
pub(crate) fn is_deleted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether an object is marked as deleted and nobody has anything left to do for it: no finalizer, and no time to stop.
pub(crate) fn is_finished(resource: &Resource, object: &Value) -> bool {
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    let namespace = resource.group.is_empty() && resource.kind == "Namespace";
    is_deleted(object)
        && empty(&object["metadata"]["finalizers"])
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) <= 0
        && (!namespace || empty(&object["spec"]["finalizers"]))
}

/// Creates the objects that a server has from the start, unless they are there.
pub(crate) fn make_start_objects(api: &Api) {
    for mut object in builtin::start_objects() {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let Some(resource) = api.registry(|registry| registry.by_kind(&api_version, &kind).cloned()) else {
            continue;
        };
        let metadata = strategy::metadata(&mut object);
        metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".to_owned(), api.clock.seconds().into());
        if strategy::has_generation(&resource) {
            metadata.insert("generation".to_owned(), 1.into());
        }
        // One that is there already is somebody's, or from an earlier start.
        let _ = api.store.create(&resource.collection, &resource.key(&namespace, &name), object);
    }
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
            let resources = custom_resources(&definition, stored.revision, None);
            api.change_registry(|registry| registry.set(&stored.key, resources));
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
        SERVICES => api.allocations().release(last),
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
