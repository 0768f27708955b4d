//! Events are forgotten an hour after they were written last: kube-apiserver's `--event-ttl`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::{Api, DeleteOptions, delete_object};
use crate::store::Range;

/// How long an event is kept.
const TTL: SignedDuration = SignedDuration::from_hours(1);
/// Both groups show this one.
const COLLECTION: &str = "/events";

/// Deletes the events whose time is over.
pub(super) async fn expire(api: &Api) {
    let now = api.clock.now();
    let Some(resource) = api.registry(|registry| registry.by_collection(COLLECTION).cloned()) else {
        return;
    };
    let page = api.store.list(COLLECTION, Range::default(), None).unwrap_or_default();
    for object in page.objects {
        let written = last_written(&object.value());
        if written.is_some_and(|written| now.duration_since(written) >= TTL) {
            let (namespace, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
            // One that is gone already is as good as deleted.
            let _ = delete_object(api, &resource, namespace, name, &DeleteOptions::default());
        }
        // There may be many.
        tokio::task::yield_now().await;
    }
}

/// When an object was written last, as its managed fields tell; or else when it was created.
fn last_written(object: &Value) -> Option<Timestamp> {
    let metadata = &object["metadata"];
    let managed = metadata["managedFields"].as_array().into_iter().flatten().map(|entry| &entry["time"]);
    let times = managed.chain([&metadata["creationTimestamp"]]);
    times.filter_map(|time| time.as_str()?.parse().ok()).max()
}
