//! Deletes Events an hour after they were last written, as kube-apiserver's `--event-ttl` does.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::cluster::{Cluster, DeleteOptions, Target};
use crate::resource::EVENTS;

/// How long an Event is kept.
const TTL: SignedDuration = SignedDuration::from_hours(1);

/// Deletes the Events that have expired.
pub(super) async fn expire(cluster: &Cluster) {
    let now = cluster.clock.now();
    let scheme = cluster.scheme();
    let Some(resource) = scheme.by_collection(EVENTS.collection()) else { return };
    let page = cluster.store.all(EVENTS.collection(), "");
    for object in page {
        // There may be many Events.
        tokio::task::coop::consume_budget().await;
        let written = last_written(&object.value());
        if written.is_some_and(|written| now.duration_since(written) >= TTL) {
            // An Event that was written again stays, and one that no longer exists counts as deleted.
            let unchanged = DeleteOptions {
                resource_version: Some(object.revision.to_string()),
                ..DeleteOptions::default()
            };
            let _ = cluster.delete(Target::of(resource, &object), &unchanged, None).await;
        }
    }
}

/// When an object was last written according to its managed fields, or else when it was created.
fn last_written(object: &Value) -> Option<Timestamp> {
    let metadata = &object["metadata"];
    let managed = metadata["managedFields"].as_array().into_iter().flatten().map(|entry| &entry["time"]);
    let times = managed.chain([&metadata["creationTimestamp"]]);
    // A time that jiff cannot hold means never.
    times.filter_map(|time| Some(time.as_str()?.parse().unwrap_or(Timestamp::MAX))).max()
}
