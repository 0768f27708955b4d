//! Watches whose events are held, as their clients observe them.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube_embedded::faults::{Hold, Verb};
use kube_embedded::{ManualClock, Server};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::support::in_time;

struct Test {
    server: Server,
    clock: ManualClock,
    maps: Api<ConfigMap>,
}

/// What a client has read of a watch.
struct Reader(UnboundedReceiver<String>);

impl Test {
    fn new() -> Self {
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().expect("a time"));
        let server = Server::builder().clock(&clock).start().expect("it has no data folder");
        let maps = Api::default_namespaced(server.client());
        Self { server, clock, maps }
    }

    fn hold(&self) -> Hold {
        self.server.faults().on(Verb::Watch, "configmaps").hold()
    }

    /// Creates or changes an object.
    async fn set(&self, name: &str, color: &str) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"color": color}},
        });
        let applied = self.maps.patch(name, &PatchParams::apply("test"), &Patch::Apply(&map)).await;
        applied.expect("it is valid");
    }

    async fn delete(&self, name: &str) {
        self.maps.delete(name, &DeleteParams::default()).await.expect("it is there");
    }

    /// Opens a watch and reads it as soon as something comes.
    async fn watch(&self, params: &WatchParams) -> Reader {
        let mut events = in_time(self.maps.watch(params, "0")).await.expect("it opens").boxed();
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let (kind, map) = match event.expect("the watch is whole") {
                    WatchEvent::Added(map) => ("added", map),
                    WatchEvent::Modified(map) => ("modified", map),
                    WatchEvent::Deleted(map) => ("deleted", map),
                    WatchEvent::Bookmark(_) => ("bookmark", ConfigMap::default()),
                    WatchEvent::Error(status) => panic!("{status:?}"),
                };
                let color = map.labels().get("color").cloned().unwrap_or_default();
                if sender.send(format!("{kind} {} {color}", map.name_any()).trim().to_owned()).is_err() {
                    return;
                }
            }
        });
        Reader(receiver)
    }
}

impl Reader {
    async fn next(&mut self) -> Option<String> {
        in_time(self.0.recv()).await
    }

    /// Reads these events.
    async fn expect(&mut self, events: &[&str]) {
        for expected in events {
            assert_eq!(self.next().await.as_deref(), Some(*expected));
        }
    }

