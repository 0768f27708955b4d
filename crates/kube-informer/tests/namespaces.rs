//! A set of namespaces that grows and shrinks at run time is one cache.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and not what helps them")]

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::ResourceExt as _;
use kube_informer::{
    Informer, InformerBuilder, Informers, NamespaceSetError, Phase, Status, Stopped, WaitError,
};
use serde_json::{Value, json};
use support::{Blog, Call, Reply, Server, Then, bookmark, event, eventually, next, read};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

fn blog(namespace: &str, name: &str, version: u64) -> Value {
    let mut blog = support::blog(name, version);
    blog["metadata"]["namespace"] = json!(namespace);
    blog
}

fn namespace(call: &Call) -> String {
    let path = call.uri.split('?').next().unwrap_or_default();
    path.split("/namespaces/").nth(1).unwrap_or_default().split('/').next().unwrap_or_default().to_owned()
}

/// A server with one blog `x` in each namespace, at a version of its own, followed by what the test sends. Reading
/// the namespace `secret` is forbidden.
#[derive(Clone)]
struct Cluster {
    server: Server,
    streams: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<String>>>>,
}

impl Cluster {
    fn new() -> Self {
        let streams: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<String>>>> = Arc::default();
        let held = Arc::clone(&streams);
        let server = Server::new(move |call| {
            let namespace = namespace(call);
            let version = 100 + u64::from(namespace.bytes().next().unwrap_or_default());
            match namespace.as_str() {
                "secret" => Reply::status(403, "Forbidden", "blogs is forbidden in the namespace \"secret\""),
                _ => {
                    let (send, more) = mpsc::unbounded_channel();
                    held.lock().unwrap().insert(namespace.clone(), send);
                    // The list of `slow` is not complete until the test says so.
                    match namespace.as_str() {
                        "slow" => {
                            let first = event("ADDED", &blog("slow", "x", version));
                            Reply::watch(vec![first], Then::More(more))
                        }
                        _ => Reply::watch_list(version, &[blog(&namespace, "x", version)], Then::More(more)),
                    }
                }
            }
        });
        Self { server, streams }
    }

    fn set<const N: usize>(&self, namespaces: [&str; N]) -> Informer<Blog> {
        Informers::new(self.server.client()).typed::<Blog>().namespaces(namespaces).start()
    }

    fn send(&self, namespace: &str, lines: &str) {
        self.streams.lock().unwrap()[namespace].send(lines.to_owned()).unwrap();
    }
}

fn cached(blogs: &Informer<Blog>) -> Vec<String> {
    let snapshot = blogs.snapshot().unwrap();
    snapshot.entries().map(|(key, _)| key.to_string()).collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test(start_paused = true)]
