//! Plugins about volumes: DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize.

use kube_validation::Quantity;
use serde_json::{Value, json};

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::newest::newest;
use crate::resource::{
    GroupResource, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource, STORAGE_CLASSES,
    VOLUME_ATTRIBUTES_CLASSES,
};
use crate::status::Status;
use crate::store::{Location, Store};
use crate::strategy::{self, has_finalizer};

/// Marks the default StorageClass. The second one is old.
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// Names the StorageClass of an old claim.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The finalizer that keeps an object of a resource while it is in use.
pub(crate) fn protection(resource: GroupResource<'_>) -> Option<&'static str> {
    match resource {
        PERSISTENT_VOLUMES => Some("kubernetes.io/pv-protection"),
        PERSISTENT_VOLUME_CLAIMS => Some("kubernetes.io/pvc-protection"),
        VOLUME_ATTRIBUTES_CLASSES => Some("kubernetes.io/vac-protection"),
        _ => None,
    }
}

/// Keeps a new object while it is in use.
pub(super) fn protect(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(finalizer) = protection(request.resource.stored_as()) else { return Ok(()) };
    if !request.subresource.is_empty() || old.is_some() || has_finalizer(object, finalizer) {
        return Ok(());
    }
    let finalizers = strategy::metadata(object).entry("finalizers").or_insert_with(|| json!([]));
    match finalizers.as_array_mut() {
        Some(all) => all.push(finalizer.into()),
        None => *finalizers = json!([finalizer]),
    }
    Ok(())
}

/// Gives a new claim without a class the default class.
pub(super) fn set_class(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    claim: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let has_class =
        !claim["metadata"]["annotations"][CLASS].is_null() || !claim["spec"]["storageClassName"].is_null();
    if request.is_for(PERSISTENT_VOLUME_CLAIMS) && old.is_none() && !has_class {
        let is_default =
            |class: &Value| IS_DEFAULT.iter().any(|it| class["metadata"]["annotations"][*it] == "true");
        if let Some(name) = newest(&cluster.store, STORAGE_CLASSES, is_default) {
            claim["spec"]["storageClassName"] = name.into();
        }
    }
    Ok(())
}

/// Refuses a claim that grows, unless it is bound and its class allows it.
pub(super) fn validate_resize(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    claim: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    match old.filter(|_| request.is_for(PERSISTENT_VOLUME_CLAIMS)) {
        Some(old) => check_resize(&cluster.store, claim, old).map_err(|why| request.forbidden(claim, why)),
        None => Ok(()),
    }
}

fn check_resize(store: &Store, claim: &Value, old: &Value) -> Result<(), &'static str> {
    let size = |claim: &Value| {
        claim["spec"]["resources"]["requests"]["storage"].as_str().and_then(Quantity::parse_or_huge)
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if old["status"]["phase"] != "Bound" {
        return Err("Only bound persistent volume claims can be expanded");
    }
    let name = class_of(claim);
    let class = store.get(STORAGE_CLASSES.collection(), name).map(|class| class.value());
    let grows = class.is_some_and(|class| class["allowVolumeExpansion"] == true);
    if name.is_empty() || name != class_of(old) || !grows {
        return Err(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        );
    }
    Ok(())
}

/// The name of a claim's class, or an empty one.
pub(super) fn class_of(claim: &Value) -> &str {
    let named = [&claim["metadata"]["annotations"][CLASS], &claim["spec"]["storageClassName"]];
    named.into_iter().find_map(Value::as_str).unwrap_or_default()
}

/// The claims that the volumes of a Pod are, and the classes of a claim's or a volume's attributes: what may be removed once the
/// object, of this resource, is gone.
pub(crate) fn used_by<'a>(
    resource: &Resource,
    namespace: &'a str,
    object: &'a Value,
) -> impl Iterator<Item = Location> {
    let (of, prefix) = match resource.stored_as() {
        PODS => (PERSISTENT_VOLUME_CLAIMS, format!("{namespace}/")),
        _ => (VOLUME_ATTRIBUTES_CLASSES, String::new()),
    };
    let names = names_used_by(resource.stored_as(), object);
    names.into_iter().map(move |name| Location {
        collection: of.collection().into(),
        key: format!("{prefix}{name}").into(),
    })
}

/// Whether an object keeps a claim or a class of attributes from being removed. A Pod uses its claims from when it is scheduled.
pub(crate) fn uses(resource: GroupResource<'_>, object: &Value, name: &str) -> bool {
    let is_pending = resource == PODS && object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    !is_pending && names_used_by(resource, object).contains(&name)
}

fn names_used_by<'a>(resource: GroupResource<'_>, object: &'a Value) -> Vec<&'a str> {
    let spec = &object["spec"];
    let names: Vec<&Value> = match resource {
        PODS => {
            let volumes = spec["volumes"].as_array().into_iter().flatten();
            volumes.map(|volume| &volume["persistentVolumeClaim"]["claimName"]).collect()
        }
        PERSISTENT_VOLUMES => vec![&spec["volumeAttributesClassName"]],
        PERSISTENT_VOLUME_CLAIMS => classes_of_attributes(object).into(),
        _ => Vec::new(),
    };
    names.into_iter().filter_map(Value::as_str).filter(|name| !name.is_empty()).collect()
}

/// Where a claim names the classes of its volume's attributes: the one it wants, the one it has, and the one it is getting.
pub(super) fn classes_of_attributes(claim: &Value) -> [&Value; 3] {
    let status = &claim["status"];
    [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ]
}
