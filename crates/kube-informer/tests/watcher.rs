//! `watcher` in place of kube-runtime's, with kube's own reflector and stream extensions on top.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and the helpers have none")]

mod support;

use std::{pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use kube::{
    Api, Resource as _, ResourceExt as _,
    core::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, Config, Event},
    },
};
use kube_informer::watcher;
use serde_json::json;
use support::{Blog, Reply, Server, Then, blog, event, eventually};

fn blogs(server: &Server) -> Api<Blog> {
    Api::namespaced(server.client(), "default")
}

/// Returns the next events as short texts.
async fn received(
    events: &mut (impl Stream<Item = watcher::Result<Event<Blog>>> + Unpin),
    count: usize,
) -> Vec<String> {
    let version = |blog: &Blog| format!("{}/{}", blog.name_any(), blog.resource_version().unwrap());
    let text = |event| match event {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitApply(blog)) => format!("*{}", version(&blog)),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::Apply(blog)) => format!("+{}", version(&blog)),
        Ok(Event::Delete(blog)) => format!("-{}", version(&blog)),
        Err(error) => format!("error: {error}"),
    };
    let read = events.take(count).map(text).collect();
    tokio::time::timeout(Duration::from_secs(3600), read).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn kubes_reflector_follows_through_a_relist() {
    let server = Server::new(|call| match call.index {
        0 => Reply::list(5, &[blog("a", 3), blog("b", 4), blog("c", 5)]),
        1 => {
            Reply::watch(vec![event("MODIFIED", &blog("a", 6)), event("DELETED", &blog("c", 7))], Then::Break)
        }
        2 => Reply::status(410, "Expired", "too old resource version"),
        3 => Reply::list(12, &[blog("a", 6), blog("d", 11)]),
        _ => Reply::watch(vec![event("ADDED", &blog("e", 13))], Then::Stay),
    });
    let (store, writer) = reflector::store();
    let mut events = pin!(reflector(writer, watcher(blogs(&server), Config::default())));
    assert_eq!(received(&mut events, 5).await, ["init", "*a/3", "*b/4", "*c/5", "done"]);
    assert_eq!(received(&mut events, 2).await, ["+a/6", "-c/7"]);
    let failed = received(&mut events, 2).await;
    assert!(
        failed[0].contains("ended early") && failed[1].contains("too old resource version"),
        "{failed:?}"
    );
    // Unchanged objects are not sent again; a missed deletion is a deletion.
    assert_eq!(received(&mut events, 3).await, ["+d/11", "-b/4", "+e/13"]);
    let mut names: Vec<String> = store.state().iter().map(|blog| blog.name_any()).collect();
    names.sort();
    assert_eq!(names, ["a", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn each_failed_attempt_is_one_error_and_none_ends_the_stream() {
    let server = Server::new(|call| match call.index {
        0..3 => Reply::status(403, "Forbidden", "blogs is forbidden"),
        3 => Reply::list(5, &[blog("a", 5)]),
        4 => Reply::status(503, "ServiceUnavailable", "not now"),
        _ => Reply::watch(vec![event("MODIFIED", &blog("a", 6))], Then::Stay),
    });
    let mut events = pin!(watcher(blogs(&server), Config::default()));
    let mut errors = Vec::new();
    let mut applied = Vec::new();
    while applied.len() < 2 {
        match events.next().await.unwrap() {
            Ok(Event::InitApply(blog) | Event::Apply(blog)) => applied.push(blog.spec.url),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(applied, ["https://a/5", "https://a/6"]);
    let [first, second, third, last] = &errors[..] else { panic!("{errors:?}") };
    for error in [first, second, third] {
        let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else { panic!("{error:?}") };
        assert_eq!(status.code, 403);
    }
    assert!(matches!(last, watcher::Error::WatchError(status) if status.code == 503), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn kubes_stream_extensions_work_on_it() {
    let lines = vec![event("DELETED", &blog("a", 6)), event("ADDED", &blog("b", 7))];
    let server = Server::new(move |call| match call.index {
        0 => Reply::status(500, "InternalError", "no"),
        1 => Reply::list(5, &[blog("a", 5)]),
        _ => Reply::watch(lines.clone(), Then::Stay),
    });
    let touched = watcher(blogs(&server), Config::default()).default_backoff().touched_objects();
    let touched = touched.filter_map(async |blog| Some(blog.ok()?.name_any())).take(3);
    assert_eq!(touched.collect::<Vec<_>>().await, ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_decode_is_one_error_and_comes_when_it_does() {
    let mut bad = blog("a", 6);
    bad["spec"]["url"] = json!({"password": "hunter2"});
    let lines = [event("MODIFIED", &bad), event("MODIFIED", &blog("b", 7)), event("MODIFIED", &blog("a", 8))];
    let lines = lines.concat();
    let server = Server::new(move |call| match call.index {
        0 => Reply::list(5, &[blog("a", 4), blog("b", 5)]),
        1 => Reply::watch(vec![event("MODIFIED", &bad)], Then::Break),
        _ => Reply::watch(vec![lines.clone()], Then::Stay),
    });
    let mut events = pin!(watcher(blogs(&server), Config::default()));
    assert_eq!(received(&mut events, 4).await, ["init", "*a/4", "*b/5", "done"]);
    let error = received(&mut events, 2).await.join("\n");
    assert!(error.contains("default/a failed to decode at resource version 6"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert_eq!(received(&mut events, 2).await, ["+b/7", "+a/8"]);
}

#[tokio::test(start_paused = true)]
async fn the_configuration_is_obeyed() {
    /// The requests that a configuration causes, to a server without streaming lists, up to the first watch.
    async fn asked(config: Config) -> Vec<String> {
        let server = Server::new(|call| match call {
            call if call.is_watch_list() => Reply::status(422, "Invalid", "no"),
            call if call.is_list() => Reply::list(5, &[]),
            _ => Reply::watch(vec![], Then::Stay),
        });
        let mut events = pin!(watcher(blogs(&server), config));
        assert_eq!(received(&mut events, 2).await, ["init", "done"]);
        eventually(|| server.calls().last().unwrap().is_watch()).await;
        let query = |call: &support::Call| call.uri.split_once('?').map_or("", |(_, query)| query).to_owned();
        server.calls().iter().map(query).collect()
    }
    let plain = asked(Config::default()).await;
    assert_eq!(plain[0], "limit=500");
    assert!(
        plain[1].contains("allowWatchBookmarks=true") && plain[1].contains("resourceVersion=5"),
        "{plain:?}"
    );

    let selected = asked(Config::default().labels("app=web").fields("metadata.name=a").timeout(33)).await;
    for query in &selected {
        assert!(query.contains("labelSelector=app%3Dweb&fieldSelector=metadata.name%3Da"), "{selected:?}");
    }
    assert!(selected[1].contains("timeoutSeconds=33&"), "{selected:?}");

    assert_eq!(asked(Config::default().page_size(7)).await[0], "limit=7");
    assert_eq!(asked(Config { page_size: None, ..Config::default() }).await[0], "");
    let any = asked(Config::default().any_semantic()).await;
    assert_eq!(any[0], "resourceVersion=0&resourceVersionMatch=NotOlderThan");

    let streaming = asked(Config::default().streaming_lists()).await;
    assert!(streaming[0].contains("sendInitialEvents=true"), "{streaming:?}");
    assert_eq!((streaming.len(), streaming[1].as_str()), (3, "limit=500"));

    let without_bookmarks = asked(Config::default().disable_bookmarks()).await;
    assert!(without_bookmarks[1].contains("allowWatchBookmarks=true"), "{without_bookmarks:?}");
}

#[tokio::test(start_paused = true)]
async fn it_begins_when_it_is_polled_and_ends_when_it_is_dropped() {
    let server = Server::new(|call| match call.index {
        0 => Reply::list(5, &[]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let mut events = Box::pin(watcher(blogs(&server), Config::default()));
    tokio::task::yield_now().await;
    assert!(server.calls().is_empty());
    assert_eq!(received(&mut events, 2).await, ["init", "done"]);
    server.called(2).await;
    drop(events);
    eventually(|| server.open_answers() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn dynamic_and_metadata_types_are_watched_at_their_paths() {
    let server = Server::new(|call| match call.index {
        0 => {
            let mut untyped = blog("a", 5);
            untyped.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
            untyped["metadata"]["managedFields"] = json!([{"manager": "m"}]);
            Reply::list(5, &[untyped])
        }
        _ => Reply::watch(vec![event("MODIFIED", &blog("a", 6))], Then::Stay),
    });
    let api: Api<DynamicObject> =
        Api::namespaced_with(server.client(), "default", &ApiResource::erase::<Blog>(&()));
    let objects: Vec<DynamicObject> =
        watcher(api, Config::default()).applied_objects().map(Result::unwrap).take(2).collect().await;
    let calls = server.calls();
    assert!(
        calls[0].uri.starts_with("/apis/web.helloworld/v1/namespaces/default/blogs?"),
        "{}",
        calls[0].uri
    );
    // As the server sent it, complete.
    assert_eq!((&objects[0].types, objects[0].managed_fields().len()), (&None, 1));
    assert_eq!(objects[1].types.as_ref().unwrap().kind, "Blog");

    let metadata = watcher(Api::<PartialObjectMeta<Blog>>::all(server.client()), Config::default());
    let mut metadata = pin!(metadata.take(2));
    let _ = tokio::time::timeout(Duration::from_secs(1), metadata.by_ref().count()).await;
    let calls = server.calls();
    let call = calls.iter().find(|call| call.accept.contains("PartialObjectMetadata")).unwrap();
    assert!(call.uri.starts_with(&Blog::url_path(&(), None)), "{}", call.uri);
}
