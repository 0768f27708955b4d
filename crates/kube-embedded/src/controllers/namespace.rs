//! Namespaces: what is made in each, and how one ends.

use serde_json::json;

use crate::api::{Api, DeleteOptions, delete_object};
use crate::lifecycle::NAMESPACES;
use crate::store::Range;

/// Deletes what is in a namespace that is being deleted, and then the namespace.
pub(super) async fn finalize(api: &Api, name: &str) {
    let Some(namespace) = api.store.get(NAMESPACES, name).filter(|it| it.deleted) else {
        return;
    };
    let prefix = format!("{name}/");
    for collection in api.store.collections(&prefix) {
        let Some(resource) = api.registry(|registry| registry.by_collection(&collection).cloned()) else {
            continue;
        };
        let range = Range { prefix: &prefix, ..Range::default() };
        let Ok(page) = api.store.list(&collection, range, None) else { continue };
        for object in page.objects {
            // One that is gone already is as good as deleted.
            let _ =
                delete_object(api, &resource, name, &object.key[prefix.len()..], &DeleteOptions::default());
            // There may be many.
            tokio::task::yield_now().await;
        }
    }
    if !api.store.collections(&prefix).is_empty() {
        // Objects with finalizers: the namespace is looked at again when they are gone.
        return;
    }
    let mut last = namespace.value();
    if let Some(finalizers) = last["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != "kubernetes");
    }
    let others = [&last["metadata"]["finalizers"], &last["spec"]["finalizers"]];
    let has_others = others.iter().any(|it| it.as_array().is_some_and(|it| !it.is_empty()));
    if has_others && last == namespace.value() {
        // Our part is done; the rest is for them.
        return;
    }
    let key = &namespace.key;
    let collection = NAMESPACES.into();
    let done = if has_others {
        api.store.update(&collection, key, namespace.revision, &last).map(|_| ())
    } else {
        api.store.delete(&collection, key, namespace.revision).map(|_| ())
    };
    if done.is_err() {
        // Changed in between.
        api.enqueue(super::Work::Namespace(name.to_owned()));
    }
}

/// Makes a namespace's `default` ServiceAccount.
pub(super) fn service_account(api: &Api, namespace: &str) {
    if api.store.get(NAMESPACES, namespace).is_none_or(|it| it.deleted) {
        return;
    }
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": "default",
            "namespace": namespace,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": api.clock.seconds(),
        },
    });
    // There is one already.
    let _ = api.store.create(&"/serviceaccounts".into(), &format!("{namespace}/default"), &account);
}
