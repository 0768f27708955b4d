//! Faults observed in kube-runtime 5.0 that this crate does not have: one test per case, through kube's client.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Client;
use kube_informer::{Informers, ListSemantic, Phase};
use serde_json::{Value, json};
use support::{Blog, Call, Reply, Server, Then, blog, bookmark, event, eventually, read};
use tokio::{sync::mpsc, time::Instant};

/// The times between the calls.
fn gaps(calls: &[Call]) -> Vec<Duration> {
    calls.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

#[tokio::test(start_paused = true)]
async fn expired_at_open_lists_again() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        1 => Reply::status(410, "Expired", "too old resource version"),
        _ => Reply::watch_list(9, &[blog("a", 5)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let calls = server.called(3).await;
    assert!(calls[1].uri.contains("resourceVersion=5"), "{}", calls[1].uri);
    assert!(calls[2].is_watch_list() && !calls[2].uri.contains("resourceVersion="), "{}", calls[2].uri);
    let mut status = blogs.watch_status();
    status.wait_for(|status| status.resource_version == "9".parse().ok()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_closes_at_once_is_not_reopened_at_once() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[], Then::Close),
        _ => Reply::watch(vec![], Then::Close),
    });
    let _blogs = Informers::new(server.client()).typed::<Blog>().start();
    let calls = server.called(10).await;
    let gaps = gaps(&calls);
    assert!(gaps[0] < Duration::from_secs(1), "{gaps:?}");
    assert!(gaps[..5].windows(2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
    assert!(*gaps.last().unwrap() > Duration::from_secs(5), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn lists_that_fail_back_off() {
    let server = Server::new(|_| Reply::status(500, "InternalError", "etcd is away"));
    let _blogs = Informers::new(server.client()).typed::<Blog>().start();
    let calls = server.called(12).await;
    let gaps = gaps(&calls);
    assert!(gaps[..5].windows(2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
    assert!(gaps[6..].iter().all(|gap| *gap > Duration::from_secs(5)), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_works_before_each_watch_that_fails_does_not_reset_the_backoff() {
    let server = Server::new(|call| {
        if call.is_watch() {
            return Reply::status(410, "Expired", "too old resource version");
        }
        Reply::watch_list(5 + call.index as u64, &[], Then::Break)
    });
    let _blogs = Informers::new(server.client()).typed::<Blog>().start();
    let calls = server.called(20).await;
    assert!(*gaps(&calls).last().unwrap() > Duration::from_secs(5), "{:?}", gaps(&calls));
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_list_is_a_list_and_the_refusal_is_remembered() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(
            422,
            "Invalid",
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        ),
        call if call.is_list() => Reply::list(5, &[blog("a", 5)]),
        _ => Reply::status(410, "Expired", "too old resource version"),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert_eq!(blogs.synced().await.unwrap().count, 1);
    let calls = server.called(6).await;
    assert!(calls[0].is_watch_list() && calls[1].is_list() && calls[1].uri.contains("limit=500"));
    assert!(!calls[1..].iter().any(Call::is_watch_list), "{calls:?}");
}

/// The server refused, so no other informer needs to find out; and the server may be upgraded.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_all_informers_and_for_an_hour() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
        call if call.is_list() => Reply::list(5, &[]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let informers = Informers::new(server.client());
    let first = informers.typed::<Blog>().start();
    first.synced().await.unwrap();
    let later = informers.typed::<Blog>().namespace("default").start();
    later.synced().await.unwrap();
    let asked = || server.calls().iter().filter(|call| call.is_watch_list()).count();
    assert_eq!(asked(), 1);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    informers.typed::<Blog>().label_selector("a=b").start().synced().await.unwrap();
    assert_eq!(asked(), 2);
}

/// That watch-lists break off may be the network's fault, so an informer uses a list only once.
#[tokio::test(start_paused = true)]
async fn an_ignored_watch_list_is_detected() {
    let server = Server::new(|call| match call {
        // A server that only supports `watch`: it sends the objects, but no end of the initial events.
        call if call.is_watch_list() => Reply::watch(vec![event("ADDED", &blog("a", 5))], Then::Stay),
        call if call.is_list() => Reply::list(5, &[blog("a", 5)]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let started = Instant::now();
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert_eq!(blogs.synced().await.unwrap().count, 1);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_list_from_the_cache_asks_for_it() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
        call if call.is_list() => Reply::list(5, &[]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().list_semantic(ListSemantic::Any).start();
    blogs.synced().await.unwrap();
    let calls = server.calls();
    for call in &calls[..2] {
        assert!(
            call.uri.contains("resourceVersion=0&") || call.uri.ends_with("resourceVersion=0"),
            "{}",
            call.uri
        );
        assert!(!call.uri.contains("limit="), "{}", call.uri);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_does_not_decode_is_quarantined_and_not_lost() {
    let bad = |name: &str, version: u64| {
        let mut bad = blog(name, version);
        bad["spec"]["url"] = json!(5);
        bad
    };
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| {
        let more = more.lock().unwrap().take().unwrap();
        Reply::watch_list(5, &[blog("a", 4), blog("b", 5), bad("c", 3)], Then::More(more))
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert_eq!(blogs.synced().await.unwrap().count, 2);
    let mut status = blogs.watch_status();
    let mut quarantined = async |version: &str| {
        let version = version.parse().ok();
        let status = status.wait_for(|status| status.resource_version == version).await.unwrap();
        let held = status.quarantined.iter();
        held.map(|(key, held)| format!("{}/{}", key.name(), held.resource_version.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(quarantined("5").await, ["c/3"]);

    send.send(event("MODIFIED", &bad("a", 6))).unwrap();
    assert_eq!(quarantined("6").await, ["a/6", "c/3"]);
    let kept = blogs.snapshot().unwrap();
    assert_eq!(kept.get("default", "a").unwrap().spec.url, "https://a/4", "the last good state stays");
    let why = blogs.status().quarantined.iter().next().unwrap().1.error.clone();
    assert!(why.contains("invalid type"), "{why}");

    send.send(event("MODIFIED", &blog("b", 7))).unwrap();
    assert_eq!(quarantined("7").await, ["a/6", "c/3"]);
    send.send(event("MODIFIED", &blog("a", 8))).unwrap();
    assert_eq!(quarantined("8").await, ["c/3"]);
    send.send(event("DELETED", &bad("c", 9))).unwrap();
    assert!(quarantined("9").await.is_empty());
    assert_eq!(blogs.snapshot().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_subscriber_delays_nobody() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server =
        Server::new(move |_| Reply::watch_list(5, &[], Then::More(more.lock().unwrap().take().unwrap())));
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let asleep = blogs.subscribe();
    let mut awake = blogs.subscribe();
    assert_eq!(read(&mut awake, 1).await, ["synced 0 at 5"]);
    for round in 0..500 {
        let version = 6 + 2 * round;
        send.send(event("ADDED", &blog("a", version)) + &event("DELETED", &blog("a", version + 1))).unwrap();
    }
    send.send(event("ADDED", &blog("z", 2000))).unwrap();
    let mut last = Vec::new();
    while last != ["+z/2000"] {
        last = read(&mut awake, 1).await;
    }
    assert_eq!(blogs.snapshot().unwrap().len(), 1);
    // An object that came and went in the meantime costs a sleeping subscriber nothing.
    assert_eq!(asleep.pending(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_relist_reports_the_differences_and_keeps_unchanged_objects() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 3), blog("b", 4), blog("c", 5)], Then::Break),
        1 => Reply::status(410, "Expired", "too old resource version"),
        _ => Reply::watch_list(9, &[blog("a", 3), blog("c", 8), blog("d", 9)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 4).await, ["*a/3", "*b/4", "*c/5", "synced 3 at 5"]);
    let before = blogs.snapshot().unwrap();
    assert_eq!(read(&mut events, 3).await, ["~c/5-8", "+d/9", "-b/4 MissedWhileAway"]);
    let after = blogs.snapshot().unwrap();
    assert!(Arc::ptr_eq(before.get("default", "a").unwrap(), after.get("default", "a").unwrap()));
    assert_eq!((before.len(), before.resource_version()), (3, "5".parse().ok()));
    assert_eq!((after.len(), after.resource_version()), (3, "9".parse().ok()));
    // Nothing is sent twice: a later subscriber gets the state, the other one nothing.
    let mut late = blogs.subscribe();
    assert_eq!(read(&mut late, 4).await, ["*a/3", "*c/8", "*d/9", "synced 3 at 9"]);
    assert_eq!(events.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn subscribers_receive_deletions() {
    let lines = vec![event("DELETED", &blog("a", 6)), event("ADDED", &blog("b", 7))];
    let server = Server::new(move |call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        _ => Reply::watch(lines.clone(), Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 4).await, ["*a/5", "synced 1 at 5", "-a/6 Deleted", "+b/7"]);
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_retries_are_not_used() {
    let server = Server::new(|_| Reply::status(503, "ServiceUnavailable", "not now"));
    let retrying = tower::ServiceBuilder::new()
        .layer(tower::buffer::BufferLayer::new(16))
        .layer(tower::retry::RetryLayer::new(kube::client::retry::RetryPolicy::server_retry()))
        .map_err(tower::BoxError::from)
        .service(server.service());
    let client = Client::new(retrying, "default");
    let blogs = Informers::new(client).typed::<Blog>().start();
    let error = blogs.synced().await.unwrap_err();
    assert_eq!((error.code(), server.calls().len()), (Some(503), 1));
}

#[tokio::test(start_paused = true)]
async fn managed_fields_are_skipped_unread_or_kept_on_request() {
    let managed = |fields: Value| {
        let mut blog = blog("a", 5);
        blog["metadata"]["managedFields"] = fields;
        blog["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
        blog
    };
    // Not a list of entries, so decoding it fails.
    let skipped = Server::new(move |_| Reply::watch_list(5, &[managed(json!("no list"))], Then::Stay));
    let blogs = Informers::new(skipped.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let snapshot = blogs.snapshot().unwrap();
    let metadata = &snapshot.get("default", "a").unwrap().metadata;
    assert_eq!(metadata.managed_fields, None);
    assert_eq!(metadata.annotations.as_ref().unwrap().len(), 1);

    let kept = Server::new(move |_| Reply::watch_list(5, &[managed(json!([{"manager": "m"}]))], Then::Stay));
    let blogs = Informers::new(kept.client()).typed::<Blog>().keep_managed_fields().start();
    blogs.synced().await.unwrap();
    let snapshot = blogs.snapshot().unwrap();
    assert_eq!(snapshot.get("default", "a").unwrap().metadata.managed_fields.as_ref().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_show_progress_and_end_a_wait_for_it() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server =
        Server::new(move |_| Reply::watch_list(5, &[], Then::More(more.lock().unwrap().take().unwrap())));
    let blogs = Informers::new(server.client()).typed::<Blog>().namespace("default").start();
    blogs.synced().await.unwrap();
    let soon = Instant::now() + Duration::from_secs(5);
    let missed = blogs.wait_for("default", "8", soon).await.unwrap_err();
    assert_eq!(missed.to_string(), "the cache did not reach resource version 8 in time");
    assert!(blogs.wait_for(None, "08", soon).await.unwrap_err().to_string().contains("\"08\""));
    assert!(blogs.wait_for("other", "5", soon).await.unwrap_err().to_string().contains("not watched"));
    blogs.wait_for("default", "5", soon).await.unwrap();

    let waiting = blogs.wait_for("default", "8", Instant::now() + Duration::from_secs(5));
    send.send(bookmark(9, false)).unwrap();
    waiting.await.unwrap();
    assert_eq!(blogs.status().resource_version, "9".parse().ok());
    assert_eq!(blogs.snapshot().unwrap().resource_version(), "9".parse().ok());
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_list_is_reported_at_once_and_retried() {
    let message = "blogs is forbidden: User \"nobody\" cannot watch resource \"blogs\"";
    let server = Server::new(move |call| match call.index {
        0..3 => Reply::status(403, "Forbidden", message),
        _ if call.is_list() => Reply::list(5, &[]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let started = Instant::now();
    let (one, two) = tokio::join!(blogs.synced(), blogs.synced());
    assert!(started.elapsed() < Duration::from_millis(100));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(error.is_forbidden());
        assert_eq!(error.status().unwrap().message, message);
    }
    assert!(blogs.snapshot().is_err());
    blogs.watch_status().wait_for(kube_informer::Status::is_ready).await.unwrap();
    assert_eq!(blogs.synced().await.unwrap().count, 0);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_revoked_when_nothing_is_received_and_restored() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server =
        Server::new(move |_| Reply::watch_list(5, &[], Then::More(more.lock().unwrap().take().unwrap())));
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let started = Instant::now();
    let mut status = blogs.watch_status();
    assert!(status.current().is_ready());
    status.wait_for(|status| status.stale && !status.is_ready()).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 180);
    assert!(matches!(status.current().phase, Phase::Watching));
    send.send(bookmark(6, false)).unwrap();
    status.wait_for(kube_informer::Status::is_ready).await.unwrap();
    // Reads still succeed all the time: whether stale data will do is up to the user.
    assert!(blogs.snapshot().is_ok());
    eventually(|| server.calls().len() == 1).await;
}
