//! A warm start: from a copy on disk to what the server has, without a list.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and not what helps them")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube_informer::{
    Compact, Event, Informer, InformerBuilder, Informers, NamespaceStatus, Persist, Persistable, SaveError,
    Status,
};
use serde_json::{Value, json};
use support::{Blog, Call, Reply, Server, Then, blog, bookmark, event, eventually, read};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// What a server says about itself and its user.
#[derive(Clone)]
struct Identity {
    /// The uid of the namespace `kube-system`, if the user may read it.
    cluster: Option<&'static str>,
    user: &'static str,
    groups: &'static [&'static str],
    /// The present version of the collection.
    version: u64,
}

const ME: Identity = Identity { cluster: Some("one"), user: "me", groups: &["a", "b"], version: 7 };

impl Identity {
    fn server(self, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Server {
        Server::new(move |call| {
            if call.uri.ends_with("/selfsubjectreviews") {
                let user =
                    json!({"username": self.user, "uid": "1", "groups": self.groups, "extra": {"x": ["y"]}});
                Reply::json(201, &json!({"status": {"userInfo": user}}))
            } else if call.uri.ends_with("/namespaces/kube-system") {
                match self.cluster {
                    Some(uid) => Reply::json(200, &json!({"metadata": {"uid": uid}})),
                    None => Reply::status(403, "Forbidden", "no"),
                }
            } else if call.uri.ends_with("limit=1") {
                Reply::list(self.version, &[])
            } else {
                answer(call)
            }
        })
    }

    /// A server that has the blogs a and b, at version 7, and nothing new.
    fn idle(self) -> Server {
        self.server(|call| match call {
            call if call.is_watch_list() => Reply::watch_list(7, &[blog("a", 5), blog("b", 6)], Then::Stay),
            _ => Reply::watch(vec![], Then::Stay),
        })
    }
}

/// The kinds of the requests, without those about the identity.
fn verbs(server: &Server) -> Vec<&'static str> {
    let calls = server.calls().into_iter();
    let calls = calls.filter(|call| !call.is_discovery() && !call.uri.ends_with("limit=1"));
    let verb = |call: Call| {
        if call.is_watch_list() {
            "watch-list"
        } else if call.is_watch() {
            "watch"
        } else {
            "list"
        }
    };
    calls.map(verb).collect()
}

fn typed(server: &Server, persist: impl Into<Persist>) -> Informer<Blog> {
    Informers::new(server.client()).typed::<Blog>().persist(persist).unwrap().start()
}

/// A folder with a copy of the blogs a and b at version 7.
async fn saved() -> TempDir {
    saved_by(|builder| builder).await
}

