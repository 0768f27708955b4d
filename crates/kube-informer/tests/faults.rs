//! Servers that respond without making progress: they are detected, reported and worked around.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and not what helps them")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube_informer::{Error, Informers, Phase, Status, StatusWatch};
use serde_json::{Value, json};
use support::{Blog, Call, Reply, Server, Then, blog, bookmark, event, eventually, read};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

type Answer = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

fn refused() -> Reply {
    Reply::status(422, "Invalid", "no watch-lists here")
}

fn page(items: &[Value], token: &str) -> Reply {
    let metadata = json!({"resourceVersion": "5", "continue": token});
    Reply::json(200, &json!({"kind": "BlogList", "items": items, "metadata": metadata}))
}

/// Contract 8: a server that accepts each request and then sends nothing does not keep the cache up to date.
#[tokio::test(start_paused = true)]
async fn readiness_is_revoked_when_answers_bring_nothing() {
    let fails = event("ERROR", &json!({"kind": "Status", "status": "Failure", "code": 500, "message": "no"}));
    let half = r#"{"kind":"BlogList","items":["#.to_owned() + &blog("a", 5).to_string();
    let answers: [Answer; 4] = [
        Arc::new(move |_| Reply::watch(vec![fails.clone()], Then::Close)),
        Arc::new(|_| Reply::watch(vec![], Then::Close)),
        Arc::new(move |call| match call {
            call if call.is_watch() => Reply::status(410, "Expired", "too old resource version"),
            call if call.is_watch_list() => refused(),
            _ => Reply::watch(vec![half.clone()], Then::Break),
        }),
        Arc::new(|call| match call.is_watch() {
            true => Reply::status(410, "Expired", "too old resource version"),
            false => Reply::watch(vec![event("ADDED", &blog("a", 5))], Then::Break),
        }),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let server = Server::new(move |call| match call.index {
            0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
            _ => answer(call),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        blogs.synced().await.unwrap();
        let (mut status, synced) = (blogs.watch_status(), Instant::now());
        let revoked = status.wait_for(|status| !status.is_ready());
        tokio::time::timeout(HOUR, revoked).await.unwrap_or_else(|_| panic!("{at}: still ready")).unwrap();
        assert_eq!(synced.elapsed().as_secs(), 180, "{at}");
        let failing = status.wait_for(|status| matches!(status.phase, Phase::Watching));
        assert!(tokio::time::timeout(HOUR, failing).await.is_err(), "{at}: nothing was being watched");
        assert!(blogs.status().last_contact_age().unwrap() >= HOUR, "{at}");
    }
}

/// Contract 8: an idle watch counts as working, and the status says so before its first bookmark.
#[tokio::test(start_paused = true)]
async fn an_idle_watch_counts_as_working_once_it_has_lasted() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        1 => Reply::status(500, "InternalError", "no"),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let mut status = blogs.watch_status();
    status.wait_for(|status| status.error().is_some()).await.unwrap();
    status.wait_for(|status| matches!(status.phase, Phase::Watching)).await.unwrap();
    let since = server.calls()[2].at.elapsed();
    assert_eq!(since.as_secs(), 10, "{since:?}");
}

/// Contract 12: changes are not initial events. New objects could be, but not for long.
#[tokio::test(start_paused = true)]
async fn a_watch_list_that_a_busy_server_ignores_is_detected() {
    for (kind, bound) in [("MODIFIED", 20), ("ADDED", 30)] {
        let (send, more) = mpsc::unbounded_channel();
        let more = Mutex::new(Some(more));
        let server = Server::new(move |call| match call {
            call if call.is_watch_list() => {
                Reply::watch(vec![], Then::More(more.lock().unwrap().take().unwrap()))
            }
            call if call.is_list() => Reply::list(5, &[blog("a", 5)]),
            _ => Reply::watch(vec![], Then::Stay),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        let started = Instant::now();
        let busy = async {
            for version in 10.. {
                // Nobody reads it any more once the server was detected.
                let _ = send.send(event(kind, &blog("a", version)));
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        tokio::select! {
            synced = blogs.synced() => assert_eq!(synced.unwrap().count, 1),
            () = busy => {}
        }
        assert!(started.elapsed() < Duration::from_secs(bound), "{kind}: {:?}", started.elapsed());
    }
}

/// On a slow connection, initial events take as long as they take.
#[tokio::test(start_paused = true)]
async fn a_slow_watch_list_is_read_to_its_end() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| Reply::watch(vec![], Then::More(more.lock().unwrap().take().unwrap())));
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let slow = async {
        for version in 5..25 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            let mut large = blog(&format!("blog-{version}"), version);
            large["spec"]["text"] = json!("x".repeat(6 << 20));
            send.send(event("ADDED", &large)).unwrap();
        }
        send.send(event("MODIFIED", &blog("blog-5", 25)) + &bookmark(25, true)).unwrap();
    };
    let (synced, ()) = tokio::join!(blogs.synced(), slow);
    assert_eq!(synced.unwrap().count, 20);
    assert_eq!(server.calls().len(), 1);
}

/// Contract 12: however a watch-list fails, a list follows. The other informers profit from that for a while.
#[tokio::test(start_paused = true)]
async fn watch_lists_that_fail_in_any_way_give_way_to_a_list() {
    let answers: [fn() -> Reply; 9] = [
        || Reply::status(429, "TooManyRequests", "storage is (re)initializing").retry_after(1),
        || Reply::status(500, "InternalError", "no"),
        || Reply::status(502, "", "bad gateway"),
        || Reply::status(503, "ServiceUnavailable", "no"),
        || Reply::status(504, "Timeout", "no").retry_after(1),
        || Reply::status(403, "Forbidden", "blogs is forbidden: User cannot watch"),
        || Reply::watch(vec![event("ADDED", &blog("a", 5))], Then::Break),
        || Reply::watch(vec!["<html>\n".to_owned()], Then::Close),
        || Reply::pending(),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let server = Server::new(move |call| match call {
            call if call.is_watch_list() => answer(),
            call if call.is_list() => Reply::list(5, &[blog("a", 5)]),
            _ => Reply::watch(vec![], Then::Stay),
        });
        let informers = Informers::new(server.client());
        let first = informers.typed::<Blog>().start();
        let mut status = first.watch_status();
        tokio::time::timeout(HOUR, status.wait_for(Status::is_ready)).await.unwrap().unwrap();
        let watch_lists = |calls: &[Call]| calls.iter().filter(|call| call.is_watch_list()).count();
        assert_eq!(watch_lists(&server.calls()), 2, "{at}");
        let other = informers.typed::<Blog>().namespace("default").start();
        other.watch_status().wait_for(Status::is_ready).await.unwrap();
        assert_eq!(watch_lists(&server.calls()), 2, "{at}: the others ask, too");
        tokio::time::sleep(Duration::from_secs(301)).await;
        drop(informers.typed::<Blog>().label_selector("a=b").start().synced().await);
        assert!(watch_lists(&server.calls()) > 2, "{at}: it is never tried again");
    }
}

/// Contract 12: a version that the server keeps refusing is given up, whatever the reason.
#[tokio::test(start_paused = true)]
async fn a_version_that_is_refused_in_any_way_gives_way_to_a_list() {
    let failure = |code: u16, reason: &str| {
        let status =
            json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no"});
        event("ERROR", &status)
    };
    let (old, odd) = (failure(400, "BadRequest"), failure(0, "TooOld"));
    let answers: [Answer; 4] = [
        Arc::new(|_| Reply::status(400, "BadRequest", "invalid resource version")),
        Arc::new(|_| Reply::status(500, "InternalError", "etcdserver: mvcc: no")),
        Arc::new(move |_| Reply::watch(vec![old.clone()], Then::Stay)),
        Arc::new(move |_| Reply::watch(vec![odd.clone()], Then::Close)),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let server = Server::new(move |call| match call {
            call if call.index == 0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
            call if call.uri.ends_with("resourceVersion=5") => answer(call),
            call if call.is_watch_list() => Reply::watch_list(9, &[blog("a", 9)], Then::Stay),
            call => panic!("{call:?}"),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        let mut events = blogs.subscribe();
        assert_eq!(read(&mut events, 3).await, ["*a/5", "synced 1 at 5", "~a/5-9"], "{at}");
        assert_eq!(server.calls().iter().filter(|call| call.is_watch()).count(), 5, "{at}");
    }
}

/// A user who may not watch is not helped by lists: that is reported, and not hidden by lists now and then.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_forbidden_leads_to_no_list() {
    let server = Server::new(|call| match call {
        call if call.index == 0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        call if call.is_watch() => Reply::status(403, "Forbidden", "blogs is forbidden"),
        call => panic!("{call:?}"),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    tokio::time::sleep(HOUR).await;
    assert!(blogs.status().error().is_some_and(Error::is_forbidden));
}

/// Contract 12: two servers behind one name, each with versions of its own.
#[tokio::test(start_paused = true)]
async fn versions_that_flap_make_lists_rare() {
    let server = Server::new(|call| {
        let version = if call.index % 2 == 0 { 1000 + call.index as u64 } else { 10 + call.index as u64 };
        match call {
            call if call.is_watch_list() => Reply::watch_list(version, &[blog("a", version)], Then::Break),
            _ => Reply::watch(vec![event("MODIFIED", &blog("a", version))], Then::Stay),
        }
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    tokio::time::sleep(HOUR).await;
    let lists = server.calls().iter().filter(|call| call.is_watch_list()).count();
    assert!((30..150).contains(&lists), "{lists} lists in an hour");
}

/// Contract 12: a type that was away is found at once, and the server decides how soon it is asked again.
#[tokio::test(start_paused = true)]
async fn a_type_that_comes_back_is_listed_without_the_delays_of_its_absence() {
    let there = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (serves, busy) = (Arc::clone(&there), std::sync::atomic::AtomicBool::new(true));
    let load = |flag: &std::sync::atomic::AtomicBool| flag.load(std::sync::atomic::Ordering::SeqCst);
    let server = Server::new(move |call| match call {
        call if call.index == 0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        call if call.is_discovery() && load(&serves) => {
            let blogs = json!({"name": "blogs", "namespaced": true, "verbs": ["list", "watch"]});
            Reply::json(200, &json!({"resources": [blogs]}))
        }
        _ if !load(&serves) => Reply::json(404, &json!("404 page not found")),
        _ if busy.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            Reply::status(429, "TooManyRequests", "storage is (re)initializing").retry_after(1)
        }
        _ => Reply::watch_list(9, &[blog("a", 9)], Then::Stay),
    });
    there.store(true, std::sync::atomic::Ordering::SeqCst);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    there.store(false, std::sync::atomic::Ordering::SeqCst);
    let mut status = blogs.watch_status();
    status.wait_for(|status| matches!(status.phase, Phase::TypeGone { .. })).await.unwrap();
    tokio::time::sleep(HOUR).await;
    there.store(true, std::sync::atomic::Ordering::SeqCst);
    let back = Instant::now();
    status.wait_for(Status::is_ready).await.unwrap();
    // Discovery is asked every three seconds at least, a list that replaces another waits up to 0.4 s, and the server asks
    // for one second, to which a tenth is added.
    assert!(back.elapsed() <= Duration::from_millis(4500), "{:?}", back.elapsed());
}

/// A server whose first watch consists of what the test sends. The watches after it are idle.
fn first_watch() -> (Server, mpsc::UnboundedSender<String>) {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |call| match call.index {
        0 => Reply::watch_list(5, &[], Then::More(more.lock().unwrap().take().unwrap())),
        _ => Reply::watch(vec![], Then::Stay),
    });
    (server, send)
}

/// Contract 12: the bookmarks of a watch show how long it may be silent.
#[tokio::test(start_paused = true)]
async fn a_watch_that_dies_after_regular_bookmarks_is_noticed_after_two_of_them() {
    let (server, send) = first_watch();
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    for version in 6..8 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        send.send(bookmark(version, false)).unwrap();
    }
    let last = Instant::now();
    server.called(2).await;
    assert_eq!(last.elapsed().as_secs(), 110);
    assert!(server.calls()[1].is_watch());
}

/// A server that sends bookmarks in clusters is idle between them, and not dead: that is found out once.
#[tokio::test(start_paused = true)]
async fn an_idle_watch_is_dropped_at_most_once_because_of_its_bookmarks() {
    for (count, drops) in [(1, 0), (2, 1)] {
        let (server, send) = first_watch();
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        blogs.synced().await.unwrap();
        for version in 6..6 + count {
            tokio::time::sleep(Duration::from_secs(5)).await;
            send.send(bookmark(version, false)).unwrap();
        }
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(server.calls().len(), 1 + drops);
    }
}

fn resources(namespaced: bool, verbs: &[&str]) -> Reply {
    let blogs = json!({"name": "blogs", "namespaced": namespaced, "verbs": verbs});
    Reply::json(200, &json!({"kind": "APIResourceList", "resources": [blogs]}))
}

/// A type that can only be listed is reported as that, however the server refuses to watch it.
#[tokio::test(start_paused = true)]
async fn a_type_that_cannot_be_watched_is_reported_as_that() {
    let answers: [fn() -> Reply; 2] = [
        || Reply::status(405, "MethodNotAllowed", "the server does not allow this method"),
        // `watch` is ignored.
        || Reply::list(5, &[blog("a", 5)]),
    ];
    for answer in answers {
        for refused_before in [false, true] {
            let server = Server::new(move |call| match call {
                call if call.is_discovery() => resources(true, &["get", "list"]),
                call if call.uri.contains("labelSelector") && call.is_watch_list() => refused(),
                call if call.is_list() => Reply::list(5, &[blog("a", 5)]),
                _ => answer(),
            });
            let informers = Informers::new(server.client());
            if refused_before {
                let _ = informers.typed::<Blog>().label_selector("a=b").start().synced().await;
            }
            let blogs = informers.typed::<Blog>().start();
            let unwatchable = |status: &Status| matches!(status.error(), Some(Error::NotWatchable { .. }));
            blogs.watch_status().wait_for(unwatchable).await.unwrap();
            let error = blogs.synced().await.unwrap_err();
            assert!(matches!(error, Error::NotWatchable { .. }), "{error}");
            tokio::time::sleep(HOUR).await;
            assert!(server.calls().len() < 400, "{}", server.calls().len());
        }
    }
}

/// A cluster-scoped type that is asked for in a namespace, which only discovery can tell from one that is missing.
#[tokio::test(start_paused = true)]
async fn a_cluster_scoped_type_in_a_namespace_is_reported_as_that() {
    let server = Server::new(|call| match call {
        call if call.is_discovery() => resources(false, &["list", "watch"]),
        _ => Reply::json(404, &json!("404 page not found")),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().namespace("default").start();
    let error = blogs.synced().await.unwrap_err();
    assert!(matches!(error, Error::NotNamespaced { .. }), "{error}");
}

/// The same 404 of a type that does not exist stays one, and what discovery says of its own does not count.
#[tokio::test(start_paused = true)]
async fn a_missing_type_in_a_namespace_is_a_404_whatever_discovery_says() {
    let answers: [fn() -> Reply; 4] = [
        || Reply::json(200, &json!({"resources": []})),
        || Reply::json(404, &json!("404 page not found")),
        || Reply::status(403, "Forbidden", "no discovery"),
        || Reply::watch(vec!["<html>".to_owned()], Then::Close),
    ];
    for discovery in answers {
        let server = Server::new(move |call| match call {
            call if call.is_discovery() => discovery(),
            call if call.index < 20 => Reply::json(404, &json!("404 page not found")),
            call if call.is_watch_list() => Reply::watch_list(5, &[], Then::Stay),
            call => panic!("{call:?}"),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().namespace("default").start();
        assert!(blogs.synced().await.unwrap_err().is_unknown_type());
        blogs.watch_status().wait_for(Status::is_ready).await.unwrap();
        assert!(server.calls().last().unwrap().at.elapsed() < Duration::from_secs(1));
    }
}

/// A refusal for one informer is evidence about watch-lists only if the server then serves the list.
#[tokio::test(start_paused = true)]
async fn a_bad_request_of_one_informer_costs_the_others_no_watch_lists() {
    let answers: [fn() -> Reply; 2] = [
        || Reply::status(400, "BadRequest", "unable to parse requirement"),
        // The body of the error never comes.
        || Reply::watch(vec![], Then::Stay).code(503),
    ];
    for answer in answers {
        let server = Server::new(move |call| match call {
            call if call.uri.contains("labelSelector") => answer(),
            _ => Reply::watch_list(5, &[], Then::Stay),
        });
        let informers = Informers::new(server.client());
        let wrong = informers.typed::<Blog>().label_selector("a=b=c").start();
        assert!(matches!(wrong.synced().await, Err(Error::Api { .. })));
        informers.typed::<Blog>().start().synced().await.unwrap();
        let calls = server.calls();
        let right: Vec<_> = calls.iter().filter(|call| !call.uri.contains("labelSelector")).collect();
        assert!(right.len() == 1 && right[0].is_watch_list(), "{right:?}");
    }
}

/// Contract 6: a server that does not know its own continue token is asked for everything at once.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_not_taken_starts_the_list_anew_unpaged() {
    let pages: [fn() -> Reply; 4] = [
        || Reply::status(400, "BadRequest", "continue key is not valid: no leading slash"),
        || Reply::json(404, &json!("404 page not found")),
        || page(&[blog("a", 4)], "next"),
        || Reply::watch(vec!["<html>".to_owned()], Then::Close),
    ];
    for (at, next) in pages.into_iter().enumerate() {
        let server = Server::new(move |call| match call {
            call if call.is_watch_list() => refused(),
            call if call.uri.contains("continue=") => next(),
            call if call.uri.contains("limit=") => page(&[blog("a", 4), blog("gone", 5)], "next"),
            call if call.is_list() => Reply::list(9, &[blog("a", 4), blog("b", 9)]),
            _ => Reply::watch(vec![], Then::Stay),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        let mut events = blogs.subscribe();
        assert_eq!(read(&mut events, 3).await, ["*a/4", "*b/9", "synced 2 at 9"], "{at}");
        let calls = server.calls();
        assert_eq!(calls.iter().filter(|call| call.uri.contains("continue=")).count(), 1, "{at}");
        assert!(!calls.iter().any(Call::is_discovery), "{at}: the list says whether the type is there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_endless_pages_is_retried_with_backoff() {
    let server = Server::new(|call| match call {
        call if call.is_watch_list() => refused(),
        _ => page(&[blog("a", 4)], "next"),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    tokio::time::sleep(HOUR).await;
    let error = blogs.synced().await.unwrap_err();
    assert!(error.to_string().ends_with("a page of a list repeats an earlier one"), "{error}");
    assert!(server.calls().len() < 2000, "{}", server.calls().len());
}

/// Contract 10: if discovery is forbidden, the list decides.
#[tokio::test(start_paused = true)]
async fn without_discovery_the_list_decides_whether_the_type_is_served() {
    let answers: [fn() -> Reply; 2] = [
        || Reply::status(403, "Forbidden", "no discovery"),
        || Reply::watch(vec!["<html>".to_owned()], Then::Close),
    ];
    for discovery in answers {
        let server = Server::new(move |call| match call {
            call if call.index == 0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
            call if call.index == 1 => Reply::json(404, &json!("404 page not found")),
            call if call.is_discovery() => discovery(),
            call if call.is_watch_list() => Reply::watch_list(9, &[blog("a", 9)], Then::Stay),
            call => panic!("{call:?}"),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        let mut events = blogs.subscribe();
        assert_eq!(read(&mut events, 3).await, ["*a/5", "synced 1 at 5", "~a/5-9"]);
        blogs.watch_status().wait_for(Status::is_ready).await.unwrap();
        assert_eq!(server.calls().iter().filter(|call| call.is_discovery()).count(), 1);
    }
}

/// Contract 12: the headers of an error are enough.
#[tokio::test(start_paused = true)]
async fn an_error_without_its_body_is_still_an_error() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(5, &[blog("a", 5)], Then::Break),
        1 => Reply::watch(vec![], Then::Stay).code(503),
        2 => Reply::watch(vec![], Then::Break).code(410),
        _ => Reply::watch_list(6, &[blog("a", 6)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut status = blogs.watch_status();
    let failed = async |status: &mut StatusWatch, code| {
        status
            .wait_for(|status| status.error().is_some_and(|error| error.code() == Some(code)))
            .await
            .map(|_| ())
    };
    failed(&mut status, 503).await.unwrap();
    let calls = server.calls();
    assert_eq!(calls[1].at.elapsed().as_secs(), 60);
    failed(&mut status, 410).await.unwrap();
    eventually(|| server.calls().len() == 4).await;
    assert!(server.calls()[3].is_watch_list());
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_stream_has_a_code_even_if_it_says_none() {
    for (status, code) in [
        (json!({"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old"}), 410),
        (json!({"kind": "Status", "status": "Failure", "message": "no"}), 500),
        (json!({}), 500),
    ] {
        let server = Server::new(move |_| Reply::watch(vec![event("ERROR", &status)], Then::Stay));
        let error = Informers::new(server.client()).typed::<Blog>().start().synced().await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
}

/// Contract 6: even if the new epoch begins with a deletion.
#[tokio::test(start_paused = true)]
async fn a_deletion_at_a_lower_version_is_a_new_epoch() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(50, &[blog("a", 40), blog("b", 50)], Then::Break),
        1 => Reply::watch(vec![event("DELETED", &blog("a", 3))], Then::Stay),
        _ => Reply::watch_list(4, &[blog("b", 2)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut events = blogs.subscribe();
    let started = Instant::now();
    let received = read(&mut events, 5).await;
    assert_eq!(received, ["*a/40", "*b/50", "synced 2 at 50", "~b/50-2", "-a/40 MissedWhileAway"]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Contract 6: only a list can show that something is gone.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_a_list_does_not_empty_the_cache() {
    let answers = [
        json!({"metadata": {"resourceVersion": "7"}}),
        json!({"items": {}, "metadata": {"resourceVersion": "7"}}),
        json!({"kind": "Status", "status": "Success", "metadata": {"resourceVersion": "7"}}),
        blog("b", 7),
    ];
    for answer in answers {
        let server = Server::new(move |call| match call {
            call if call.is_watch_list() => refused(),
            call if call.index == 1 => Reply::list(5, &[blog("a", 5)]),
            call if call.is_list() => Reply::json(200, &answer),
            _ => Reply::status(410, "Expired", "too old resource version"),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        blogs.synced().await.unwrap();
        let mut status = blogs.watch_status();
        let malformed = |status: &Status| matches!(status.error(), Some(Error::Malformed { .. }));
        status.wait_for(malformed).await.unwrap();
        assert_eq!(blogs.snapshot().unwrap().len(), 1);
    }
}

/// Contract 11: a long list leaves turns to the other tasks of the thread, and ends between two of them.
#[tokio::test]
async fn a_long_list_leaves_turns_to_others_and_can_be_cancelled_in_the_middle() {
    let items: Vec<Value> = (0..20_000).map(|at| blog(&format!("blog-{at:05}"), at + 1)).collect();
    let server = Server::new(move |call| match call {
        call if call.is_watch_list() => refused(),
        call if call.is_list() => Reply::list(30_000, &items),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let turns =
        async |cancel_after: usize, until: &kube_informer::Informer<Blog>, token: &CancellationToken| {
            let mut turns = 0;
            while until.snapshot().is_err() && !matches!(until.status().phase, Phase::Stopped) {
                turns += 1;
                if turns == cancel_after {
                    token.cancel();
                }
                tokio::task::yield_now().await;
            }
            turns
        };
    let token = CancellationToken::new();
    let informers = Informers::with_cancellation(server.client(), token.clone());
    let blogs = informers.typed::<Blog>().start();
    // The list has about 4 MB.
    let all = turns(usize::MAX, &blogs, &token).await;
    assert!(all > 50, "{all} turns");
    let other = informers.typed::<Blog>().namespace("default").start();
    let part = turns(all / 2, &other, &token).await;
    assert!(part < all, "{part} of {all} turns");
    assert!(other.snapshot().is_err());
}

/// Contract 9: an object of a list that does not even say which it is.
#[tokio::test(start_paused = true)]
async fn an_object_of_a_list_that_cannot_be_identified_stops_nothing() {
    let with = |change: fn(&mut Value)| {
        let mut odd = blog("odd", 4);
        change(&mut odd);
        odd
    };
    let odd = [
        with(|odd| odd["metadata"]["uid"] = json!(5)),
        with(|odd| odd["metadata"]["resourceVersion"] = json!(4)),
        with(|odd| odd["metadata"]["resourceVersion"] = Value::Null),
        with(|odd| odd["metadata"]["resourceVersion"] = json!("04")),
        with(|odd| odd["metadata"]["labels"] = json!("app=web")),
        with(|odd| odd["metadata"]["annotations"] = json!({"size": 5})),
        with(|odd| odd["metadata"]["name"] = Value::Null),
        with(|odd| odd["metadata"]["name"] = json!("a\0b")),
        with(|odd| odd["metadata"]["name"] = json!({})),
        with(|odd| odd["metadata"]["namespace"] = json!(["default"])),
        with(|odd| odd["metadata"]["namespace"] = Value::Null),
        with(|odd| odd["metadata"] = Value::Null),
        with(|odd| drop(odd.as_object_mut().unwrap().remove("metadata"))),
        json!("odd"),
        Value::Null,
    ];
    for watch_list in [true, false] {
        for (at, odd) in odd.iter().cloned().enumerate() {
            let gone = at % 2 == 0;
            let server = Server::new(move |call| {
                let items = match call.index < 2 {
                    true => vec![blog("a", 4), odd.clone(), blog("z", 5)],
                    false if gone => vec![blog("a", 4), blog("z", 5)],
                    false => vec![blog("a", 4), blog("odd", 7), blog("z", 5)],
                };
                match call {
                    call if call.is_watch_list() && !watch_list => refused(),
                    call if call.is_watch_list() => Reply::watch_list(8, &items, Then::Break),
                    call if call.is_list() => Reply::list(8, &items),
                    _ => Reply::status(410, "Expired", "too old resource version"),
                }
            });
            let blogs = Informers::new(server.client()).typed::<Blog>().namespace("default").start();
            let synced = blogs.synced().await.unwrap();
            assert_eq!((synced.count, synced.quarantined), (2, 1), "{at}");
            let held = blogs.status().quarantined.clone();
            let name = held.keys().next().unwrap().to_string();
            assert_eq!(name, if at < 6 { "default/odd" } else { "default/items[1]" }, "{at}");
            let version = held.iter().next().unwrap().1.resource_version.map(|version| version.to_string());
            let readable = !(1..4).contains(&at) && at < 11;
            assert_eq!(version.as_deref(), readable.then_some("4"), "{at}");
            blogs.watch_status().wait_for(|status| status.quarantined.is_empty()).await.unwrap();
            assert_eq!(blogs.snapshot().unwrap().len(), if gone { 2 } else { 3 }, "{at}");
        }
    }
}

/// Contract 9: a change of an object that cannot be identified could be one of any object, which only a list can show.
#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_identified_is_followed_by_a_list() {
    for member in ["name", "resourceVersion"] {
        let mut odd = blog("a", 6);
        odd["metadata"][member] = Value::Null;
        let items = [odd.clone(), blog("b", 5)];
        let server = Server::new(move |call| match call.index {
            0 => Reply::watch_list(5, &[blog("a", 5), blog("b", 5)], Then::Break),
            1 => Reply::watch(vec![event("MODIFIED", &odd)], Then::Stay),
            _ => Reply::watch_list(6, &items, Then::Stay),
        });
        let blogs = Informers::new(server.client()).typed::<Blog>().start();
        blogs.synced().await.unwrap();
        let mut status = blogs.watch_status();
        let malformed = |status: &Status| matches!(status.error(), Some(Error::Malformed { .. }));
        status.wait_for(malformed).await.unwrap();
        let status = status.wait_for(|status| !status.quarantined.is_empty()).await.unwrap();
        let key = status.quarantined.keys().next().unwrap().to_string();
        // The last good state of an object that has a name stays.
        let (wanted, count) = if member == "name" { ("items[0]", 1) } else { ("default/a", 2) };
        assert_eq!((key.as_str(), blogs.snapshot().unwrap().len()), (wanted, count));
    }
}

/// A day as it is: bookmarks by the minute, watches that the server ends when asked to, some changes, and a connection
/// that breaks every hour, half of the times without a word.
#[tokio::test(start_paused = true)]
async fn a_day_costs_one_list_and_the_cache_is_never_stale_for_long() {
    let version = Arc::new(AtomicU64::new(5));
    let server = Server::new(move |call| {
        let (send, more) = mpsc::unbounded_channel();
        let timeout = call.uri.split("timeoutSeconds=").nth(1).and_then(|rest| rest.split('&').next());
        let timeout: u64 = timeout.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{call:?}"));
        let (version, index) = (Arc::clone(&version), call.index);
        let first = version.load(Ordering::SeqCst);
        tokio::spawn(async move {
            for second in 1..timeout {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if index % 15 == 14 && second == 100 {
                    if index % 30 == 29 {
                        // A connection that is dead and not closed.
                        tokio::time::sleep(HOUR).await;
                    }
                    return;
                }
                let line = match second {
                    _ if second % 97 == 0 => {
                        event("MODIFIED", &blog("a", version.fetch_add(1, Ordering::SeqCst) + 1))
                    }
                    _ if second % 60 == 0 || second == timeout - 2 => {
                        bookmark(version.load(Ordering::SeqCst), false)
                    }
                    _ => continue,
                };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        if call.is_watch_list() {
            let begin = event("ADDED", &blog("a", first)) + &bookmark(first, true);
            return Reply::watch(vec![begin], Then::More(more));
        }
        Reply::watch(vec![], Then::More(more))
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let mut status = blogs.watch_status();
    let end = Instant::now() + 24 * HOUR;
    // A dead connection is noticed after 130 s, and the next watch says something within a minute: ten seconds late.
    while tokio::time::timeout_at(end, status.wait_for(|status| !status.is_ready())).await.is_ok() {
        let since = Instant::now();
        status.wait_for(Status::is_ready).await.unwrap();
        assert!(since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
    }
    let calls = server.calls();
    assert_eq!(calls.iter().filter(|call| call.is_watch_list()).count(), 1);
    assert!(calls.iter().all(|call| call.is_watch_list() || call.is_watch()));
    assert!((300..420).contains(&calls.len()), "{} requests in a day", calls.len());
}

fn lists(server: &Server) -> usize {
    server.calls().iter().filter(|call| call.is_list() || call.is_watch_list()).count()
}

/// Contract 12: where a watch is answered with a list.
#[tokio::test(start_paused = true)]
async fn lists_become_rare_where_watch_is_ignored() {
    let server = Server::new(|call| {
        if call.is_discovery() {
            resources(true, &["list", "watch"])
        } else {
            Reply::list(7, &[blog("a", 5)])
        }
    });
    let _blogs = Informers::new(server.client()).typed::<Blog>().start();
    tokio::time::sleep(HOUR).await;
    assert!(lists(&server) < 150, "{} lists in an hour", lists(&server));
}

/// Contract 12: two servers behind one name, one of which does not have the type yet.
#[tokio::test(start_paused = true)]
async fn lists_become_rare_where_a_type_flaps() {
    let turn = AtomicU64::new(0);
    let server = Server::new(move |call| {
        if call.is_discovery() {
            if turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                Reply::json(404, &json!({}))
            } else {
                resources(true, &["list", "watch"])
            }
        } else if call.is_watch_list() {
            Reply::watch_list(7, &[blog("a", 5)], Then::Break)
        } else {
            Reply::status(404, "NotFound", "no")
        }
    });
    let _blogs = Informers::new(server.client()).typed::<Blog>().start();
    tokio::time::sleep(HOUR).await;
    assert!(lists(&server) < 150, "{} lists in an hour", lists(&server));
}

/// Contract 12: a server that ignores `continue`, and makes a token of its own for each page.
#[tokio::test(start_paused = true)]
async fn pages_without_end_are_noticed() {
    let server = Server::new(|call| {
        if call.index > 5000 {
            // Otherwise the test would never end.
            Reply::pending()
        } else if call.is_watch_list() {
            Reply::status(400, "BadRequest", "no")
        } else {
            let token = format!("token-{}", call.index);
            Reply::json(
                200,
                &json!({"items": [blog("a", 5)], "metadata": {"resourceVersion": "7", "continue": token}}),
            )
        }
    });
    let _blogs = Informers::new(server.client()).typed::<Blog>().start();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(server.calls().len() < 5000, "{} requests in 10 s", server.calls().len());
}

/// Contract 12: a proxy that cuts each watch after its first event.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_reopened_after_a_delay() {
    let closing = Server::new(move |call| {
        if call.index > 5000 {
            Reply::pending()
        } else if call.is_watch_list() {
            Reply::watch_list(7, &[blog("a", 5)], Then::Break)
        } else {
            Reply::watch(vec![bookmark(8 + call.index as u64, false)], Then::Close)
        }
    });
    let _blogs = Informers::new(closing.client()).typed::<Blog>().start();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(closing.calls().len() < 5000, "{} requests in 10 s", closing.calls().len());
}

/// A watch that the server ends when it was asked to worked, however short it was.
#[tokio::test(start_paused = true)]
async fn a_short_watch_timeout_is_no_failure() {
    let server = Server::new(|call| {
        let (lines, more) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(lines);
        });
        if call.is_watch_list() {
            Reply::watch_list(7, &[blog("a", 5)], Then::More(more))
        } else {
            assert!(call.uri.contains("timeoutSeconds=5"), "{call:?}");
            Reply::watch(vec![], Then::More(more))
        }
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().watch_timeout(Duration::from_secs(5)).start();
    blogs.synced().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = server.calls();
    let longest = calls.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(
        longest < Duration::from_secs(7),
        "{longest:?} from one watch of 5 s to the next; {}",
        blogs.status().phase
    );
}