async fn a_set_of_namespaces_is_one_cache() {
    let cluster = Cluster::new();
    let blogs = cluster.set(["b", "a"]);
    let by_name = blogs.index(|blog| [blog.name_any()]);
    let mut events = blogs.subscribe();
    let synced = blogs.synced().await.unwrap();
    // As old as the oldest of them.
    assert_eq!((synced.count, synced.resource_version), (2, "197".parse().ok()));
    assert_eq!(read(&mut events, 3).await, ["*x/197", "*x/198", "synced 2 at 197"]);
    assert_eq!(cached(&blogs), ["a/x", "b/x"]);
    assert_eq!(cluster.server.calls().len(), 2);

    // Versions are those of each namespace's own watch.
    cluster.send("b", &event("ADDED", &blog("b", "y", 300)));
    blogs.wait_for("b", "300", soon()).await.unwrap();
    assert_eq!(next(&mut events).await, "+y/300");
    let late = blogs.wait_for("a", "300", soon()).await;
    assert!(
        matches!(late, Err(WaitError::Deadline { reached, .. }) if reached == "197".parse().ok()),
        "{late:?}"
    );
    assert!(blogs.wait_for(None, "300", soon()).await.is_err());
    cluster.send("a", &bookmark(301, false));
    blogs.wait_for(None, "300", soon()).await.unwrap();
    let elsewhere = blogs.wait_for("c", "1", soon()).await.unwrap_err();
    assert_eq!(elsewhere.to_string(), "namespace \"c\" is not watched");

    let snapshot = blogs.snapshot().unwrap();
    assert_eq!(snapshot.by_index(&by_name, "x").count(), 2);
    assert_eq!(snapshot.resource_version(), "300".parse().ok());
    assert_eq!(snapshot.resource_version_of("a"), "301".parse().ok());
    assert_eq!(snapshot.resource_version_of("c"), None);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_joins_is_seen_whole_or_not_at_all() {
    let cluster = Cluster::new();
    let blogs = cluster.set(["a"]);
    blogs.synced().await.unwrap();
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 2).await, ["*x/197", "synced 1 at 197"]);
    let by_name = blogs.index(|blog| [blog.name_any()]);

    blogs.add_namespace("slow").unwrap();
    blogs.add_namespace("slow").unwrap();
    // It is not complete, and the status says so; the others continue.
    assert!(!blogs.status().is_ready());
    assert!(blogs.status().namespaces["a"].is_ready());
    cluster.server.called(2).await;
    cluster.send("slow", &event("ADDED", &blog("slow", "y", 216)));
    cluster.send("a", &event("ADDED", &blog("a", "y", 400)));
    blogs.wait_for("a", "400", soon()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cached(&blogs), ["a/x", "a/y"]);
    assert_eq!(next(&mut events).await, "+y/400");
    assert_eq!(events.pending(), 0);

    cluster.send("slow", &bookmark(220, true));
    assert_eq!(blogs.synced().await.unwrap().count, 4);
    assert_eq!(cached(&blogs), ["a/x", "a/y", "slow/x", "slow/y"]);
    assert_eq!(blogs.snapshot().unwrap().by_index(&by_name, "y").count(), 2);
    // They came together.
    assert_eq!(next(&mut events).await, "+x/215");
    assert_eq!(events.pending(), 1);
    assert_eq!(next(&mut events).await, "+y/216");
    assert!(blogs.status().is_ready());
    assert_eq!(cluster.server.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_leaves_is_gone_at_once_and_its_watch_ends() {
    let cluster = Cluster::new();
    let blogs = cluster.set(["a", "b"]);
    blogs.synced().await.unwrap();
    let mut events = blogs.subscribe();
    read(&mut events, 3).await;
    let before = blogs.snapshot().unwrap();
    let mut bad = blog("b", "bad", 250);
    bad["spec"]["url"] = json!(1);
    cluster.send("b", &event("ADDED", &bad));
    blogs.wait_for("b", "250", soon()).await.unwrap();
    assert_eq!(blogs.status().quarantined.len(), 1);

    let waiting = tokio::spawn({
        let blogs = blogs.clone();
        async move { blogs.wait_for("b", "999", Instant::now() + Duration::from_secs(600)).await }
    });
    tokio::task::yield_now().await;
    blogs.remove_namespace("b").unwrap();
    blogs.remove_namespace("b").unwrap();
    assert_eq!(cached(&blogs), ["a/x"]);
    assert!(blogs.status().quarantined.is_empty());
    assert_eq!(next(&mut events).await, "-x/198 NamespaceRemoved");
    assert!(matches!(waiting.await.unwrap(), Err(WaitError::NotWatched(namespace)) if namespace == "b"));
    let removed = Instant::now();
    eventually(|| cluster.server.open_answers() == 1).await;
    assert!(removed.elapsed() < Duration::from_secs(1));
    assert_eq!(before.len(), 2);

    // It can come back, as new.
    blogs.add_namespace("b").unwrap();
    assert_eq!(next(&mut events).await, "+x/198");
    assert_eq!(cached(&blogs), ["a/x", "b/x"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_read_does_not_hold_up_the_others() {
    let cluster = Cluster::new();
    let blogs = cluster.set(["a", "secret"]);
    let mut events = blogs.subscribe();
    let refused = blogs.synced().await.unwrap_err();
    assert!(refused.is_forbidden() && refused.to_string().contains("/namespaces/secret/"), "{refused}");
    assert_eq!(read(&mut events, 2).await, ["*x/197", "synced 1 at 197"]);
    assert_eq!(cached(&blogs), ["a/x"]);
    assert_eq!(blogs.snapshot().unwrap().resource_version_of("secret"), None);
    {
        let status = blogs.status();
        assert!(!status.is_ready() && status.error().is_some_and(kube_informer::Error::is_forbidden));
        assert!(status.namespaces["a"].is_ready() && !status.namespaces["secret"].synced);
        assert!(status.namespaces["secret"].error().is_some_and(kube_informer::Error::is_forbidden));
    }
    cluster.send("a", &event("MODIFIED", &blog("a", "x", 300)));
    assert_eq!(next(&mut events).await, "~x/197-300");
    // Without it, the rest is complete.
    blogs.remove_namespace("secret").unwrap();
    assert_eq!(blogs.synced().await.unwrap().count, 1);
    assert!(blogs.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn an_empty_set_is_synced_and_can_grow_and_ends_when_it_is_cancelled() {
    let cluster = Cluster::new();
    let token = CancellationToken::new();
    let informers = Informers::with_cancellation(cluster.server.client(), token.clone());
    let blogs = informers.typed::<Blog>().namespaces([""; 0]).start();
    let synced = blogs.synced().await.unwrap();
    assert_eq!((synced.count, synced.resource_version), (0, None));
    let mut events = blogs.subscribe();
    assert_eq!(next(&mut events).await, "synced 0");
    blogs.add_namespace("a").unwrap();
    assert_eq!(next(&mut events).await, "+x/197");
    blogs.remove_namespace("a").unwrap();
    assert_eq!(next(&mut events).await, "-x/197 NamespaceRemoved");
    assert!(blogs.snapshot().unwrap().is_empty());

    token.cancel();
    assert_eq!(next(&mut events).await, "end");
    blogs.add_namespace("a").unwrap();
    assert!(matches!(blogs.synced().await, Err(kube_informer::Error::Stopped)));
    assert!(matches!(blogs.status().phase, Phase::Stopped));
    assert_eq!(cluster.server.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_a_set_can_change_and_each_start_has_its_own() {
    let cluster = Cluster::new();
    let informers = Informers::new(cluster.server.client());
    for fixed in [informers.typed::<Blog>().start(), informers.typed::<Blog>().namespace("a").start()] {
        assert_eq!(fixed.add_namespace("b"), Err(NamespaceSetError::Fixed));
        assert_eq!(fixed.remove_namespace("a"), Err(NamespaceSetError::Fixed));
    }
    let one = informers.typed::<Blog>().namespaces(["a"]).start();
    let two = informers.typed::<Blog>().namespaces(["a"]).start();
    one.watch_status().wait_for(Status::is_ready).await.unwrap();
    two.watch_status().wait_for(Status::is_ready).await.unwrap();
    one.clone().remove_namespace("a").unwrap();
    assert_eq!((cached(&one).len(), cached(&two).len()), (0, 1));
}

/// Nothing that a reader of the status holds is a lock.
#[tokio::test(start_paused = true)]
async fn the_informer_can_be_used_while_its_status_is_read() {
    let cluster = Cluster::new();
    let blogs = cluster.set(["a", "b"]);
    blogs.synced().await.unwrap();
    let mut watch = blogs.watch_status();
    for namespace in blogs.status().namespaces.keys() {
        blogs.remove_namespace(namespace).unwrap();
    }
    assert!(watch.changed().await.unwrap().namespaces.is_empty());
    // Nor is one held while a condition is evaluated.
    let grown = watch.wait_for(|status| {
        blogs.add_namespace("a").unwrap();
        status.is_ready() && !status.namespaces.is_empty()
    });
    assert!(grown.await.unwrap().namespaces["a"].is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_the_status_ends_with_the_informer() {
    let cluster = Cluster::new();
    let token = CancellationToken::new();
    let informers = Informers::with_cancellation(cluster.server.client(), token.clone());
    let blogs = informers.typed::<Blog>().namespaces(["a"]).start();
    blogs.synced().await.unwrap();
    let (mut kept, mut waiting) = (blogs.watch_status(), blogs.watch_status());
    token.cancel();
    assert_eq!(waiting.wait_for(|status| status.stale).await.unwrap_err(), Stopped);
    assert!(matches!(kept.changed().await.unwrap().namespaces["a"].phase, Phase::Stopped));
    assert_eq!(kept.changed().await.unwrap_err(), Stopped);
    drop(blogs);
    // The last status stays readable.
    assert!(matches!(kept.current().phase, Phase::Stopped));
    assert_eq!(kept.changed().await.unwrap_err(), Stopped);
}

/// As everywhere in Kubernetes, and as an empty `WATCH_NAMESPACE` says it.
#[tokio::test(start_paused = true)]
async fn an_empty_name_stands_for_all_namespaces() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(9, &[blog("a", "x", 5), blog("b", "y", 6)], Then::Close),
        1 => Reply::status(410, "Expired", "too old"),
        _ => Reply::watch_list(20, &[blog("b", "y", 6)], Then::Stay),
    });
    type Choose = fn(InformerBuilder<Blog>) -> InformerBuilder<Blog>;
    let choices: [Choose; 4] = [
        |builder| builder,
        |builder| builder.namespace(""),
        |builder| builder.namespaces([""]),
        |builder| builder.namespaces(["a", ""]),
    ];
    let informers = Informers::new(server.client());
    // They are one and the same.
    let all = choices.map(|choose| choose(informers.typed::<Blog>()).start());
    let blogs = &all[3];
    blogs.synced().await.unwrap();
    assert_eq!((cached(blogs).len(), server.calls().len()), (2, 1));
    assert!(blogs.status().namespaces.is_empty());
    // What is gone at a relist is gone from the cache.
    blogs.wait_for("", "20", soon()).await.unwrap();
    assert_eq!(cached(blogs), ["b/y"]);
    let snapshot = blogs.snapshot().unwrap();
    assert_eq!(snapshot.in_namespace("").count(), 1);
    assert_eq!(snapshot.resource_version_of(""), "20".parse().ok());
    assert!(server.calls().iter().all(|call| !call.uri.contains("/namespaces/")));
    assert_eq!(blogs.add_namespace("c"), Err(NamespaceSetError::Fixed));

    // A set cannot become all namespaces, nor be relieved of them.
    let set = Cluster::new().set(["a"]);
    assert_eq!(set.add_namespace(""), Err(NamespaceSetError::All));
    assert_eq!(set.remove_namespace(""), Err(NamespaceSetError::All));
}

/// An object from elsewhere would stay for ever: a relist of the namespace does not look for it.
#[tokio::test(start_paused = true)]
async fn an_object_of_another_namespace_is_a_malformed_response() {
    let server = Server::new(|call| match call.index {
        0 => Reply::watch_list(9, &[blog("b", "x", 5)], Then::Stay),
        1 => Reply::watch_list(
            9,
            &[blog("a", "x", 5)],
            Then::More({
                let (send, more) = mpsc::unbounded_channel();
                send.send(event("ADDED", &blog("b", "y", 10))).unwrap();
                more
            }),
        ),
        _ if call.is_watch() => Reply::watch(vec![bookmark(12, false)], Then::Stay),
        _ => Reply::watch_list(12, &[blog("a", "x", 5)], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().namespace("a").start();
    let refused = blogs.synced().await.unwrap_err();
    assert!(refused.to_string().contains("not in the namespace that was asked for"), "{refused}");
    blogs.wait_for("a", "12", Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(cached(&blogs), ["a/x"]);
}