async fn saved_by<K: Persistable>(describe: impl Fn(InformerBuilder<Blog>) -> InformerBuilder<K>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let blogs = describe(Informers::new(ME.idle().client()).typed::<Blog>());
    let blogs = blogs.persist(folder.path()).unwrap().start();
    assert_eq!(blogs.synced().await.unwrap().count, 2);
    blogs.save().await.unwrap();
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn readable<K: kube_informer::Cached>(blogs: &Informer<K>) {
    blogs.watch_status().wait_for(|status| status.synced).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_warm_start_needs_no_list_and_reports_the_differences_only() {
    let folder = saved().await;
    let server = Identity { version: 10, ..ME }.server(|call| {
        assert!(call.is_watch() && call.uri.contains("resourceVersion=7"), "{call:?}");
        Reply::watch(
            vec![
                event("MODIFIED", &blog("a", 8)),
                event("DELETED", &blog("b", 9)),
                event("ADDED", &blog("c", 10)),
            ],
            Then::Stay,
        )
    });
    let blogs = typed(&server, folder.path());
    let mut events = blogs.subscribe();
    assert_eq!(
        read(&mut events, 6).await,
        ["*a/5", "*b/6", "synced 2 at 7", "~a/5-8", "-b/9 Deleted", "+c/10"]
    );
    assert_eq!(blogs.synced().await.unwrap().count, 2);
    assert!(blogs.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn compact_and_dynamic_objects_are_the_same_after_a_warm_start() {
    let folder = saved_by(InformerBuilder::compact).await;
    let blogs = Informers::new(ME.idle().client()).typed::<Blog>().compact().persist(folder.path()).unwrap();
    let blogs = blogs.start();
    readable(&blogs).await;
    let snapshot = blogs.snapshot().unwrap();
    let json = |stored: &Compact<Blog>| serde_json::from_slice::<Value>(&stored.to_json()).unwrap();
    assert_eq!(snapshot.iter().map(json).collect::<Vec<_>>(), [blog("a", 5), blog("b", 6)]);

    let (folder, resource) = (tempfile::tempdir().unwrap(), ApiResource::erase::<Blog>(&()));
    for run in 0..2 {
        let server = ME.idle();
        let blogs =
            Informers::new(server.client()).dynamic(&resource).persist(folder.path()).unwrap().start();
        blogs.synced().await.unwrap();
        blogs.save().await.unwrap();
        let snapshot = blogs.snapshot().unwrap();
        let json = |blog: &std::sync::Arc<DynamicObject>| serde_json::to_value(&**blog).unwrap();
        assert_eq!(snapshot.iter().map(json).collect::<Vec<_>>(), [blog("a", 5), blog("b", 6)]);
        assert_eq!(verbs(&server), [["watch-list"], ["watch"]][run]);
    }
}

/// An idle server sends nothing for a minute, so it counts that it accepts the watch: it would refuse a version that it
/// does not have at once.
#[tokio::test(start_paused = true)]
async fn reads_can_tell_what_the_server_has_not_confirmed() {
    let folder = saved().await;
    let server = ME.idle();
    let blogs = typed(&server, folder.path());
    let mut events = blogs.subscribe();
    readable(&blogs).await;
    let status = blogs.status();
    assert!(status.from_disk && !status.is_ready() && !status.stale, "{status:?}");
    assert!(blogs.snapshot().unwrap().is_from_disk());
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Unconfirmed));
    let began = loop {
        if let Some(Event::Synced { from_disk, .. }) = events.next().await {
            break from_disk;
        }
    };
    assert!(began);

    let started = Instant::now();
    assert_eq!(blogs.synced().await.unwrap().count, 2);
    assert!(started.elapsed() <= Duration::from_secs(1), "{:?}", started.elapsed());
    let status = blogs.status();
    assert!(!status.from_disk && status.is_ready(), "{status:?}");
    assert!(!blogs.snapshot().unwrap().is_from_disk());
    assert_eq!(verbs(&server), ["watch"]);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_confirms_at_once() {
    let folder = saved().await;
    let server = ME.server(|_| Reply::watch(vec![bookmark(7, false)], Then::Stay));
    let blogs = typed(&server, folder.path());
    readable(&blogs).await;
    let started = Instant::now();
    blogs.synced().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
}

/// A kube-apiserver refuses an old version with an ERROR event after 200, others with 410.
#[tokio::test(start_paused = true)]
async fn a_version_that_has_expired_leads_to_a_list_of_which_the_differences_are_reported() {
    let expired =
        json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "no"});
    for as_event in [true, false] {
        let folder = saved().await;
        let expired = expired.clone();
        let server = Identity { version: 20, ..ME }.server(move |call| match call {
            call if call.is_watch_list() => {
                Reply::watch_list(20, &[blog("b", 6), blog("a", 15), blog("c", 16)], Then::Stay)
            }
            _ if as_event => Reply::watch(vec![event("ERROR", &expired)], Then::Stay),
            _ => Reply::json(410, &expired),
        });
        let blogs = typed(&server, folder.path());
        let mut events = blogs.subscribe();
        // The refusal is no failure for those who wait.
        assert_eq!(blogs.synced().await.unwrap().count, 3);
        let mut texts = read(&mut events, 5).await;
        texts[3..].sort();
        assert_eq!(texts, ["*a/5", "*b/6", "synced 2 at 7", "+c/16", "~a/5-15"]);
        assert_eq!(verbs(&server), ["watch", "watch-list"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_deleted_before_an_expired_version_is_missed() {
    let folder = saved().await;
    let server = Identity { version: 20, ..ME }.server(move |call| match call {
        call if call.is_watch_list() => Reply::watch_list(20, &[blog("a", 5)], Then::Stay),
        _ => Reply::status(410, "Expired", "no"),
    });
    let blogs = typed(&server, folder.path());
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 4).await, ["*a/5", "*b/6", "synced 2 at 7", "-b/6 MissedWhileAway"]);
    blogs.synced().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_user_may_not_watch_any_more_is_not_confirmed() {
    let folder = saved().await;
    let server = ME.server(|_| Reply::status(403, "Forbidden", "no"));
    let blogs = typed(&server, folder.path());
    assert!(blogs.synced().await.unwrap_err().is_forbidden());
    assert!(blogs.status().from_disk && !blogs.status().is_ready());
}

/// The objects of one user, cluster, selector and so on are never shown to another.
#[tokio::test(start_paused = true)]
async fn a_copy_of_something_else_is_ignored() {
    type Describe = fn(InformerBuilder<Blog>) -> InformerBuilder<Blog>;
    let others: [(&str, Identity, Describe); 9] = [
        ("cluster", Identity { cluster: Some("two"), ..ME }, |builder| builder),
        ("unknown cluster", Identity { cluster: None, ..ME }, |builder| builder),
        ("user", Identity { user: "you", ..ME }, |builder| builder),
        ("groups", Identity { groups: &["a"], ..ME }, |builder| builder),
        ("restored", Identity { version: 6, ..ME }, |builder| builder),
        ("labels", ME, |builder| builder.label_selector("a=b")),
        ("fields", ME, |builder| builder.field_selector("metadata.name=a")),
        ("skipped", ME, |builder| builder.skip(["spec.notes"]).unwrap()),
        ("namespace", ME, |builder| builder.namespace("default")),
    ];
    for (what, identity, describe) in others {
        let folder = saved().await;
        let original = files(folder.path());
        let server = identity.idle();
        let builder = describe(Informers::new(server.client()).typed::<Blog>());
        let ours = builder.persist(folder.path()).unwrap().start();
        readable(&ours).await;
        assert!(!ours.status().from_disk, "{what}");
        assert_eq!(verbs(&server), ["watch-list"], "{what}");
        // Not even under the name of the right one.
        let _ = ours.save().await;
        drop(ours);
        for file in files(folder.path()).into_iter().filter(|file| !original.contains(file)) {
            fs::copy(&original[0], file).unwrap();
            let server = ME.idle();
            let builder = describe(Informers::new(server.client()).typed::<Blog>());
            let again = builder.persist(folder.path()).unwrap().start();
            readable(&again).await;
            assert_eq!(verbs(&server), ["watch-list"], "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_about_the_user_nothing_is_read_or_written() {
    let folder = saved().await;
    let copy = fs::read(&files(folder.path())[0]).unwrap();
    let server = Server::new(|call| match call {
        call if call.uri.ends_with("/selfsubjectreviews") => Reply::status(404, "NotFound", "no"),
        call if call.uri.ends_with("/namespaces/kube-system") => {
            Reply::json(200, &json!({"metadata": {"uid": "one"}}))
        }
        call if call.uri.ends_with("limit=1") => Reply::list(9, &[]),
        call if call.is_watch_list() => Reply::watch_list(9, &[blog("a", 9)], Then::Stay),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = typed(&server, folder.path());
    assert_eq!(blogs.synced().await.unwrap().count, 1);
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Owner(_)));
    drop(blogs);
    assert_eq!(fs::read(&files(folder.path())[0]).unwrap(), copy);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_can_be_named_by_those_who_may_not_read_kube_system() {
    let (folder, stranger) = (tempfile::tempdir().unwrap(), Identity { cluster: None, ..ME });
    let named = |name: &str| Persist::to(folder.path()).cluster(name);
    // An empty name, as of a variable that is not set, is no name.
    for persist in [Persist::to(folder.path()), named("")] {
        let blogs = typed(&stranger.clone().idle(), persist);
        blogs.synced().await.unwrap();
        assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Owner(_)));
    }
    let blogs = typed(&stranger.clone().idle(), named("one"));
    blogs.synced().await.unwrap();
    blogs.save().await.unwrap();
    for (name, expected) in [("two", "watch-list"), ("one", "watch")] {
        let server = stranger.clone().idle();
        readable(&typed(&server, named(name))).await;
        assert_eq!(verbs(&server), [expected], "{name}");
    }
}

/// A failover, or a cluster that was made anew behind the same address.
#[tokio::test(start_paused = true)]
async fn the_objects_of_another_cluster_are_not_written_as_those_of_the_first() {
    let (folder, other) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let failed_over = Arc::clone(&other);
    let (lines, more) = mpsc::unbounded_channel();
    let more = std::sync::Mutex::new(Some(more));
    let server = Server::new(move |call| {
        let other = failed_over.load(Ordering::SeqCst);
        if call.uri.ends_with("/selfsubjectreviews") {
            let user = json!({"username": "me", "uid": "1", "groups": ["a", "b"]});
            Reply::json(201, &json!({"status": {"userInfo": user}}))
        } else if call.uri.ends_with("/namespaces/kube-system") {
            Reply::json(200, &json!({"metadata": {"uid": if other { "two" } else { "one" }}}))
        } else if call.uri.ends_with("limit=1") {
            Reply::list(8, &[])
        } else if call.is_watch_list() && !other {
            Reply::watch_list(7, &[blog("a", 5)], Then::More(more.lock().unwrap().take().unwrap()))
        } else if call.is_watch_list() {
            Reply::watch_list(8, &[blog("z", 8)], Then::Stay)
        } else {
            Reply::status(410, "Expired", "too old")
        }
    });
    let informers = Informers::new(server.client());
    let blogs = informers.typed::<Blog>().persist(folder.path()).unwrap().start();
    blogs.synced().await.unwrap();
    blogs.save().await.unwrap();
    let copy = fs::read(&files(folder.path())[0]).unwrap();
    other.store(true, Ordering::SeqCst);
    drop(lines);
    eventually(|| blogs.snapshot().unwrap().get("default", "z").is_some()).await;
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Owner(_)));
    // Nor does another informer of this process read the file.
    drop(blogs);
    let blogs = informers.typed::<Blog>().persist(folder.path()).unwrap().start();
    readable(&blogs).await;
    assert!(!blogs.status().from_disk);
    // It could still have objects of the second.
    other.store(false, Ordering::SeqCst);
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Owner(_)));
    assert_eq!(fs::read(&files(folder.path())[0]).unwrap(), copy);
}

/// A restore from a backup moves the versions back, and later they come again.
#[tokio::test(start_paused = true)]
async fn the_same_version_after_a_restore_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, more) = mpsc::unbounded_channel();
    let more = std::sync::Mutex::new(Some(more));
    let restored = AtomicBool::new(false);
    let server = ME.server(move |call| {
        if call.is_watch_list() && !restored.swap(true, Ordering::SeqCst) {
            let more = more.lock().unwrap().take().unwrap();
            Reply::watch_list(9, &[blog("a", 5), blog("b", 9)], Then::More(more))
        } else if call.is_watch_list() {
            Reply::watch_list(6, &[blog("a", 5)], Then::Close)
        } else {
            Reply::watch(vec![event("MODIFIED", &blog("a", 9))], Then::Stay)
        }
    });
    let blogs = typed(&server, folder.path());
    blogs.synced().await.unwrap();
    blogs.save().await.unwrap();
    let copy = fs::read(&files(folder.path())[0]).unwrap();
    // The watch shows a lower version.
    lines.send(event("MODIFIED", &blog("a", 6))).unwrap();
    let restored = |blogs: &Informer<Blog>| {
        let snapshot = blogs.snapshot().unwrap();
        snapshot.len() == 1 && snapshot.resource_version().unwrap().to_string() == "9"
    };
    eventually(|| restored(&blogs)).await;
    blogs.save().await.unwrap();
    assert_ne!(fs::read(&files(folder.path())[0]).unwrap(), copy);
    drop(blogs);
    let server = Identity { version: 9, ..ME }.idle();
    let blogs = typed(&server, folder.path());
    readable(&blogs).await;
    assert!(restored(&blogs));
    assert_eq!(verbs(&server), ["watch"]);
}

