//! Many subscribers at once, on several threads and in real time.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube_informer::{Change, Event, Informer, Informers, ObjectKey, Snapshot, Subscription};
use support::{Blog, Reply, Server, Then, blog, event};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

const OBJECTS: u64 = 200;
const CHANGES: u64 = 6_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// The deletion of this object is the last change.
const LAST: &str = "last";

type Versions = BTreeMap<ObjectKey, String>;

fn version(blog: &Arc<Blog>) -> String {
    blog.metadata.resource_version.clone().unwrap_or_default()
}

fn versions(snapshot: &Snapshot<Blog>) -> Versions {
    snapshot.entries().map(|(key, blog)| (key.clone(), version(blog))).collect()
}

/// Reads up to the last change, checking that the events add up and that none is repeated.
async fn follow(mut events: Subscription<Blog>) -> Versions {
    let mut known = Versions::new();
    let mut synced = false;
    while let Some(event) = events.next().await {
        match event {
            Event::Change(Change::Added { key, object, initial }) => {
                assert_eq!(initial, !synced);
                assert_eq!(known.insert(key, version(&object)), None);
            }
            Event::Change(Change::Updated { key, old, new }) => {
                assert_eq!(known.insert(key, version(&new)), Some(version(&old)));
            }
            Event::Change(Change::Deleted { key, .. }) => {
                assert!(known.remove(&key).is_some());
                if key.name() == LAST {
                    break;
                }
            }
            Event::Synced { count, .. } => {
                assert_eq!((known.len(), std::mem::replace(&mut synced, true)), (count, false));
            }
            _ => {}
        }
    }
    known
}

/// An informer, and a sender for its server's lines.
async fn informer() -> (Informer<Blog>, mpsc::UnboundedSender<String>) {
    let (send, more) = mpsc::unbounded_channel();
    let more = std::sync::Mutex::new(Some(more));
    let server = Server::new(move |_| {
        let more = more.lock().ok().and_then(|mut more| more.take()).expect("one watch");
        Reply::watch_list(5, &[blog(LAST, 5)], Then::More(more))
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.expect("it lists");
    (blogs, send)
}

/// Adds, changes and deletes objects, a few in each chunk.
fn write(send: &mpsc::UnboundedSender<String>, changes: std::ops::Range<u64>) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut lines = String::new();
    for at in changes {
        let name = format!("blog-{}", random.u64(0..OBJECTS));
        // Either kind will do: only whether the object exists matters.
        let kind = if random.u8(0..4) == 0 { "DELETED" } else { "MODIFIED" };
        lines += &event(kind, &blog(&name, 10 + at));
        if random.u8(0..3) == 0 {
            send.send(std::mem::take(&mut lines)).expect("it listens");
        }
    }
    send.send(lines).expect("it listens");
}

fn finish(send: &mpsc::UnboundedSender<String>) {
    send.send(event("DELETED", &blog(LAST, 10 + CHANGES))).expect("it listens");
}

/// Contract 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_hundred_subscribers_sleeps() {
    let (blogs, send) = informer().await;
    let asleep = blogs.subscribe();
    let mut awake = JoinSet::new();
    for _ in 0..99 {
        awake.spawn(follow(blogs.subscribe()));
    }
    write(&send, 0..CHANGES);
    finish(&send);
    let followed = timeout(PATIENCE, awake.join_all()).await.expect("a subscriber was held up");
    let state = versions(&blogs.snapshot().expect("synced"));
    assert!(state.len() > 100, "{} objects", state.len());
    assert!(followed.iter().all(|known| *known == state));
    // One entry per object, including the deletion of the last one.
    let pending = asleep.pending();
    assert!(pending <= state.len() + 1, "{pending} entries for {} objects", state.len());
    assert_eq!(timeout(PATIENCE, follow(asleep)).await.expect("it is all there"), state);
}

/// Contract 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_join_under_writes_have_no_gap() {
    let (blogs, send) = informer().await;
    let joined = Arc::new(Mutex::new(JoinSet::new()));
    let joining = tokio::spawn({
        let (blogs, joined) = (blogs.clone(), Arc::clone(&joined));
        async move {
            // As fast as possible, for at least as long as there is something to miss.
            let mut seen = 0;
            while seen < 50 {
                let before = blogs.snapshot().ok().and_then(|snapshot| snapshot.resource_version());
                joined.lock().await.spawn(follow(blogs.subscribe()));
                seen += 1;
                let mut status = blogs.watch_status();
                let moved = status.wait_for(|status| status.resource_version > before);
                // The writer may have finished.
                if timeout(Duration::from_millis(200), moved).await.is_err() {
                    break;
                }
            }
            seen
        }
    });
    for part in 0..20 {
        write(&send, part * CHANGES / 20..(part + 1) * CHANGES / 20);
        tokio::task::yield_now().await;
    }
    let joined_count = timeout(PATIENCE, joining).await.expect("it ends").expect("it does not panic");
    assert!(joined_count > 1, "no subscriber joined during the changes");
    finish(&send);
    let followed = std::mem::take(&mut *joined.lock().await).join_all();
    let followed = timeout(PATIENCE, followed).await.expect("a subscriber was held up");
    blogs
        .wait_for("default", &(10 + CHANGES).to_string(), Instant::now() + PATIENCE)
        .await
        .expect("it is there");
    let state = versions(&blogs.snapshot().expect("synced"));
    assert!(followed.iter().all(|known| *known == state));
}
