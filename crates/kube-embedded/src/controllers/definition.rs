//! CustomResourceDefinitions that are being deleted are removed after their instances.

use crate::cluster::{Cluster, DeleteOptions, Target};
use crate::resource::CUSTOM_RESOURCE_DEFINITIONS;
use crate::strategy::{definition, is_deleted, remove_finalizer};

/// Deletes the instances of a definition that is being deleted, and then removes the definition.
pub(super) async fn finalize(cluster: &Cluster, name: &str) {
    let definitions = CUSTOM_RESOURCE_DEFINITIONS.collection();
    if cluster.store.get(definitions, name).is_none_or(|it| !it.deleted) {
        return;
    }
    let scheme = cluster.scheme();
    if let Some(resource) = scheme.defined(name).map(|it| &it.storage) {
        for object in cluster.store.all(&resource.collection, "") {
            // An instance that no longer exists counts as deleted.
            let _ = cluster.delete(Target::of(resource, &object), &DeleteOptions::default(), None).await;
        }
        // Some instances wait for their finalizers. The definition is looked at again when they are removed.
        if cluster.store.count(&resource.collection, "") > 0 {
            return;
        }
    }
    let Some(resource) = scheme.by_collection(definitions) else { return };
    // If it no longer exists, nothing is left to do.
    let _ = cluster.modify(Target { resource, namespace: "", name }, |last| {
        // A new definition of the same name is not touched.
        if is_deleted(last) {
            remove_finalizer(last, definition::FINALIZER);
        }
        Ok(())
    });
}
