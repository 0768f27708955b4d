//! Many concurrent watches of one type, and one that is not read.

use std::time::Duration;

use futures_util::{AsyncBufReadExt, Stream, TryStreamExt};
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, PostParams};
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