/// In a list after a restore, objects are older than the version of the cache.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_in_a_list_whose_versions_went_back() {
    let (folder, lists) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    let server = ME.server(move |call| {
        if call.is_watch_list() {
            Reply::status(400, "BadRequest", "no watch-lists")
        } else if call.is_list() && call.uri.contains("continue=") {
            Reply::pending()
        } else if call.is_list() && lists.fetch_add(1, Ordering::SeqCst) == 0 {
            Reply::list(1000, &[blog("a", 900), blog("b", 950)])
        } else if call.is_list() {
            let metadata = json!({"resourceVersion": "500", "continue": "x"});
            Reply::json(200, &json!({"items": [blog("a", 400)], "metadata": metadata}))
        } else {
            Reply::watch(vec![event("MODIFIED", &blog("a", 450))], Then::Stay)
        }
    });
    let blogs = typed(&server, folder.path());
    let mut events = blogs.subscribe();
    blogs.synced().await.unwrap();
    assert_eq!(read(&mut events, 4).await[3], "~a/900-400");
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Listing));
}

/// The unit tests try each byte of a file; this is what a user sees of it.
#[tokio::test(start_paused = true)]
async fn a_damaged_copy_is_ignored_and_replaced() {
    let folder = saved().await;
    let path = files(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let server = ME.idle();
        let blogs = typed(&server, folder.path());
        assert_eq!(blogs.synced().await.unwrap().count, 2);
        assert_eq!(verbs(&server), ["watch-list"], "{length}");
        blogs.save().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_written_at_intervals_if_its_version_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, more) = mpsc::unbounded_channel();
    let more = std::sync::Mutex::new(Some(more));
    let server = ME.server(move |call| match call {
        call if call.is_watch_list() => {
            Reply::watch_list(7, &[blog("a", 5)], Then::More(more.lock().unwrap().take().unwrap()))
        }
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = typed(&server, Persist::to(folder.path()).interval(Duration::from_secs(60)));
    blogs.synced().await.unwrap();
    let started = Instant::now();
    eventually(|| files(folder.path()).len() == 1).await;
    assert!(started.elapsed() >= Duration::from_secs(59), "{:?}", started.elapsed());
    let path = files(folder.path()).remove(0);
    let first = fs::read(&path).unwrap();
    // Nothing is written while nothing changes: it is the same file some intervals later.
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
    sender.send(event("ADDED", &blog("b", 8))).unwrap();
    eventually(|| fs::read(&path).unwrap() != first).await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_writes() {
    for cancel in [false, true] {
        let (folder, token) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let server = ME.idle();
        let informers = Informers::with_cancellation(server.client(), token.clone());
        let blogs = informers.typed::<Blog>().persist(folder.path()).unwrap().start();
        blogs.synced().await.unwrap();
        // The owner is known once both questions are answered.
        eventually(|| server.calls().iter().filter(|call| call.is_discovery()).count() == 2).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if cancel {
            token.cancel();
        } else {
            drop(blogs);
        }
        eventually(|| {
            files(folder.path()).iter().any(|file| file.extension().is_some_and(|end| end == "cache"))
        })
        .await;
        let server = ME.idle();
        readable(&typed(&server, folder.path())).await;
        assert_eq!(verbs(&server), ["watch"]);
    }
}

/// A file that is not the state of one version is never written.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_between_two_versions_or_beside_quarantined_objects() {
    let folder = saved().await;
    let copy = fs::read(&files(folder.path())[0]).unwrap();
    // A list that stands still half-way.
    let server = Identity { version: 20, ..ME }.server(|call| match call {
        call if call.is_watch_list() => Reply::watch(vec![event("ADDED", &blog("a", 15))], Then::Stay),
        call if call.uri.contains("resourceVersion=7") => Reply::watch(vec![bookmark(8, false)], Then::Close),
        _ => Reply::status(410, "Expired", "no"),
    });
    let blogs = typed(&server, folder.path());
    let mut events = blogs.subscribe();
    assert_eq!(read(&mut events, 4).await[3], "~a/5-15");
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Listing));
    drop(blogs);

    let mut bad = blog("b", 9);
    bad["spec"]["url"] = json!(5);
    let server = Identity { version: 9, ..ME }
        .server(move |_| Reply::watch(vec![event("MODIFIED", &bad)], Then::Stay));
    let blogs = typed(&server, folder.path());
    blogs.watch_status().wait_for(|status| !status.quarantined.is_empty()).await.unwrap();
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Quarantined));
    drop(blogs);
    assert_eq!(fs::read(&files(folder.path())[0]).unwrap(), copy);
}

