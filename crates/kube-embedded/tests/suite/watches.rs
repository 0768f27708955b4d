//! Many concurrent watches of one type, and one that is not read.

use std::time::Duration;

use futures_util::{AsyncBufReadExt, Stream, TryStreamExt};
use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use kube_embedded::Server;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(60);
const WATCHES: usize = 1000;
const EVENTS: usize = 20;

/// Watches the ConfigMaps in the namespace `default` from a version on, and returns the lines.
async fn watch(client: Client, version: String) -> impl Stream<Item = std::io::Result<String>> + Unpin {
    let path = format!("/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={version}");
    let request = Request::get(path).body(Vec::new()).expect("the path is one");
    client.request_stream(request).await.expect("the watch is opened").lines()
}

/// Returns an event's type and its object.
fn event(line: &str) -> (String, Value) {
    let mut event: Value = serde_json::from_str(line).expect("a line is an event");
    (event["type"].as_str().unwrap_or_default().to_owned(), event["object"].take())
}

#[tokio::test]
async fn a_thousand_watches_get_each_event_and_a_slow_one_does_not_block_them() {
    let server = Server::start();
    let client = server.client();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let start = maps.list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();

    let mut slow = watch(client.clone(), start.clone()).await;
    let mut watches = JoinSet::new();
    for _ in 0..WATCHES {
        let mut lines = watch(client.clone(), start.clone()).await;
        watches.spawn(async move {
            for number in 0..EVENTS {
                let (kind, object) = event(&lines.try_next().await.unwrap().expect("the watch continues"));
                assert_eq!(
                    (kind.as_str(), &object["metadata"]["name"]),
                    ("ADDED", &json!(format!("map-{number}")))
                );
            }
        });
    }
    let all = async {
        for number in 0..EVENTS {
            let map = json!({"metadata": {"name": format!("map-{number}")}});
            maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
        }
        while let Some(heard) = watches.join_next().await {
            heard.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("an event is lost");

    // The next events of the slow watch are compacted away: it ends without an error, and its client gets a 410 when it
    // watches again.
    server.compact();
    let ended = tokio::time::timeout(DEADLINE, slow.try_next()).await.expect("the watch ends");
    assert_eq!(ended.unwrap(), None);
    let again = watch(client.clone(), start.clone()).await.try_next().await.unwrap().expect("an answer");
    let (kind, status) = event(&again);
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(410)));
}

/// In paused time, which passes only when nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn a_controller_that_hears_that_a_pod_stops_still_finds_it() {
    let server = Server::start();
    let pods: Api<Pod> = Api::default_namespaced(server.client());
    let spec = json!({"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]});
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
    for meanwhile in ["nothing", "another write", "the client hangs up"] {
        let created = pods.create(&PostParams::default(), &pod).await.unwrap();
        let version = created.resource_version().unwrap();
        let mut events = Box::pin(pods.watch(&WatchParams::default(), &version).await.unwrap());
        let deletion = tokio::spawn({
            let pods = pods.clone();
            async move { pods.delete("p", &Default::default()).await.map(|_| ()) }
        });
        let Some(WatchEvent::Modified(stopping)) = events.try_next().await.unwrap() else {
            panic!("it does not stop")
        };
        assert!(stopping.metadata.deletion_timestamp.is_some());
        assert_eq!(pods.get_opt("p").await.unwrap().as_ref(), Some(&stopping));
        match meanwhile {
            // As any write of what only waits for its end, this one removes it.
            "another write" => {
                let labels = json!({"metadata": {"labels": {"a": "b"}}});
                pods.patch("p", &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
                deletion.await.unwrap().unwrap();
            }
            "the client hangs up" => deletion.abort(),
            _ => deletion.await.unwrap().unwrap(),
        }
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))));
    }
}
