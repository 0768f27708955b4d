//! kube-runtime's `Controller`, driven by informers. Covers the faults of kube-runtime 5.0 that concern controllers:
//! relists that reconcile everything, deletions that reconcile nothing, and a fault of one watch that pauses all of
//! them.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and the helpers have none")]

mod support;

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client, ResourceExt as _,
    runtime::{
        Controller, WatchStreamExt as _,
        controller::Action,
        predicates,
        reflector::{self, Store},
    },
};
use kube_informer::{Informers, SharedObject, reflect, touched_objects};
use serde_json::{Value, json};
use support::{Blog, Call, Reply, Server, Then, blog, event, eventually};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

/// A server of blogs and ConfigMaps. Each closure receives the number of requests of its type so far.
fn server(
    blogs: impl Fn(usize) -> Reply + Send + Sync + 'static,
    maps: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> Server {
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    Server::new(move |call: &Call| {
        if call.uri.contains("configmaps") {
            maps(counts[0].fetch_add(1, Ordering::SeqCst))
        } else {
            blogs(counts[1].fetch_add(1, Ordering::SeqCst))
        }
    })
}

/// A ConfigMap that a blog owns.
fn owned(name: &str, version: u64, owner: &str) -> Value {
    let owner = json!({"apiVersion": "web.helloworld/v1", "kind": "Blog", "name": owner, "uid": format!("uid-of-{owner}")});
    json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid-of-{name}"), "resourceVersion": version.to_string(),
            "ownerReferences": [owner],
        },
    })
}

/// Lines to be sent later in a reply.
fn more() -> (UnboundedSender<String>, Mutex<Option<UnboundedReceiver<String>>>) {
    let (send, more) = mpsc::unbounded_channel();
    (send, Mutex::new(Some(more)))
}

fn take(more: &Mutex<Option<UnboundedReceiver<String>>>) -> Then {
    Then::More(more.lock().unwrap().take().unwrap())
}

/// A running controller, and what it reconciled.
struct Running {
    reconciled: UnboundedReceiver<Arc<SharedObject<Blog>>>,
    store: Store<SharedObject<Blog>>,
    _task: AbortOnDropHandle<()>,
}

impl Running {
    /// A controller of the server's blogs, which own its ConfigMaps.
    fn new(client: Client) -> Self {
        let informers = Informers::new(client);
        let blogs = informers.typed::<Blog>().start();
        let maps = informers.typed::<ConfigMap>().start();
        let (store, writer) = reflector::store();
        let applied = reflect(blogs.subscribe(), writer);
        let (send, reconciled) = mpsc::unbounded_channel();
        let reconcile = |blog: Arc<SharedObject<Blog>>, send: Arc<UnboundedSender<_>>| async move {
            send.send(blog).unwrap();
            Ok::<_, Infallible>(Action::await_change())
        };
        let run = Controller::for_stream(applied, store.clone())
            .owns_stream(touched_objects(maps.subscribe()))
            .run(reconcile, |_, error, _| match *error {}, Arc::new(send))
            .for_each(|_| std::future::ready(()));
        Self { reconciled, store, _task: AbortOnDropHandle::new(tokio::spawn(run)) }
    }

    /// Returns the next reconciled blogs, ordered by name.
    async fn next(&mut self, count: usize) -> Vec<String> {
        let mut next = Vec::new();
        for _ in 0..count {
            let blog = tokio::time::timeout(Duration::from_secs(3600), self.reconciled.recv()).await;
            let blog = blog.expect("a blog is reconciled").unwrap();
            next.push(text(&blog));
        }
        next.sort();
        next
    }

    /// Returns what is reconciled until nothing is for a minute of virtual time.
    async fn until_it_rests(&mut self) -> Vec<String> {
        let mut reconciled = Vec::new();
        while let Ok(Some(blog)) = tokio::time::timeout(Duration::from_secs(60), self.reconciled.recv()).await
        {
            reconciled.push(text(&blog));
        }
        reconciled
    }

    async fn rests(&mut self) -> bool {
        self.until_it_rests().await.is_empty()
    }
}