/// The objects of an aggregated API survive while it is not served, so an empty cache is not the state of a version.
#[tokio::test(start_paused = true)]
async fn the_absence_of_a_type_is_not_written() {
    let folder = saved().await;
    let copy = fs::read(&files(folder.path())[0]).unwrap();
    let server = ME.server(|_| Reply::status(404, "NotFound", "no"));
    let blogs = typed(&server, folder.path());
    let gone = |status: &Status| matches!(status.phase, kube_informer::Phase::TypeGone { .. });
    let status = blogs.watch_status().wait_for(gone).await.unwrap();
    assert!(!status.from_disk);
    assert!(blogs.snapshot().unwrap().is_empty());
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Unconfirmed));
    drop(blogs);
    assert_eq!(fs::read(&files(folder.path())[0]).unwrap(), copy);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_does_not_disturb_the_informer() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("below-a-file");
    let server = ME.idle();
    let blogs = typed(&server, Persist::to(&folder).interval(Duration::from_secs(1)));
    blogs.synced().await.unwrap();
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Io(_)));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(blogs.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn each_namespace_of_a_set_has_a_file_of_its_own() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = |server: &Server, folder: &TempDir| {
        let builder = Informers::new(server.client()).typed::<Blog>().namespaces(["default", "empty"]);
        builder.persist(folder.path()).unwrap().start()
    };
    let answer = |call: &Call| match call {
        call if !call.is_watch_list() => Reply::watch(vec![], Then::Stay),
        call if call.uri.contains("/namespaces/default/") => {
            Reply::watch_list(7, &[blog("a", 5)], Then::Stay)
        }
        _ => Reply::watch_list(6, &[], Then::Stay),
    };
    let blogs = start(&ME.server(answer), &folder);
    blogs.watch_status().wait_for(Status::is_ready).await.unwrap();
    blogs.save().await.unwrap();
    let files = files(folder.path());
    assert_eq!(files.len(), 2);
    // Only one of the two is there, so only the other namespace is listed.
    let kept = files.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    fs::copy(kept, other.path().join(kept.file_name().unwrap())).unwrap();
    let server = ME.server(answer);
    let blogs = start(&server, &other);
    assert_eq!(blogs.synced().await.unwrap().count, 1);
    let mut verbs = verbs(&server);
    verbs.sort_unstable();
    assert_eq!(verbs, ["watch", "watch-list"]);
    assert_eq!(blogs.snapshot().unwrap().resource_version_of("default").unwrap().to_string(), "7");
}

