//! Claims, volumes and classes of attributes that are being deleted are removed once nothing uses them.

use memchr::memmem;

use crate::cluster::{Cluster, Target, protection, uses};
use crate::resource::{GroupResource, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS};
use crate::store::{Location, Object};
use crate::strategy::{is_deleted, remove_finalizer};

/// Lets go of an object that is being deleted, if nothing uses it. It is looked at again when a user of it is removed.
pub(super) fn release(cluster: &Cluster, location: &Location) {
    let Some(object) = cluster.store.get(&location.collection, &location.key) else { return };
    let scheme = cluster.scheme();
    let resource = scheme.by_collection(&location.collection);
    let Some(resource) = resource.filter(|_| object.deleted && !is_used(cluster, location, &object)) else {
        return;
    };
    let Some(finalizer) = protection(resource.stored_as()) else { return };
    // If it no longer exists, nothing is left to do.
    let _ = cluster.modify(Target::of(resource, &object), |last| {
        // A new object of the same name is not touched.
        if is_deleted(last) {
            remove_finalizer(last, finalizer);
        }
        Ok(())
    });
}

fn is_used(cluster: &Cluster, location: &Location, object: &Object) -> bool {
    let used_in = |resource: GroupResource<'_>, prefix: &str| {
        let page = cluster.store.all(resource.collection(), prefix);
        // Most objects do not even name it: those are not parsed.
        let named = memmem::Finder::new(object.name());
        let mut users = page.iter().filter(|user| named.find(&user.bytes).is_some());
        users.any(|user| uses(resource, &user.value(), object.name()))
    };
    match GroupResource::new(&location.collection) {
        PERSISTENT_VOLUMES => object.value()["status"]["phase"] == "Bound",
        PERSISTENT_VOLUME_CLAIMS => used_in(PODS, &format!("{}/", object.namespace())),
        _ => used_in(PERSISTENT_VOLUMES, "") || used_in(PERSISTENT_VOLUME_CLAIMS, ""),
    }
}
