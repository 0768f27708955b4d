//! Shards of a type, and types that are followed by lists.

mod support;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kube_informer::{Error, Informers, Shard, Status};
use support::{Blog, Call, Reply, Server, Then, blog, bookmark, event, read};
use tokio::time::Instant;

/// Objects of other shards are dropped on arrival, and their events still move the version of the cache.
#[tokio::test(start_paused = true)]
async fn shards_divide_the_objects_of_a_server_that_does_not_know_them() {
    let names: Vec<String> = (0..40).map(|at| format!("blog-{at}")).collect();
    for watch_list in [true, false] {
        let objects: Vec<_> = names.iter().map(|name| blog(name, 5)).collect();
        let server = Server::new(move |call| match call {
            call if call.is_watch_list() && watch_list => {
                let mut lines: Vec<String> = objects.iter().map(|object| event("ADDED", object)).collect();
                lines.push(bookmark(5, true));
                lines.extend(objects.iter().zip(6..).map(|(object, version)| {
                    let name = object["metadata"]["name"].as_str().unwrap();
                    let kind = if version % 2 == 0 { "MODIFIED" } else { "DELETED" };
                    event(kind, &blog(name, version))
                }));
                Reply::watch(lines, Then::Stay)
            }
            call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
            call if call.is_list() => Reply::list(45, &objects),
            _ => Reply::watch(vec![], Then::Stay),
        });
        let informers = Informers::new(server.client());
        let mut found = Vec::new();
        for index in 0..4 {
            let shard = Shard::by_uid(index, 4).unwrap();
            let blogs = informers.typed::<Blog>().shard(shard).start();
            blogs.wait_for(None, "45", Instant::now() + Duration::from_secs(60)).await.unwrap();
            let snapshot = blogs.snapshot().unwrap();
            assert!(snapshot.len() < names.len(), "everything is in shard {index}");
            found.extend(snapshot.iter().map(|blog| blog.metadata.name.clone().unwrap()));
        }
        found.sort_by_key(|name| name[5..].parse::<u32>().unwrap());
        let left: Vec<&String> = names
            .iter()
            .zip(6..)
            .filter(|(_, version)| !watch_list || version % 2 == 0)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), left);
        let asked = "shardSelector=shardRange%28object.metadata.uid%2C%20%270x4000000000000000%27%2C%20%270x8000000000000000%27%29";
        assert!(server.calls().iter().any(|call| call.uri.contains(asked)), "{:?}", server.calls());
    }
}

/// Lists follow one another at the interval, whether they and their objects have versions or not, and subscribers receive
/// the differences.
#[tokio::test(start_paused = true)]
async fn a_type_without_watch_is_followed_by_lists() {
    for versions in [true, false] {
        let lists = AtomicU64::new(0);
        let server = Server::new(move |call| {
            assert!(call.is_list(), "{call:?}");
            let number = lists.fetch_add(1, Ordering::SeqCst);
            let mut items = vec![blog("same", 3), blog("changes", 4 + number / 2)];
            if number >= 4 {
                items.remove(0);
            }
            let mut list = serde_json::json!({
                "kind": "BlogList", "items": items, "metadata": {"resourceVersion": (10 + number).to_string()}
            });
            if !versions {
                list["metadata"] = serde_json::json!({});
                for item in list["items"].as_array_mut().unwrap() {
                    let metadata = item["metadata"].as_object_mut().unwrap();
                    metadata.retain(|name, _| name == "name" || name == "namespace");
                }
            }
            Reply::json(200, &list)
        });
        let blogs =
            Informers::new(server.client()).typed::<Blog>().poll_every(Duration::from_secs(30)).start();
        let mut events = blogs.subscribe();
        let received = read(&mut events, 6).await;
        let expected = match versions {
            true => [
                "*changes/4",
                "*same/3",
                "synced 2 at 10",
                "~changes/4-5",
                "~changes/5-6",
                "-same/3 MissedWhileAway",
            ],
            false => {
                ["*changes/", "*same/", "synced 2 at 1", "~changes/-", "~changes/-", "-same/ MissedWhileAway"]
            }
        };
        assert_eq!(received, expected);
        let calls = server.calls();
        let gaps = calls.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs());
        assert!(gaps.clone().all(|gap| gap == 30), "{:?}", gaps.collect::<Vec<_>>());
        assert!(blogs.status().is_ready());
    }
}

/// A poll that fails is retried soon, and the cache is stale once two polls have brought nothing.
#[tokio::test(start_paused = true)]
async fn a_poll_that_fails_is_retried_and_makes_the_cache_stale() {
    let server = Server::new(|call| match call.index {
        0 => Reply::list(5, &[blog("a", 5)]),
        1..200 => Reply::status(503, "ServiceUnavailable", "no"),
        _ => Reply::list(6, &[blog("a", 5)]),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().poll_every(Duration::from_secs(600)).start();
    blogs.synced().await.unwrap();
    let (mut status, synced) = (blogs.watch_status(), Instant::now());
    status.wait_for(|status| status.error().is_some()).await.unwrap();
    assert_eq!(synced.elapsed().as_secs(), 600);
    assert!(blogs.status().is_ready());
    status.wait_for(|status| status.stale).await.unwrap();
    assert_eq!(synced.elapsed().as_secs(), 1200);
    status.wait_for(Status::is_ready).await.unwrap();
    assert!(server.calls().iter().all(Call::is_list));
}

/// A type that has no versions can be listed, but not watched from one.
#[tokio::test(start_paused = true)]
async fn a_list_without_a_version_is_malformed_unless_it_is_polled() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
        _ => Reply::json(200, &serde_json::json!({"kind": "BlogList", "items": [], "metadata": {}})),
    });
    let error = Informers::new(server.client()).typed::<Blog>().start().synced().await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}
