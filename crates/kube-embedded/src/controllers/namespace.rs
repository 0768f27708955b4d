//! Namespaces: creates their `default` ServiceAccount, and removes them with their contents.

use serde_json::{Value, json};

use crate::cluster::{Cluster, DeleteOptions, Propagation, Target};
use crate::resource::NAMESPACES;
use crate::store::Range;
use crate::strategy::is_deleted;

/// The entry of a Namespace's `spec.finalizers` that this controller removes.
const FINALIZER: &str = "kubernetes";

/// Deletes the contents of a namespace that is being deleted, and then removes the namespace.
///
/// Like kube-controller-manager, it only looks at resources that are served.
pub(super) async fn finalize(cluster: &Cluster, name: &str) {
    if cluster.store.get(NAMESPACES.collection(), name).is_none_or(|it| !it.deleted) {
        return;
    }
    let prefix = format!("{name}/");
    let scheme = cluster.scheme();
    let options = DeleteOptions { propagation: Propagation::Background, ..DeleteOptions::default() };
    let mut left = false;
    for collection in cluster.store.collections(&prefix) {
        let Some(resource) = scheme.by_collection(&collection) else { continue };
        let range = Range { prefix: &prefix, ..Range::default() };
        for object in cluster.store.list(&collection, range, None).unwrap_or_default().objects {
            // An object that no longer exists counts as deleted.
            let _ = cluster.delete(Target::of(resource, &object), &options, None).await;
        }
        left |= cluster.store.count(&collection, &prefix) > 0;
    }
    // Some objects wait for their finalizers. The namespace is looked at again when they are removed.
    if left {
        return;
    }
    let Some(resource) = scheme.by_collection(NAMESPACES.collection()) else { return };
    // If it no longer exists, nothing is left to do.
    let _ = cluster.modify(Target { resource, namespace: "", name }, |namespace| {
        // A new namespace of the same name is not touched.
        if is_deleted(namespace)
            && let Some(finalizers) = namespace.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut)
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        Ok(())
    });
}

/// Creates a namespace's `default` ServiceAccount, if it does not exist.
pub(super) fn service_account(cluster: &Cluster, namespace: &str) {
    cluster.create_unless_there(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace},
    }));
}
