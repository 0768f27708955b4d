//! Time-dependent behaviour of a server, on a clock that the test advances.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, VersionMatch, WatchEvent, WatchParams,
};
use kube_embedded::{ManualClock, Server};
use serde_json::json;

use super::support::{code, in_time};

fn start() -> (Server, ManualClock, Api<ConfigMap>) {
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().expect("a time"));
    let server = Server::builder().clock(&clock).start().expect("it has no data folder");
    let maps = Api::default_namespaced(server.client());
    (server, clock, maps)
}

async fn create(maps: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.into());
    maps.create(&PostParams::default(), &map).await.expect("it is new")
}

#[tokio::test]
async fn objects_are_as_old_as_the_clock_says() {
    let (_server, clock, maps) = start();
    let created = |map: ConfigMap| map.creation_timestamp().unwrap().0.to_string();
    assert_eq!(created(create(&maps, "one").await), "2026-01-01T00:00:00Z");
    clock.advance(Duration::from_secs(90));
    assert_eq!(created(create(&maps, "two").await), "2026-01-01T00:01:30Z");
}

#[tokio::test]
async fn a_watch_sends_a_bookmark_each_minute_and_before_its_end() {
    let (_server, clock, maps) = start();
    let one = create(&maps, "one").await;
    let version = one.resource_version().unwrap();
    let mut watch = maps.watch(&WatchParams::default().timeout(100), &version).await.unwrap().boxed();
    let mut next = async || in_time(watch.try_next()).await.unwrap();
    for seconds in [60, 38] {
        clock.advance(Duration::from_secs(seconds));
        let event = next().await;
        assert!(matches!(event, Some(WatchEvent::Bookmark(_))), "after {seconds} s more: {event:?}");
    }
    clock.advance(Duration::from_secs(2));
    assert!(next().await.is_none(), "its timeout has passed");
}

#[tokio::test]
async fn history_is_forgotten_after_five_minutes() {
    let (_server, clock, maps) = start();
    let version = create(&maps, "one").await.resource_version().unwrap();
    create(&maps, "two").await;
    let exactly = ListParams::default().at(&version).matching(VersionMatch::Exact);
    clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(maps.list(&exactly).await.unwrap().items.len(), 1);

    clock.advance(Duration::from_secs(1));
    assert_eq!(code(&maps.list(&exactly).await.unwrap_err()), 410);
    let mut watch = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let event = in_time(watch.try_next()).await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Error(ref status)) if status.code == 410), "{event:?}");
}

#[tokio::test]
async fn the_clock_stops_at_the_end_of_time() {
    let (_server, clock, maps) = start();
    clock.advance(Duration::MAX);
    assert_eq!(clock.now(), Timestamp::MAX);
    create(&maps, "one").await;
}

#[tokio::test]
async fn an_event_is_forgotten_an_hour_after_it_was_written() {
    let (server, clock, _) = start();
    let events: Api<Event> = Api::default_namespaced(server.client());
    for name in ["once", "again"] {
        let event = json!({
            "metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        });
        events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    }
    clock.advance(Duration::from_secs(40 * 60));
    let seen = Patch::Merge(json!({"count": 2}));
    events.patch("again", &PatchParams::default(), &seen).await.unwrap();
    clock.advance(Duration::from_secs(19 * 60));
    assert_eq!(events.list(&ListParams::default()).await.unwrap().items.len(), 2);
    // The server checks once a minute.
    let gone = async |name: &str| {
        while events.get_opt(name).await.unwrap().is_some() {
            clock.advance(Duration::from_secs(60));
        }
    };
    in_time(gone("once")).await;
    assert!(clock.now() >= "2026-01-01T01:00:00Z".parse().unwrap());
    events.get("again").await.unwrap();
    in_time(gone("again")).await;
    assert!(clock.now() >= "2026-01-01T01:40:00Z".parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_ends_after_its_delay() {
    let builder = Server::builder().tokio_clock("2026-01-01T00:00:00Z".parse().expect("a time"));
    let builder = builder.namespace_deletion_delay(Duration::from_secs(5));
    let server = builder.start().expect("it has no data folder");
    let namespaces: Api<Namespace> = Api::all(server.client());
    let mut team = Namespace::default();
    team.metadata.name = Some("team".into());
    namespaces.create(&PostParams::default(), &team).await.expect("it is new");
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "team");
    create(&maps, "one").await;
    namespaces.delete("team", &DeleteParams::default()).await.expect("it exists");
    tokio::time::sleep(Duration::from_millis(4900)).await;
    maps.get("one").await.expect("the controller waits");
    // Once for the contents, and once more for the namespace, which is looked at again when they are gone.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(code(&maps.get("one").await.expect_err("its namespace has ended")), 404);
    assert!(namespaces.get_opt("team").await.expect("an answer").is_none());
}
