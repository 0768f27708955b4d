//! CustomResourceDefinitions that are being deleted end after their instances.

use crate::cluster::{Cluster, DeleteOptions, Target};
use crate::resource::CUSTOM_RESOURCE_DEFINITIONS;
use crate::store::Range;
use crate::strategy::{definition, is_deleted, remove_finalizer};

/// Deletes the instances of a definition that is being deleted, and then lets the definition go.
pub(super) async fn finalize(cluster: &Cluster, name: &str) {
    let definitions = CUSTOM_RESOURCE_DEFINITIONS.collection();
    if cluster.store.get(definitions, name).is_none_or(|it| !it.deleted) {
        return;
    }
    let scheme = cluster.scheme();
    if let Some(resource) = scheme.defined(name).first() {
        for object in
            cluster.store.list(&resource.collection, Range::default(), None).unwrap_or_default().objects
        {
            // One that is gone already is as good as deleted.
            let _ = cluster.delete(Target::of(resource, &object), &DeleteOptions::default()).await;
        }
        // Instances that wait for their finalizers: the definition is looked at again when they are gone.
        if cluster.store.count(&resource.collection, "") > 0 {
            return;
        }
    }
    let Some(resource) = scheme.by_collection(definitions) else { return };
    // One that is gone already needs no more.
    let _ = cluster.modify(Target { resource, namespace: "", name }, |last| {
        // Another one of its name is not ours to change.
        if is_deleted(last) {
            remove_finalizer(last, definition::FINALIZER);
        }
        Ok(())
    });
}