/// A namespace that may not be read does not keep those that come after it from being written.
#[tokio::test(start_paused = true)]
async fn save_writes_each_namespace_that_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = ME.server(|call| match call {
        call if call.uri.contains("/forbidden/") => Reply::status(403, "Forbidden", "no"),
        call if call.is_watch_list() => Reply::watch_list(7, &[], Then::Stay),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let builder = Informers::new(server.client()).typed::<Blog>().namespaces(["forbidden", "open"]);
    let blogs = builder.persist(folder.path()).unwrap().start();
    let open = |status: &Status| status.namespaces.get("open").is_some_and(NamespaceStatus::is_ready);
    blogs.watch_status().wait_for(open).await.unwrap();
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Unconfirmed));
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn save_before_the_first_list_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = ME.idle();
    let blogs = typed(&server, folder.path());
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::Unconfirmed));
    blogs.synced().await.unwrap();
    blogs.save().await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_may_list_with_a_selector_only_has_a_warm_start() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["watch-list", "watch"] {
        let server = Server::new(|call| match call {
            call if call.uri.ends_with("/selfsubjectreviews") => {
                Reply::json(201, &json!({"status": {"userInfo": {"username": "me"}}}))
            }
            call if call.uri.ends_with("/namespaces/kube-system") => {
                Reply::json(200, &json!({"metadata": {"uid": "one"}}))
            }
            call if !call.uri.contains("labelSelector=x%3Dy&fieldSelector=metadata.name%3Da") => {
                Reply::status(403, "Forbidden", "only by name")
            }
            call if call.is_watch_list() => Reply::watch_list(7, &[blog("a", 5)], Then::Stay),
            call if call.is_list() => Reply::list(7, &[blog("a", 5)]),
            _ => Reply::watch(vec![], Then::Stay),
        });
        let builder = Informers::new(server.client()).typed::<Blog>();
        let builder = builder.label_selector("x=y").field_selector("metadata.name=a");
        let blogs = builder.persist(folder.path()).unwrap().start();
        blogs.synced().await.unwrap();
        blogs.save().await.unwrap();
        assert_eq!(verbs(&server), [verb]);
    }
}

