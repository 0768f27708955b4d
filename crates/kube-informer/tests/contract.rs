//! The contract on the crate's page, except for what the simulation and the regression tests cover.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::{
    ResourceExt as _,
    core::{ApiResource, PartialObjectMeta},
};
use kube_informer::{Change, Compact, Error, Event, Informers, ObjectKey, Phase, Snapshot, Status};
use serde_json::json;
use support::{
    Blog, Call, Reply, Server, Then, blog, blog_with_uid, bookmark, event, eventually, next, read,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

fn quiet() -> Server {
    Server::new(|_| Reply::watch_list(5, &[blog("a", 5)], Then::Stay))
}

#[tokio::test(start_paused = true)]
async fn equal_informers_share_one_watch() {
    let server = quiet();
    let informers = Informers::new(server.client());
    let one = informers.typed::<Blog>().namespace("default").start();
    let two = informers.clone().typed::<Blog>().namespace("default").start();
    one.synced().await.unwrap();
    two.synced().await.unwrap();
    assert_eq!(server.calls().len(), 1);
    let (a, b) = (one.snapshot().unwrap(), two.snapshot().unwrap());
    assert!(Arc::ptr_eq(a.get("default", "a").unwrap(), b.get("default", "a").unwrap()));

    let others = [
        informers.typed::<Blog>().start(),
        informers.typed::<Blog>().namespace("default").label_selector("a=b").start(),
        informers.typed::<Blog>().namespace("default").keep_managed_fields().start(),
        informers.typed::<Blog>().namespace("default").skip_last_applied().start(),
    ];
    for other in &others {
        other.synced().await.unwrap();
    }
    assert_eq!(server.calls().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_stops_the_watch_and_frees_the_objects() {
    let server = quiet();
    let informers = Informers::new(server.client());
    let blogs = informers.typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let object = Arc::downgrade(blogs.snapshot().unwrap().get("default", "a").unwrap());
    let events = blogs.clone().subscribe();
    drop(blogs);
    // A subscription is a handle, too.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.open_answers(), 1);
    let stopped = Instant::now();
    drop(events);
    eventually(|| server.open_answers() == 0 && object.strong_count() == 0).await;
    assert!(stopped.elapsed() < Duration::from_secs(1));
    // The next informer is a new one.
    informers.typed::<Blog>().start().synced().await.unwrap();
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_token_ends_everything_within_a_second() {
    let server = quiet();
    let token = CancellationToken::new();
    let informers = Informers::with_cancellation(server.client(), token.clone());
    let blogs = informers.typed::<Blog>().start();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 2).await, ["*a/5", "synced 1 at 5"]);
    let cancelled = Instant::now();
    token.cancel();
    assert_eq!(next(&mut events).await, "end");
    assert!(matches!(blogs.status().phase, Phase::Stopped));
    assert!(!blogs.status().is_ready());
    eventually(|| server.open_answers() == 0).await;
    assert!(cancelled.elapsed() < Duration::from_secs(1));
    let soon = Instant::now() + Duration::from_secs(60);
    assert_eq!(blogs.wait_for(None, "9", soon).await.unwrap_err().to_string(), "the informer was stopped");
    // An informer that is started after the end does nothing, and says so.
    let late = informers.typed::<Blog>().start();
    assert!(matches!(late.synced().await, Err(Error::Stopped)));
    assert_eq!(server.calls().len(), 1);
}

/// Contract 11, for everything that an informer can wait for.
#[tokio::test(start_paused = true)]
async fn it_ends_within_a_second_whatever_it_waits_for() {
    let half = event("ADDED", &blog("a", 5));
    let half = half[..half.len() / 2].to_owned();
    let stalled_line = Server::new(move |_| Reply::watch(vec![half.clone()], Then::Stay));
    let stalled_list = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
        _ => Reply::watch(vec![r#"{"kind":"BlogList","items":["#.to_owned()], Then::Stay),
    });
    let backing_off = Server::new(|_| Reply::status(500, "InternalError", "no"));
    let told_to_wait = Server::new(|_| Reply::status(429, "TooManyRequests", "no").retry_after(300));
    for (server, requests) in
        [(quiet(), 1), (stalled_line, 1), (stalled_list, 2), (backing_off, 8), (told_to_wait, 1)]
    {
        let token = CancellationToken::new();
        let informers = Informers::with_cancellation(server.client(), token.clone());
        let (cancelled, dropped) =
            (informers.typed::<Blog>().start(), informers.typed::<Blog>().namespace("default").start());
        let mut events = cancelled.subscribe();
        server.called(2 * requests).await;
        let ends = Instant::now();
        drop(dropped);
        token.cancel();
        while events.next().await.is_some() {}
        assert!(matches!(cancelled.status().phase, Phase::Stopped));
        eventually(|| server.open_answers() == 0).await;
        assert!(ends.elapsed() < Duration::from_secs(1), "{:?}", ends.elapsed());
        let calls = server.calls().len();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(server.calls().len(), calls, "it goes on");
    }
}

/// Contract 8: whatever the reason, every waiter learns it, and learns when it is over.
#[tokio::test(start_paused = true)]
async fn every_failure_reaches_every_waiter_at_once_and_so_does_the_recovery() {
    let reasons: [fn() -> Reply; 5] = [
        || Reply::status(401, "Unauthorized", "no"),
        || Reply::status(403, "Forbidden", "no"),
        || Reply::json(404, &json!("404 page not found")),
        || Reply::watch(vec!["<html>\n".to_owned()], Then::Close),
        || Reply::watch(vec![event("BOOKMARK", &json!({"metadata": {"resourceVersion": "x"}}))], Then::Close),
    ];
    for (at, reason) in reasons.into_iter().enumerate() {
        let heals = Arc::new(AtomicBool::new(false));
        let healed = Arc::clone(&heals);
        let server = Server::new(move |_| match healed.load(Ordering::SeqCst) {
            true => Reply::watch_list(5, &[blog("a", 5)], Then::Stay),
            false => reason(),
        });
        let informers = Informers::new(server.client());
        let waiters = [informers.typed::<Blog>().start(), informers.typed::<Blog>().start()];
        let started = Instant::now();
        let (one, two) = tokio::join!(waiters[0].synced(), waiters[1].synced());
        assert!(started.elapsed() < Duration::from_secs(1), "{at}: {:?}", started.elapsed());
        let (one, two) = (one.unwrap_err(), two.unwrap_err());
        assert_eq!(one.to_string(), two.to_string());
        match at {
            0 => assert!(one.is_unauthorized()),
            1 => assert!(one.is_forbidden()),
            2 => assert!(one.is_unknown_type()),
            _ => assert!(matches!(one, Error::Malformed { .. }), "{one:?}"),
        }
        let mut status = waiters[0].watch_status();
        assert!(matches!(status.current().phase, Phase::Retrying { .. }));
        heals.store(true, Ordering::SeqCst);
        let healed = status.wait_for(|status| matches!(status.phase, Phase::Watching)).await.unwrap();
        assert!(healed.is_ready() && healed.error().is_none());
    }
}

/// Contract 2 and 6: a reader does not wait for a list in progress, and sees nothing that it has not shown yet.
#[tokio::test(start_paused = true)]
async fn a_relist_that_stands_still_half_way_holds_up_no_reader() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 3), blog("b", 4), blog("c", 5)], Then::Break),
        1 => Reply::status(410, "Expired", "too old resource version"),
        _ => Reply::watch(
            vec![event("ADDED", &blog("b", 7))],
            Then::More(more.lock().unwrap().take().unwrap()),
        ),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let by_name = blogs.index(|blog| [blog.name_any()]);
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 4).await, ["*a/3", "*b/4", "*c/5", "synced 3 at 5"]);
    // A difference is sent as soon as it is known.
    assert_eq!(next(&mut events).await, "~b/4-7");
    let half_way = blogs.snapshot().unwrap();
    assert_eq!(half_way.len(), 3);
    assert!(["a", "b", "c"].iter().all(|name| half_way.by_index(&by_name, *name).count() == 1));
    let mut late = blogs.subscribe();
    assert_eq!(read(&mut late, 4).await, ["*a/3", "*b/7", "*c/5", "synced 3 at 5"]);
    send.send(event("ADDED", &blog("c", 5)) + &bookmark(9, true)).unwrap();
    assert_eq!(next(&mut events).await, "-a/3 MissedWhileAway");
    assert_eq!(next(&mut late).await, "-a/3 MissedWhileAway");
    // A snapshot never changes, and objects that did not change are stored once.
    let after = blogs.snapshot().unwrap();
    assert_eq!((half_way.len(), after.len()), (3, 2));
    assert!(Arc::ptr_eq(half_way.get("default", "c").unwrap(), after.get("default", "c").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_single_fault_is_recovered_from_within_a_second() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        _ => Reply::watch(vec![event("MODIFIED", &blog("a", 6))], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    let started = Instant::now();
    assert_eq!(read(&mut events, 3).await, ["*a/5", "synced 1 at 5", "~a/5-6"]);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_is_found_within_seconds() {
    let server = quiet();
    let (away, service) = (Arc::new(AtomicBool::new(true)), server.service());
    let gone = Arc::clone(&away);
    let service = tower::service_fn(move |request| {
        let (gone, service) = (gone.load(Ordering::SeqCst), service.clone());
        async move {
            if gone {
                return Err(tower::BoxError::from(std::io::Error::from(
                    std::io::ErrorKind::ConnectionRefused,
                )));
            }
            Ok(tower::ServiceExt::oneshot(service, request).await?)
        }
    });
    let blogs = Informers::new(kube::Client::new(service, "default")).typed::<Blog>().start();
    let error = blogs.synced().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    tokio::time::sleep(Duration::from_secs(600)).await;
    away.store(false, Ordering::SeqCst);
    let back = Instant::now();
    blogs.watch_status().wait_for(Status::is_ready).await.unwrap();
    assert!(back.elapsed() <= Duration::from_secs(5), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_is_left_alone_as_long_as_it_asks() {
    let server = Server::new(|call| match call.index {
        0 => Reply::status(429, "TooManyRequests", "the watch cache is not ready").retry_after(30),
        _ => Reply::watch_list(5, &[], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    // The server said when to come back, not that it refuses: this is not a failure.
    assert_eq!(blogs.synced().await.unwrap().count, 0);
    let calls = server.calls();
    let waited = calls[1].at - calls[0].at;
    assert!((30..=33).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_dropped_past_its_timeout_and_resumed() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 5)], Then::Stay),
        _ => Reply::watch(vec![event("MODIFIED", &blog("a", 6))], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 3).await, ["*a/5", "synced 1 at 5", "~a/5-6"]);
    let calls = server.calls();
    let asked = calls[0].uri.split_once("timeoutSeconds=").unwrap().1.split('&').next().unwrap();
    let asked: u64 = asked.parse().unwrap();
    let silent = calls[1].at - calls[0].at;
    assert!((asked..asked + 15).contains(&silent.as_secs()), "{silent:?} of {asked} s");
    assert!(calls[1].uri.contains("resourceVersion=5"));
}

#[tokio::test(start_paused = true)]
async fn a_cache_may_be_allowed_to_never_become_stale() {
    let server = quiet();
    let blogs = Informers::new(server.client()).typed::<Blog>().stale_after(Duration::MAX).start();
    blogs.synced().await.unwrap();
    tokio::time::sleep(Duration::from_secs(230)).await;
    assert!(blogs.status().is_ready());
    assert_eq!(blogs.status().last_contact_age().map(|age| age.as_secs()), Some(230));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let hung = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        std::future::pending::<Result<http::Response<http_body_util::Empty<bytes::Bytes>>, tower::BoxError>>()
            .await
    });
    let blogs = Informers::new(kube::Client::new(hung, "default")).typed::<Blog>().start();
    let started = Instant::now();
    assert!(matches!(blogs.synced().await, Err(Error::Silent { .. })));
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_goes_empties_the_cache_once_discovery_confirms_it_and_can_come_back() {
    let served = Arc::new(AtomicBool::new(true));
    let gone = Arc::clone(&served);
    let doubts = Mutex::new(0);
    let server = Server::new(move |call| {
        let served = gone.load(Ordering::SeqCst);
        if call.is_discovery() {
            // Discovery lags behind: at first it still lists the type.
            let mut doubts = doubts.lock().unwrap();
            *doubts += 1;
            let names = if served || *doubts < 3 { vec![json!({"name": "blogs"})] } else { vec![] };
            return Reply::json(200, &json!({"kind": "APIResourceList", "resources": names}));
        }
        match call.index {
            0 => Reply::watch_list(5, &[blog("a", 4), blog("b", 5)], Then::Break),
            _ if served && call.is_watch_list() => {
                Reply::watch_list(9, &[blog_with_uid("a", 9, "new")], Then::Stay)
            }
            _ => Reply::json(404, &json!("404 page not found")),
        }
    });
    served.store(false, Ordering::SeqCst);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    let mut status = blogs.watch_status();
    assert_eq!(read(&mut events, 3).await, ["*a/4", "*b/5", "synced 2 at 5"]);

    // Doubted: everything is still there, and known to be stale.
    status.wait_for(|status| status.stale).await.unwrap();
    assert_eq!(blogs.snapshot().unwrap().len(), 2);

    status.wait_for(|status| matches!(status.phase, Phase::TypeGone { .. })).await.unwrap();
    assert_eq!(read(&mut events, 2).await, ["-a/4 TypeGone", "-b/5 TypeGone"]);
    assert!(blogs.snapshot().unwrap().is_empty());
    assert!(
        !status.current().is_ready(),
        "who prunes what an empty cache does not have must not take this one"
    );
    assert_eq!(server.calls().iter().filter(|call| call.is_discovery()).count(), 3);

    tokio::time::sleep(Duration::from_secs(120)).await;
    let asked = Instant::now();
    served.store(true, Ordering::SeqCst);
    assert_eq!(next(&mut events).await, "+a/9");
    assert!(asked.elapsed() <= Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(status.wait_for(Status::is_ready).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_type_that_is_not_served_yet_is_waited_for() {
    let server = Server::new(|call| match call.index {
        0..5 => Reply::json(404, &json!("404 page not found")),
        _ => Reply::watch_list(5, &[], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert!(blogs.synced().await.unwrap_err().is_unknown_type());
    blogs.watch_status().wait_for(Status::is_ready).await.unwrap();
    let calls = server.calls();
    assert!(calls.windows(2).all(|pair| pair[1].at - pair[0].at <= Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_ordered_by_namespace_and_name() {
    let at = |namespace: &str, name: &str, version: u64| {
        let mut blog = blog(name, version);
        blog["metadata"]["namespace"] = json!(namespace);
        blog
    };
    // `a-b` sorts after `a`, although `-` sorts before `/`.
    let objects = [at("a-b", "x", 1), at("a", "z", 2), at("b", "y", 3), at("a", "y", 4)];
    let server = Server::new(move |_| Reply::watch_list(5, &objects, Then::Stay));
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let snapshot = blogs.snapshot().unwrap();
    let keys: Vec<String> = snapshot.entries().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["a/y", "a/z", "a-b/x", "b/y"]);
    let names = |namespace| snapshot.in_namespace(namespace).map(|blog| blog.name_any()).collect::<Vec<_>>();
    assert_eq!((names("a"), names("a-b")), (vec!["y".to_owned(), "z".to_owned()], vec!["x".to_owned()]));
    assert!(names("none").is_empty() && snapshot.get("a", "x").is_none());
}

#[tokio::test(start_paused = true)]
async fn another_object_of_the_same_name_is_a_deletion_and_an_addition() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| {
        Reply::watch_list(5, &[blog("a", 5)], Then::More(more.lock().unwrap().take().unwrap()))
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    let mut late = blogs.subscribe();
    assert_eq!(read(&mut events, 2).await, ["*a/5", "synced 1 at 5"]);
    // The server's own watch cache missed the deletion: only the new object is sent.
    send.send(event("ADDED", &blog_with_uid("a", 8, "another"))).unwrap();
    assert_eq!(read(&mut events, 2).await, ["-a/5 Deleted", "+a/8"]);
    // Not coalesced into one: even a late reader receives both.
    send.send(event("MODIFIED", &blog_with_uid("a", 9, "another"))).unwrap();
    assert_eq!(next(&mut events).await, "~a/8-9");
    assert_eq!(read(&mut late, 4).await, ["*a/5", "synced 1 at 5", "-a/5 Deleted", "+a/9"]);
}

#[tokio::test(start_paused = true)]
async fn changes_are_coalesced_for_a_slow_reader() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| {
        Reply::watch_list(5, &[blog("a", 5)], Then::More(more.lock().unwrap().take().unwrap()))
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().label_selector("a=b").start();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 2).await, ["*a/5", "synced 1 at 5"]);
    for version in 6..100 {
        send.send(event("MODIFIED", &blog("a", version))).unwrap();
    }
    // It leaves the selection and comes back: still the same object.
    send.send(event("DELETED", &blog("a", 100)) + &event("ADDED", &blog("a", 101))).unwrap();
    send.send(event("ADDED", &blog("b", 102)) + &event("DELETED", &blog("b", 103))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    blogs.wait_for("default", "103", deadline).await.unwrap();
    assert_eq!(events.pending(), 1);
    assert_eq!(next(&mut events).await, "~a/5-101");
    send.send(event("DELETED", &blog("a", 104))).unwrap();
    assert_eq!(next(&mut events).await, "-a/104 DeletedOrLeftSelection");
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_to_their_end_so_that_connections_are_used_again() {
    let server = Server::new(|call| {
        let page = |items: &[serde_json::Value], token: &str| {
            let metadata = json!({"resourceVersion": "5", "continue": token});
            let body = json!({"items": items, "metadata": metadata}).to_string();
            Reply::watch(vec![body, "\n".to_owned()], Then::Close)
        };
        match call {
            call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
            call if call.uri.contains("continue=next") => page(&[blog("b", 5)], ""),
            call if call.is_list() => page(&[blog("a", 4)], "next"),
            _ => Reply::watch(vec![], Then::Stay),
        }
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert_eq!(blogs.synced().await.unwrap().count, 2);
    server.called(4).await;
    assert_eq!(server.answers_read_out(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_expired_page_starts_the_list_anew_unpaged() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
        call if call.uri.contains("continue=") => {
            Reply::status(410, "Expired", "the continue token is too old")
        }
        call if call.uri.contains("limit=") => {
            let metadata = json!({"resourceVersion": "5", "continue": "next"});
            Reply::json(200, &json!({"items": [blog("a", 4), blog("gone", 5)], "metadata": metadata}))
        }
        call if call.is_list() => Reply::list(9, &[blog("a", 4), blog("b", 9)]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 3).await, ["*a/4", "*b/9", "synced 2 at 9"]);
}

#[tokio::test(start_paused = true)]
async fn versions_that_go_back_are_a_new_epoch() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(50, &[blog("a", 40), blog("b", 50)], Then::Break),
        // The server was restarted and knows nothing of version 50.
        1 => Reply::watch(vec![bookmark(3, false)], Then::Stay),
        _ => Reply::watch_list(4, &[blog_with_uid("a", 2, "new")], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    let received = read(&mut events, 6).await;
    assert_eq!(
        received,
        ["*a/40", "*b/50", "synced 2 at 50", "-a/40 Deleted", "+a/2", "-b/50 MissedWhileAway"]
    );
    assert_eq!(blogs.snapshot().unwrap().resource_version(), "4".parse().ok());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_cannot_be_compared_is_an_error() {
    let odd = bookmark(5, true).replace("\"5\"", "\"v5\"");
    let server = Server::new(move |_| Reply::watch(vec![odd.clone()], Then::Stay));
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let error = blogs.synced().await.unwrap_err();
    assert!(error.to_string().ends_with("a resource version is not a positive decimal number"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dynamic_objects_have_a_type_even_if_the_list_omits_it() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
        call if call.is_list() => {
            let mut bare = blog("a", 5);
            bare.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
            Reply::list(5, &[bare])
        }
        _ => Reply::watch(vec![], Then::Stay),
    });
    let informers = Informers::new(server.client());
    let blogs = informers.dynamic(&ApiResource::erase::<Blog>(&())).start();
    blogs.synced().await.unwrap();
    let snapshot = blogs.snapshot().unwrap();
    let object = serde_json::to_value(&**snapshot.get("default", "a").unwrap()).unwrap();
    assert_eq!((&object["apiVersion"], &object["kind"]), (&json!("web.helloworld/v1"), &json!("Blog")));
    assert_eq!(object["spec"]["url"], json!("https://a/5"));
}

#[tokio::test(start_paused = true)]
async fn metadata_informers_ask_for_metadata() {
    let server = quiet();
    let informers = Informers::new(server.client());
    let typed = informers.typed::<PartialObjectMeta<Blog>>().start();
    typed.synced().await.unwrap();
    assert_eq!(typed.snapshot().unwrap().get("default", "a").unwrap().name_any(), "a");
    let dynamic = informers.metadata(&ApiResource::erase::<Blog>(&())).start();
    dynamic.synced().await.unwrap();
    let accepts: Vec<String> = server.calls().into_iter().map(|call| call.accept).collect();
    assert_eq!(accepts, ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"; 2]);
}

#[tokio::test(start_paused = true)]
async fn scope_and_selectors_are_sent() {
    let server = quiet();
    let informers = Informers::new(server.client());
    let blogs = informers
        .typed::<Blog>()
        .namespace("default")
        .label_selector("a in (b,c)")
        .field_selector("metadata.name=x")
        .start();
    blogs.synced().await.unwrap();
    let Call { uri, .. } = &server.calls()[0];
    assert!(uri.starts_with("/apis/web.helloworld/v1/namespaces/default/blogs?"), "{uri}");
    assert!(uri.contains("labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dx"), "{uri}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let error = Informers::new(client).typed::<Blog>().start().synced().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

fn tagged(name: &str, version: u64, tags: &[&str]) -> serde_json::Value {
    let mut blog = blog(name, version);
    blog["metadata"]["annotations"] = json!({"tags": tags.join(",")});
    blog["metadata"]["labels"] = json!({"last": tags.last()});
    blog
}

#[tokio::test(start_paused = true)]
async fn an_index_finds_objects_by_any_number_of_keys_whenever_it_was_added() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| {
        let objects = [tagged("a", 4, &["x", "y"]), tagged("b", 5, &["y"])];
        Reply::watch_list(5, &objects, Then::More(more.lock().unwrap().take().unwrap()))
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let tags = |blog: &Arc<Blog>| -> Vec<String> {
        let tags = blog.annotations().get("tags").map(|tags| tags.split(',').map(str::to_owned).collect());
        tags.unwrap_or_default()
    };
    let early = blogs.index(tags);
    blogs.synced().await.unwrap();
    let before = blogs.snapshot().unwrap();
    let late = blogs.index(tags);
    let by_label = blogs.label_index("last");
    let names = |snapshot: &Snapshot<Blog>, index, key: &str| -> String {
        snapshot.by_index(index, key).map(|blog| blog.name_any()).collect::<Vec<_>>().join(" ")
    };

    send.send(event("MODIFIED", &tagged("a", 6, &["z"])) + &event("DELETED", &tagged("b", 7, &["y"])))
        .unwrap();
    send.send(event("ADDED", &tagged("c", 8, &["x", "z"]))).unwrap();
    blogs.wait_for("default", "8", Instant::now() + Duration::from_secs(5)).await.unwrap();
    let after = blogs.snapshot().unwrap();
    for index in [&early, &late] {
        // A snapshot is read as of its own moment, even if it is older than the index.
        let found = ["x", "y", "z"].map(|key| names(&before, index, key));
        assert_eq!(found, ["a", "a b", ""]);
        let found = ["x", "y", "z"].map(|key| names(&after, index, key));
        assert_eq!(found, ["c", "", "a c"]);
    }
    assert_eq!(names(&after, &by_label, "z"), "a c");
    assert_eq!(names(&before, &by_label, "y"), "a b");
    for (snapshot, keys) in [(&before, ["x", "y"]), (&after, ["x", "z"])] {
        for index in [&early, &late] {
            let mut held: Vec<String> = snapshot.index_keys(index).collect();
            held.sort();
            assert_eq!(held, keys);
        }
    }
    assert_eq!((after.index_count(&late, "z"), after.index_count(&late, "y")), (2, 0));
    // An entry holds the present state of the object, also under a key that it had before.
    let found: Vec<_> = after.by_index(&early, "z").collect();
    assert!(found.iter().all(|found| Arc::ptr_eq(found, after.get("default", &found.name_any()).unwrap())));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_nobody_holds_is_not_kept() {
    let server = quiet();
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let index = blogs.index(move |_| {
        let _ = &inside;
        ["all".to_owned()]
    });
    let other = index.clone();
    drop(index);
    assert_eq!(blogs.snapshot().unwrap().by_index(&other, "all").count(), 1);
    drop(other);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test(start_paused = true)]
async fn a_compact_cache_reports_the_same_and_keeps_unchanged_objects() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 4), blog("b", 5)], Then::Close),
        1 => Reply::status(410, "Expired", "too old"),
        _ => {
            let mut bad = blog("bad", 9);
            bad["spec"]["url"] = json!(1);
            Reply::watch_list(9, &[blog("a", 4), blog_with_uid("b", 8, "another"), bad], Then::Stay)
        }
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().compact().start();
    let mut events = blogs.subscribe();
    let (mut received, mut first) = (Vec::new(), None);
    while received.len() < 5 {
        received.push(match events.next().await.unwrap() {
            Event::Change(Change::Added { key, object, .. }) => {
                format!("+{} {}", key.name(), object.decode().unwrap().spec.url)
            }
            Event::Change(Change::Deleted { key, last, .. }) => {
                format!("-{} {}", key.name(), last.decode().unwrap().spec.url)
            }
            other => format!("{other:?}"),
        });
        if received.len() == 1 {
            first = Some(blogs.snapshot().unwrap());
        }
    }
    assert!(received[2].starts_with("Synced"), "{received:?}");
    assert_eq!(received[..2], ["+a https://a/4", "+b https://b/5"]);
    assert_eq!(received[3..], ["-b https://b/5", "+b https://b/8"]);
    let (first, now) = (first.unwrap(), blogs.snapshot().unwrap());
    let same = |name| Compact::ptr_eq(first.get("default", name).unwrap(), now.get("default", name).unwrap());
    assert!(same("a") && !same("b"));
    let quarantined = blogs.status().quarantined.clone();
    assert_eq!(quarantined.keys().map(ObjectKey::name).collect::<Vec<_>>(), ["bad"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_skipped_is_not_cached_and_is_named_when_the_type_needs_it() {
    let mut labelled = blog("a", 5);
    labelled["metadata"]["labels"] = json!({"app": "web", "example.com/notes": "long"});
    let server = Server::new(move |_| Reply::watch_list(5, std::slice::from_ref(&labelled), Then::Stay));
    let informers = Informers::new(server.client());
    let blogs = informers.typed::<Blog>().skip(["metadata.labels['example.com/notes']"]).unwrap().start();
    let same = informers.typed::<Blog>().skip(["metadata.labels['example.com/notes']"]).unwrap().start();
    blogs.synced().await.unwrap();
    same.synced().await.unwrap();
    let snapshot = blogs.snapshot().unwrap();
    assert_eq!(snapshot.get("default", "a").unwrap().labels().keys().collect::<Vec<_>>(), ["app"]);
    assert_eq!(server.calls().len(), 1);

    let needed = informers.typed::<Blog>().skip(["spec"]).unwrap().start();
    needed.synced().await.unwrap();
    assert!(needed.snapshot().unwrap().is_empty());
    let quarantined = needed.status().quarantined.clone();
    assert!(quarantined[&ObjectKey::new("default", "a")].error.contains("missing field `spec`"));

    let error = informers.typed::<Blog>().skip(["metadata.uid"]).err().unwrap();
    assert_eq!(error.to_string(), "\"metadata.uid\" cannot be skipped: the cache needs it");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_an_index_function_ends_the_informer_and_a_new_one_can_be_started() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| match more.lock().unwrap().take() {
        Some(more) => Reply::watch_list(5, &[blog("a", 5)], Then::More(more)),
        None => Reply::watch_list(9, &[blog("a", 9)], Then::Stay),
    });
    let informers = Informers::new(server.client());
    let blogs = informers.typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let _index = blogs.index(|blog: &Arc<Blog>| {
        assert_ne!(blog.name_any(), "bad", "on purpose");
        [blog.name_any()]
    });
    send.send(event("ADDED", &blog("bad", 7))).unwrap();
    blogs.watch_status().wait_for(|status| matches!(status.phase, Phase::Stopped)).await.unwrap();
    assert!(matches!(blogs.synced().await, Err(Error::Stopped)));
    assert!(!blogs.status().is_ready());

    // The same type, scope and options, while the first handle still exists.
    let again = informers.typed::<Blog>().start();
    assert_eq!(again.synced().await.unwrap().count, 1);
    assert!(again.snapshot().unwrap().get("default", "a").is_some_and(|blog| blog.spec.url.ends_with("/9")));
}

#[tokio::test(start_paused = true)]
async fn objects_that_fail_to_decode_are_counted_for_waiters() {
    let bad = |name: &str| {
        let mut bad = blog(name, 4);
        bad["spec"]["url"] = json!(5);
        bad
    };
    let server = Server::new(move |_| Reply::watch_list(5, &[bad("a"), bad("b"), blog("c", 5)], Then::Stay));
    let synced = Informers::new(server.client()).typed::<Blog>().start().synced().await.unwrap();
    assert_eq!((synced.count, synced.quarantined), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_429_that_lasts_is_a_failure() {
    let server = Server::new(|call| match call.uri.contains("/b/") {
        true => Reply::status(429, "TooManyRequests", "later").retry_after(8),
        false => Reply::watch_list(5, &[blog("a", 5)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().namespaces(["default", "b"]).start();
    let began = Instant::now();
    let error = blogs.synced().await.unwrap_err();
    assert!(error.is_too_many_requests(), "{error}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(60), "{waited:?}");
    // It no longer denies anything in the other namespace either.
    assert_eq!(blogs.snapshot().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_accepts_but_does_not_respond_is_unreachable() {
    for answer in ["", "hello\r\n", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        let blogs = Informers::new(kube::Client::try_from(config).unwrap()).typed::<Blog>().start();
        let (error, ()) = tokio::join!(blogs.synced(), async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await.unwrap();
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
        });
        assert!(matches!(error.unwrap_err(), Error::Unreachable { .. }), "{answer:?}");
    }
}
