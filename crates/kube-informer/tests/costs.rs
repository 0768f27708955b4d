//! What large caches must not cost: see the contract's item on costs.

#![allow(missing_docs, unreachable_pub, reason = "the derived type must be as visible as its parts")]
#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and not what helps them")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use kube::ResourceExt as _;
use kube_informer::Informers;
use serde::{Deserialize, Deserializer, Serialize};
use support::{Reply, Server, Then, blog, bookmark, event, eventually};
use tokio::sync::mpsc;

const MANY: usize = 12_000;

/// Where objects of this type were freed.
static FREED: Mutex<Vec<thread::ThreadId>> = Mutex::new(Vec::new());

#[derive(kube::CustomResource, Serialize, Deserialize, Clone, Debug)]
#[kube(group = "web.helloworld", version = "v1", kind = "Blog", namespaced, schema = "disabled")]
pub struct TracedSpec {
    pub url: Traced,
}

#[derive(Serialize, Clone, Debug)]
pub struct Traced;

impl<'de> Deserialize<'de> for Traced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        FREED.lock().unwrap().push(thread::current().id());
    }
}

fn many() -> Vec<serde_json::Value> {
    (0..MANY).map(|number| blog(&format!("{number:05}"), 5)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_large_cache_is_freed_on_a_thread_of_its_own() {
    let server = Server::new(|_| Reply::watch_list(5, &many(), Then::Stay));
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let _by_name = blogs.index(|blog| [blog.name_any()]);
    assert_eq!(blogs.synced().await.unwrap().count, MANY);
    let events = blogs.subscribe();
    FREED.lock().unwrap().clear();
    // The last one holds all objects, too: it has read none of them.
    drop(blogs);
    drop(events);
    eventually(|| FREED.lock().unwrap().len() >= MANY).await;
    let here = thread::current().id();
    assert!(FREED.lock().unwrap().iter().all(|thread| *thread != here), "some were freed by the runtime");
}

/// An index costs each object one call of its function, when it arrives: joining the cache costs none.
#[tokio::test(start_paused = true)]
async fn an_index_is_built_while_the_first_list_arrives() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |_| {
        let lines = (0..100).map(|number| event("ADDED", &blog(&number.to_string(), 5))).collect();
        Reply::watch(lines, Then::More(more.lock().unwrap().take().unwrap()))
    });
    let blogs = Informers::new(server.client()).typed::<support::Blog>().start();
    let index = |calls: &Arc<AtomicUsize>| {
        let calls = Arc::clone(calls);
        blogs.index(move |blog: &Arc<support::Blog>| {
            calls.fetch_add(1, Ordering::SeqCst);
            [blog.name_any()]
        })
    };
    let (early, late) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let by_name = index(&early);
    eventually(|| early.load(Ordering::SeqCst) == 100).await;
    // One that is added half-way catches up on the thread of whoever adds it.
    let by_name_late = index(&late);
    assert_eq!(late.load(Ordering::SeqCst), 100);
    assert!(blogs.snapshot().is_err());
    let half_way = index(&Arc::default());
    drop(half_way);

    send.send(event("ADDED", &blog("last", 6))).unwrap();
    eventually(|| late.load(Ordering::SeqCst) == 101).await;
    send.send(bookmark(9, true)).unwrap();
    assert_eq!(blogs.synced().await.unwrap().count, 101);
    assert_eq!((early.load(Ordering::SeqCst), late.load(Ordering::SeqCst)), (101, 101));
    let snapshot = blogs.snapshot().unwrap();
    for index in [&by_name, &by_name_late] {
        assert!(["0", "99", "last"].iter().all(|name| snapshot.index_count(index, *name) == 1));
    }
    assert_eq!(snapshot.index_keys(&by_name).count(), 101);
}