#[tokio::test(start_paused = true)]
async fn two_clusters_with_names_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["watch-list", "watch"] {
        for cluster in ["one", "two"] {
            let server = Identity { cluster: Some(cluster), ..ME }.idle();
            let blogs = typed(&server, Persist::to(folder.path()).cluster(cluster));
            blogs.synced().await.unwrap();
            blogs.save().await.unwrap();
            assert_eq!(verbs(&server), [verb], "{cluster}");
        }
    }
    assert_eq!(files(folder.path()).len(), 2);
}

#[tokio::test]
async fn secrets_are_refused_unless_they_are_allowed() {
    let informers = Informers::new(ME.idle().client());
    assert!(informers.typed::<Secret>().persist("/nowhere").is_err());
    assert!(informers.typed::<Secret>().persist(Persist::to("/nowhere").allow_secrets()).is_ok());
    // The annotation that `kubectl apply` leaves contains the whole Secret, and is metadata.
    assert!(informers.metadata(&ApiResource::erase::<Secret>(&())).persist("/nowhere").is_err());
    assert!(informers.typed::<PartialObjectMeta<Secret>>().persist("/nowhere").is_err());
    assert!(informers.typed::<Blog>().persist("/nowhere").is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_informer_that_is_not_persisted_says_so() {
    let server = ME.idle();
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    blogs.synced().await.unwrap();
    assert!(matches!(blogs.save().await.unwrap_err(), SaveError::NotPersisted));
    // It asks nothing about the user either.
    assert_eq!(server.calls().len(), 1);
}