fn text(blog: &Blog) -> String {
    format!("{}/{}", blog.name_any(), blog.resource_version().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_relist_reconciles_what_differs_and_nothing_else() {
    let server = server(
        |call| match call {
            0 => Reply::watch_list(5, &[blog("a", 3), blog("b", 4), blog("c", 5)], Then::Break),
            1 => Reply::status(410, "Expired", "too old resource version"),
            _ => Reply::watch_list(9, &[blog("a", 3), blog("c", 8), blog("d", 9)], Then::Stay),
        },
        |_| Reply::watch_list(5, &[], Then::Stay),
    );
    let mut controller = Running::new(server.client());
    assert_eq!(controller.next(3).await, ["a/3", "b/4", "c/5"]);
    assert_eq!(controller.next(2).await, ["c/8", "d/9"]);
    assert!(controller.rests().await);
    let mut names: Vec<String> = controller.store.state().iter().map(|blog| blog.name_any()).collect();
    names.sort();
    assert_eq!(names, ["a", "c", "d"], "a deleted object is not in the store");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_what_is_owned_reconciles_the_owner_even_when_it_was_missed() {
    let ((connection, before), (send, rest)) = (more(), more());
    let server = server(
        |_| Reply::watch_list(5, &[blog("a", 3), blog("b", 4)], Then::Stay),
        move |call| match call {
            0 => Reply::watch_list(5, &[owned("of-a", 5, "a")], take(&before)),
            1 => Reply::status(410, "Expired", "too old resource version"),
            _ => Reply::watch_list(9, &[owned("of-b", 8, "b")], take(&rest)),
        },
    );
    let mut controller = Running::new(server.client());
    // The ConfigMap may arrive before or after the first reconciliation.
    let first = controller.until_it_rests().await;
    assert!(first.contains(&"a/3".to_owned()) && first.contains(&"b/4".to_owned()), "{first:?}");
    drop(connection);
    assert_eq!(controller.next(2).await, ["a/3", "b/4"], "one has lost its ConfigMap, the other one got one");
    send.send(event("DELETED", &owned("of-b", 10, "b"))).unwrap();
    assert_eq!(controller.next(1).await, ["b/4"]);
    // The former owner is reconciled as well as the new one.
    send.send(event("ADDED", &owned("moves", 11, "a"))).unwrap();
    assert_eq!(controller.next(1).await, ["a/3"]);
    send.send(event("MODIFIED", &owned("moves", 12, "b"))).unwrap();
    assert_eq!(controller.next(2).await, ["a/3", "b/4"]);
    assert!(controller.rests().await);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_one_watch_holds_up_no_other() {
    let (send, rest) = more();
    let server = server(
        move |_| Reply::watch_list(5, &[blog("a", 5)], take(&rest)),
        |_| Reply::status(500, "InternalError", "no"),
    );
    let mut controller = Running::new(server.client());
    assert_eq!(controller.next(1).await, ["a/5"]);
    // The other watch fails all the while, with delays of up to 15 s between its attempts.
    eventually(|| server.calls().iter().filter(|call| call.uri.contains("configmaps")).count() > 5).await;
    let started = Instant::now();
    send.send(event("MODIFIED", &blog("a", 6))).unwrap();
    assert_eq!(controller.next(1).await, ["a/6"]);
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_leaves_the_store_and_is_not_reconciled() {
    let (send, rest) = more();
    let server = server(
        move |_| Reply::watch_list(5, &[blog("a", 4), blog("b", 5)], take(&rest)),
        |_| Reply::watch_list(5, &[], Then::Stay),
    );
    let mut controller = Running::new(server.client());
    assert_eq!(controller.next(2).await, ["a/4", "b/5"]);
    send.send(event("DELETED", &blog("a", 6))).unwrap();
    assert!(controller.rests().await);
    assert_eq!(controller.store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_store_holds_the_informers_own_objects_and_kubes_predicates_read_them() {
    let with_generation = |version: u64, generation: u64| {
        let mut blog = blog("a", version);
        blog["metadata"]["generation"] = json!(generation);
        blog
    };
    let (send, rest) = more();
    let server = server(
        move |_| Reply::watch_list(5, &[with_generation(5, 1)], take(&rest)),
        |_| Reply::watch_list(5, &[], Then::Stay),
    );
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let (store, writer) = reflector::store();
    let mut applied =
        pin!(reflect(blogs.subscribe(), writer).predicate_filter(predicates::generation, Default::default()));
    for (version, passed) in [(5, true), (6, false), (7, true)] {
        if version > 5 {
            send.send(event("MODIFIED", &with_generation(version, if passed { 2 } else { 1 }))).unwrap();
        }
        let blog = tokio::time::timeout(Duration::from_secs(1), applied.next()).await;
        let blog = blog.ok().map(|blog| blog.unwrap().unwrap().resource_version().unwrap());
        assert_eq!(blog, passed.then(|| version.to_string()));
    }
    let held = blogs.snapshot().unwrap().get("default", "a").unwrap().clone();
    assert!(Arc::ptr_eq(store.state()[0].as_arc(), &held));
}
