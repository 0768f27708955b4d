//! What programs use besides events and status: waiting for an object, comparing snapshots, iterating, transforms.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and not what helps them")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};
use kube_informer::{
    Cached, Change, DeletionReason, Error, Informer, InformerBuilder, Informers, ObjectKey, Persist,
    Snapshot, WaitError,
};
use serde_json::json;
use support::{Blog, Reply, Server, Then, blog, blog_with_uid, event, next, read};
use tokio::{sync::mpsc, time::Instant};

const SECOND: Duration = Duration::from_secs(1);

/// A server with these objects, followed by what the test sends.
fn server(objects: Vec<serde_json::Value>) -> (Server, mpsc::UnboundedSender<String>) {
    let (send, more) = mpsc::unbounded_channel();
    let more = std::sync::Mutex::new(Some(more));
    let server = Server::new(move |_| {
        Reply::watch_list(9, &objects, Then::More(more.lock().unwrap().take().unwrap()))
    });
    (server, send)
}

fn typed(value: serde_json::Value) -> Blog {
    serde_json::from_value(value).unwrap()
}

async fn reach<K: Cached>(informer: &Informer<K>, version: &str) -> Snapshot<K> {
    informer.wait_for("default", version, Instant::now() + SECOND).await.unwrap();
    informer.snapshot().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_object_can_be_waited_for() {
    let (server, send) = server(vec![blog("a", 5)]);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    // Also before the first list.
    let is_new = |blog: &Arc<Blog>| blog.spec.url.ends_with("/12");
    let (found, ()) = tokio::join!(blogs.wait_until("default", "b", is_new, 60 * SECOND), async {
        blogs.synced().await.unwrap();
        send.send(event("ADDED", &blog("b", 11))).unwrap();
        send.send(event("MODIFIED", &blog("b", 12))).unwrap();
    });
    assert_eq!(found.unwrap().resource_version().as_deref(), Some("12"));

    blogs.wait_for_object(&typed(blog("b", 12)), SECOND).await.unwrap();
    let written = typed(blog("c", 20));
    let late = blogs.wait_for_object(&written, SECOND).await.unwrap_err();
    assert!(matches!(late, WaitError::Deadline { .. }), "{late:?}");
    // It is not gone: it has not come yet.
    let (gone, ()) = tokio::join!(blogs.wait_until_gone(&written, 60 * SECOND), async {
        send.send(event("ADDED", &blog("c", 20))).unwrap();
        blogs.wait_for_object(&written, SECOND).await.unwrap();
        send.send(event("DELETED", &blog("c", 21))).unwrap();
    });
    gone.unwrap();
    // Another object of its name is not it.
    send.send(event("MODIFIED", &blog_with_uid("a", 30, "another"))).unwrap();
    blogs.wait_until_gone(&typed(blog("a", 5)), SECOND).await.unwrap();

    let present = blogs.wait_until_gone(&typed(blog("b", 12)), SECOND).await.unwrap_err();
    assert_eq!(present.to_string(), "default/b did not meet the condition in time");
    let never_written = Blog::new("x", support::BlogSpec { url: String::new() });
    assert!(matches!(blogs.wait_for_object(&never_written, SECOND).await, Err(WaitError::Invalid(_))));
}

/// The version of the cache does not change during a list, but its objects do.
#[tokio::test(start_paused = true)]
async fn what_a_relist_has_brought_ends_a_wait() {
    let lists = AtomicUsize::new(0);
    let server = Server::new(move |call| {
        if call.is_watch_list() {
            Reply::status(400, "BadRequest", "no watch-lists")
        } else if call.is_watch() {
            Reply::status(410, "Expired", "too old")
        } else if call.uri.contains("continue=") {
            Reply::pending()
        } else if lists.fetch_add(1, Ordering::SeqCst) == 0 {
            Reply::list(6, &[blog("a", 5), blog("b", 6)])
        } else {
            Reply::json(
                200,
                &json!({"items": [blog("a", 9)], "metadata": {"resourceVersion": "10", "continue": "x"}}),
            )
        }
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let is_new = |blog: &Arc<Blog>| blog.metadata.resource_version.as_deref() == Some("9");
    let began = Instant::now();
    let waited = blogs.wait_until("default", "a", is_new, 20 * SECOND).await;
    assert_eq!(waited.unwrap().name_any(), "a");
    assert!(began.elapsed() < 20 * SECOND);
    // The list is not complete.
    assert_eq!(blogs.status().resource_version.unwrap().to_string(), "6");
}

/// An object that the cache cannot decode exists. Another one of its name is not it.
#[tokio::test(start_paused = true)]
async fn a_quarantined_object_is_not_gone() {
    let odd = |version, uid| {
        let mut odd = blog_with_uid("a", version, uid);
        odd["spec"] = json!(5);
        odd
    };
    let (server, send) = server(vec![odd(5, "first")]);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert_eq!(blogs.synced().await.unwrap().quarantined, 1);
    let written = typed(blog_with_uid("a", 5, "first"));
    let present = blogs.wait_until_gone(&written, SECOND).await.unwrap_err();
    assert!(matches!(present, WaitError::NotMet { .. }), "{present:?}");

    let second = typed(blog_with_uid("a", 10, "second"));
    send.send(event("MODIFIED", &odd(10, "second"))).unwrap();
    blogs.wait_until_gone(&written, 60 * SECOND).await.unwrap();
    let (gone, ()) = tokio::join!(blogs.wait_until_gone(&second, 60 * SECOND), async {
        send.send(event("DELETED", &odd(11, "second"))).unwrap();
    });
    gone.unwrap();
}

/// Some aggregated APIs set no uid.
#[tokio::test(start_paused = true)]
async fn an_object_without_a_uid_is_not_gone() {
    let mut without = blog("a", 5);
    without["metadata"].as_object_mut().unwrap().remove("uid");
    let (server, _send) = server(vec![without.clone()]);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let present = blogs.wait_until_gone(&typed(without), SECOND).await.unwrap_err();
    assert!(matches!(present, WaitError::NotMet { .. }), "{present:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_list_can_be_waited_for_through_failures() {
    let server = Server::new(|call| match call {
        call if call.index < 4 => Reply::status(503, "ServiceUnavailable", "starting"),
        call if call.is_list() => Reply::list(5, &[blog("a", 5)]),
        _ => Reply::watch_list(5, &[blog("a", 5)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    assert_eq!(blogs.synced_within(120 * SECOND).await.unwrap().count, 1);

    let refusing = Server::new(|_| Reply::status(403, "Forbidden", "no"));
    let refused = Informers::new(refusing.client()).typed::<Blog>().start();
    let began = Instant::now();
    assert!(refused.synced_within(30 * SECOND).await.unwrap_err().is_forbidden());
    assert_eq!(began.elapsed(), 30 * SECOND);

    let silent = Server::new(|_| Reply::watch(vec![], Then::Stay));
    let waiting = Informers::new(silent.client()).typed::<Blog>().start();
    let error = waiting.synced_within(SECOND).await.unwrap_err();
    assert!(matches!(error, Error::NotInTime { waited } if waited == SECOND), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_difference_of_two_snapshots_leads_from_one_to_the_other() {
    let (server, send) = server(vec![blog("a", 5), blog("b", 6), blog("c", 7), blog("d", 8)]);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let before = blogs.snapshot().unwrap();
    assert_eq!(blogs.snapshot().unwrap().diff(&before).count(), 0);
    for line in [
        event("MODIFIED", &blog("a", 10)),
        event("DELETED", &blog("b", 11)),
        event("MODIFIED", &blog_with_uid("c", 12, "another")),
        event("ADDED", &blog("e", 13)),
    ] {
        send.send(line).unwrap();
    }
    let after = reach(&blogs, "13").await;
    let changes: Vec<String> = after
        .diff(&before)
        .map(|change| match change {
            Change::Added { key, initial: false, .. } => format!("+{key}"),
            Change::Updated { key, old, new } => {
                format!("~{key} {:?} {:?}", old.resource_version(), new.resource_version())
            }
            Change::Deleted { key, reason: DeletionReason::Unknown, .. } => format!("-{key}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        changes,
        ["~default/a Some(\"5\") Some(\"10\")", "-default/b", "-default/c", "+default/c", "+default/e"]
    );
}

#[tokio::test(start_paused = true)]
async fn objects_are_found_and_iterated_in_many_ways() {
    let elsewhere = |namespace: &str, name: &str| {
        let mut blog = blog(name, 5);
        blog["metadata"]["namespace"] = json!(namespace);
        blog
    };
    let objects = vec![elsewhere("a", "x"), elsewhere("a", "y"), elsewhere("a-b", "x"), elsewhere("ab", "z")];
    let (server, _send) = server(objects);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let snapshot = blogs.snapshot().unwrap();
    assert_eq!(snapshot.namespaces().collect::<Vec<_>>(), ["a", "a-b", "ab"]);
    let mut seen = Vec::new();
    for blog in &snapshot {
        seen.push(ObjectKey::from(&**blog));
    }
    assert!(snapshot.entries().map(|(key, _)| key).eq(&seen));
    assert_eq!((snapshot.iter().len(), snapshot.iter().next_back().unwrap().name_any()), (4, "z".to_owned()));
    for key in &seen {
        let reference: ObjectRef<Blog> = key.to_object_ref(());
        let (by_key, by_ref) = (snapshot.get_key(key).unwrap(), snapshot.get_ref(&reference).unwrap());
        assert!(Arc::ptr_eq(by_key, by_ref));
    }
    assert!(snapshot.get_key(&"a/z".parse().unwrap()).is_none());
}

/// The objects are what the function leaves, in every form and at every event.
#[tokio::test(start_paused = true)]
async fn objects_are_transformed_before_they_are_cached() {
    let transformed = |blog: &mut Blog| blog.spec.url = format!("https://short/{}", blog.spec.url.len());
    let plain = Server::new(|_| Reply::watch_list(9, &[blog("a", 5)], Then::Stay));
    let informers = Informers::new(plain.client());
    let compact = informers.typed::<Blog>().transform(transformed).compact().start();
    let builder = informers.typed::<Blog>().transform(transformed);
    let (typed, same) = (builder.clone().start(), builder.start());
    let untouched = informers.typed::<Blog>().start();
    for informer in [&typed, &same, &untouched] {
        informer.synced().await.unwrap();
    }
    compact.synced().await.unwrap();
    let url = |informer: &Informer<Blog>| {
        let snapshot = informer.snapshot().unwrap();
        snapshot.get("default", "a").unwrap().spec.url.clone()
    };
    assert_eq!((url(&typed), url(&untouched)), ("https://short/11".to_owned(), "https://a/5".to_owned()));
    let object = compact.snapshot().unwrap().get("default", "a").unwrap().decode().unwrap();
    assert_eq!(object.spec.url, "https://short/11");
    // One watch for the builder and its clone, and one for each of the others.
    assert_eq!(plain.calls().len(), 3);
}

/// It may even have captured a handle of another informer, whose last handle it then is.
#[tokio::test(start_paused = true)]
async fn the_last_handle_frees_the_transform() {
    let quiet = Server::new(|_| Reply::watch_list(9, &[blog("a", 5)], Then::Stay));
    let informers = Informers::new(quiet.client());
    let captured = Arc::new(());
    let capturing = |held: Arc<()>, other: Option<Informer<Blog>>| {
        let unchanged = move |_: &mut Blog| {
            let _ = (&held, &other);
        };
        informers.typed::<Blog>().transform(unchanged).start()
    };
    let first = capturing(Arc::clone(&captured), None);
    first.synced().await.unwrap();
    let second = capturing(Arc::clone(&captured), Some(first));
    second.synced().await.unwrap();
    drop(second);
    support::eventually(|| Arc::strong_count(&captured) == 1).await;
}

/// Contract 9: no content of an object is logged, also by a program that logs what it holds.
#[tokio::test(start_paused = true)]
async fn debug_output_has_no_content_of_an_object() {
    let mut bad = blog("bad", 6);
    bad["spec"]["url"] = json!({"hunter2": 1});
    let mut good = blog("good", 5);
    good["spec"]["url"] = json!("hunter2");
    let (server, send) = server(vec![good.clone(), bad]);
    let informers = Informers::new(server.client());
    let builder = informers.typed::<Blog>();
    let mut texts = vec![format!("{informers:?} {builder:?}")];
    let blogs = builder.start();
    let by_url = blogs.index(|blog| [blog.spec.url.clone()]);
    let mut events = blogs.subscribe();
    assert_eq!(blogs.synced().await.unwrap().quarantined, 1);
    let snapshot = blogs.snapshot().unwrap();
    texts.push(format!("{blogs:?} {by_url:?} {events:?} {snapshot:?} {:?}", snapshot.iter()));
    texts.push(format!("{:?} {:?}", blogs.status(), blogs.watch_status()));
    for (kind, version) in [("MODIFIED", 10), ("DELETED", 11)] {
        good["metadata"]["resourceVersion"] = json!(version.to_string());
        send.send(event(kind, &good)).unwrap();
        let event = events.next().await.unwrap();
        texts.push(format!("{event:?} {:?}", event.clone()));
    }
    assert!(texts.iter().all(|text| !text.contains("hunter2")), "{texts:?}");
    assert!(texts.concat().contains("default/good") && texts.concat().contains("default/bad"), "{texts:?}");
    assert_eq!(blogs.status().phase.to_string(), "watching");
    assert_eq!(DeletionReason::MissedWhileAway.to_string(), "deleted while disconnected");
}

#[test]
fn an_informer_can_be_started_from_outside_of_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, _send) = server(vec![blog("a", 5)]);
    let informers = runtime.block_on(async { Informers::new(server.client()) });
    let blogs = informers.typed::<Blog>().start_on(runtime.handle());
    assert_eq!(runtime.block_on(blogs.synced()).unwrap().count, 1);
    let mut events = blogs.subscribe();
    assert_eq!(runtime.block_on(read(&mut events, 1)), ["*a/5"]);
    assert_eq!(runtime.block_on(next(&mut events)), "synced 1 at 9");
}

#[tokio::test(start_paused = true)]
async fn an_object_can_be_waited_for_without_limit() {
    let (server, send) = server(vec![]);
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    let written = typed(blog("a", 10));
    let (waited, ()) = tokio::join!(blogs.wait_for_object(&written, Duration::MAX), async {
        send.send(event("ADDED", &blog("a", 10))).unwrap();
    });
    waited.unwrap();
    blogs.wait_until("default", "a", |_| true, Duration::MAX).await.unwrap();
    assert_eq!(blogs.synced_within(Duration::MAX).await.unwrap().count, 1);
}

/// Starts an informer of a server that is idle, and returns the requests of ten seconds.
async fn requests_of(options: impl FnOnce(InformerBuilder<Blog>) -> InformerBuilder<Blog>) -> Vec<String> {
    let server = Server::new(|call| match call {
        // Otherwise a failure would not end.
        call if call.index > 5000 => Reply::pending(),
        call if call.is_list() => Reply::list(9, &[blog("a", 5)]),
        _ => Reply::watch_list(9, &[blog("a", 5)], Then::Stay),
    });
    let blogs = options(Informers::new(server.client()).typed::<Blog>()).start();
    assert_eq!(blogs.synced().await.unwrap().count, 1);
    tokio::time::sleep(10 * SECOND).await;
    assert!(blogs.status().is_ready(), "{}", blogs.status().phase);
    server.calls().into_iter().map(|call| call.uri).collect()
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_last_for_ever() {
    let requests =
        requests_of(|builder| builder.watch_timeout(Duration::MAX).stale_after(Duration::MAX)).await;
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].contains("timeoutSeconds=31536000"), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn polling_without_an_interval_has_one() {
    let requests = requests_of(|builder| builder.poll_every(Duration::ZERO)).await;
    assert!((10..=12).contains(&requests.len()), "{} requests", requests.len());
    let requests = requests_of(|builder| builder.poll_every(Duration::MAX).stale_after(Duration::MAX)).await;
    assert_eq!(requests.len(), 1, "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_can_be_written_at_the_end_only() {
    let folder = tempfile::tempdir().unwrap();
    let persist = Persist::to(folder.path()).interval(Duration::MAX);
    requests_of(|builder| builder.persist(persist).unwrap()).await;
}