    /// Whether nothing has come.
    fn is_silent(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

#[tokio::test]
async fn events_come_when_they_are_released() {
    let test = Test::new();
    test.set("a", "red").await;
    let mut open = test.watch(&WatchParams::default()).await;
    open.expect(&["added a red"]).await;

    let hold = test.hold();
    for name in ["b", "c", "d"] {
        test.set(name, "red").await;
    }
    in_time(hold.wait_for_held(3)).await;
    assert_eq!(test.maps.list(&ListParams::default()).await.unwrap().items.len(), 4, "a list is not held");
    assert!(open.is_silent());
    hold.release(2);
    open.expect(&["added b red", "added c red"]).await;
    assert!(open.is_silent());
    assert_eq!(hold.held(), 1);
    hold.release_all();
    open.expect(&["added d red"]).await;

    test.delete("d").await;
    in_time(hold.wait_for_held(1)).await;
    assert!(open.is_silent(), "later events are held, too");
    drop(hold);
    test.set("e", "red").await;
    open.expect(&["deleted d red", "added e red"]).await;
}

#[tokio::test]
async fn only_the_watches_of_the_rule_are_held() {
    let test = Test::new();
    let elsewhere = test.server.faults().on(Verb::Watch, "configmaps").namespace("kube-system").hold();
    let lists = test.server.faults().on(Verb::List, "configmaps").hold();
    let mut open = test.watch(&WatchParams::default()).await;
    test.set("a", "red").await;
    open.expect(&["added a red"]).await;
    assert_eq!((elsewhere.held(), lists.held()), (0, 0));

    let (first, second) = (test.hold(), test.hold());
    test.set("b", "red").await;
    in_time(first.wait_for_held(1)).await;
    assert_eq!(second.held(), 0, "the first hold has it");
    drop(first);
    open.expect(&["added b red"]).await;
    test.set("c", "red").await;
    in_time(second.wait_for_held(1)).await;
    test.server.faults().clear();
    open.expect(&["added c red"]).await;
}

#[tokio::test]
async fn merged_events_hide_the_states_in_between() {
    let test = Test::new();
    for name in ["changed", "deleted", "replaced"] {
        test.set(name, "red").await;
    }
    let mut all = test.watch(&WatchParams::default()).await;
    all.expect(&["added changed red", "added deleted red", "added replaced red"]).await;
    let mut blue = test.watch(&WatchParams::default().labels("color=blue")).await;
    let hold = test.hold();

    for color in ["green", "blue"] {
        for name in ["new", "short-lived", "changed", "deleted", "replaced"] {
            test.set(name, color).await;
        }
    }
    for name in ["short-lived", "deleted", "replaced"] {
        test.delete(name).await;
    }
    for color in ["black", "white"] {
        test.set("replaced", color).await;
    }
    // All see 15 events; of those, blue is what five objects become, and three of them cease to be.
    in_time(hold.wait_for_held(15 + 5 + 3)).await;
    hold.merge();
    assert_eq!(hold.held(), 5 + 2);
    // What was merged can be merged again.
    hold.merge();
    assert_eq!(hold.held(), 5 + 2, "nothing is left to merge");
    hold.release_all();
    all.expect(&[
        "added new blue",
        "modified changed blue",
        "deleted deleted blue",
        "deleted replaced blue",
        "added replaced white",
    ])
    .await;
    blue.expect(&["added new blue", "added changed blue"]).await;
    test.set("last", "blue").await;
    in_time(hold.wait_for_held(2)).await;
    assert!(all.is_silent() && blue.is_silent());
}

#[tokio::test]
async fn events_that_were_released_are_not_merged() {
    let test = Test::new();
    let mut open = test.watch(&WatchParams::default()).await;
    let hold = test.hold();
    for color in ["red", "green", "blue"] {
        test.set("a", color).await;
    }
    in_time(hold.wait_for_held(3)).await;
    hold.release(1);
    hold.merge();
    drop(hold);
    open.expect(&["added a red", "modified a blue"]).await;
}

#[tokio::test]
async fn the_first_events_of_a_watch_are_held_too() {
    let test = Test::new();
    test.set("a", "red").await;
    let hold = test.hold();
    let mut opened = test.watch(&WatchParams::default().initial_events()).await;
    in_time(hold.wait_for_held(2)).await;
    test.set("a", "blue").await;
    test.set("a", "green").await;
    in_time(hold.wait_for_held(4)).await;
    hold.merge();
    assert_eq!(hold.held(), 3, "the bookmark stays between them");
    assert!(opened.is_silent());
    hold.release(2);
    opened.expect(&["added a red", "bookmark"]).await;
    drop(hold);
    opened.expect(&["modified a green"]).await;
}

#[tokio::test]
async fn a_held_watch_sends_no_bookmark_and_ends_as_usual() {
    let test = Test::new();
    let mut open = test.watch(&WatchParams::default().timeout(200)).await;
    let hold = test.hold();
    test.set("a", "red").await;
    in_time(hold.wait_for_held(1)).await;
    test.clock.advance(Duration::from_secs(60));
    // The server has seen that moment once it has seen this.
    test.set("b", "red").await;
    in_time(hold.wait_for_held(2)).await;
    assert!(open.is_silent());
    test.clock.advance(Duration::from_secs(140));
    assert_eq!(open.next().await, None, "its timeout has passed");
    assert_eq!(hold.held(), 0, "its events have gone with it");
    let mut next = test.watch(&WatchParams::default()).await;
    in_time(hold.wait_for_held(2)).await;
    drop(hold);
    next.expect(&["added a red", "added b red"]).await;
    test.clock.advance(Duration::from_secs(60));
    next.expect(&["bookmark"]).await;
}
