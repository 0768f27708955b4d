//! Namespaces: what is made in each, and how one ends.

use serde_json::{Value, json};

use crate::cluster::{Cluster, DeleteOptions, Propagation, Target};
use crate::resource::NAMESPACES;
use crate::store::Range;
use crate::strategy::is_deleted;

/// The entry of a Namespace's `spec.finalizers` that this removes.
const FINALIZER: &str = "kubernetes";

/// Deletes what is in a namespace that is being deleted, and then lets the namespace go.
///
/// As kube-controller-manager it looks only at resources that are served.
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
            // One that is gone already is as good as deleted.
            let _ = cluster.delete(Target::of(resource, &object), &options).await;
        }
        left |= cluster.store.count(&collection, &prefix) > 0;
    }
    // Objects that wait for their finalizers: the namespace is looked at again when they are gone.
    if left {
        return;
    }
    let Some(resource) = scheme.by_collection(NAMESPACES.collection()) else { return };
    // One that is gone already needs no more.
    let _ = cluster.modify(Target { resource, namespace: "", name }, |namespace| {
        // Another one of its name is not ours to change.
        if is_deleted(namespace)
            && let Some(finalizers) = namespace.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut)
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        Ok(())
    });
}

/// Makes a namespace's `default` ServiceAccount, if it has none.
pub(super) fn service_account(cluster: &Cluster, namespace: &str) {
    cluster.create_unless_there(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace},
    }));
}
