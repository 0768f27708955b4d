//! Tests of the logs. In a file of its own, because a subscriber that receives everything is global to the process.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and the helpers have none")]

mod support;

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use kube_informer::{Informers, Phase};
use serde_json::{Value, json};
use support::{Blog, Reply, Server, Then, blog, event};

#[tokio::test(start_paused = true)]
async fn no_content_of_an_object_is_logged() {
    let logged = Logged::everything();
    let secret = |version: u64, url: Value| {
        let mut blog = blog("a", version);
        blog["spec"]["url"] = url;
        blog
    };
    let lines = vec![
        event("MODIFIED", &secret(6, json!({"password": "hunter2"}))),
        event("MODIFIED", &secret(7, json!("hunter2"))),
        event("MODIFIED", &json!({"metadata": {"resourceVersion": "hunter2"}})),
    ];
    let server = Server::new(move |call| match call.index {
        0 => Reply::status(422, "Invalid", "no"),
        1 => Reply::list(5, &[secret(4, json!("hunter2")), secret(5, json!(["hunter2"]))]),
        _ => Reply::watch(lines.clone(), Then::Break),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().start();
    let mut status = blogs.watch_status();
    status.wait_for(|status| status.error().is_some()).await.unwrap();
    let text = logged.text();
    assert!(text.contains("quarantined") && text.contains("retrying"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_which_nothing_decodes_is_one_warning() {
    let logged = Logged::everything();
    let bad = |name: &str| json!({"metadata": {"name": name, "namespace": "bad-type", "resourceVersion": "4"}, "spec": 5});
    let server = Server::new(move |_| Reply::watch_list(5, &[bad("a"), bad("b")], Then::Stay));
    let blogs = Informers::new(server.client()).typed::<Blog>().namespace("bad-type").start();
    assert_eq!(blogs.synced().await.unwrap().quarantined, 2);
    let text = logged.text();
    let lines: Vec<_> =
        text.lines().filter(|line| line.contains("bad-type") && line.contains("WARN")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(
        lines[0].contains("object failed to decode, quarantined") && lines[0].contains("count=2"),
        "{text}"
    );
}

/// What `RUST_LOG=kube_informer=debug` shows of a fault and its consequences.
#[tokio::test(start_paused = true)]
async fn a_fault_can_be_followed_in_the_log() {
    let logged = Logged::everything();
    let server = Server::new(move |call| match call.index {
        0 => Reply::status(422, "Invalid", "no sendInitialEvents"),
        1 => Reply::list(5, &[blog("a", 4), blog("b", 5)]),
        2 => Reply::watch(vec![event("MODIFIED", &blog("a", 6))], Then::Break),
        3 => Reply::status(410, "Expired", "too old resource version"),
        4 => Reply::list(9, &[blog("a", 9)]),
        _ => Reply::watch(vec![], Then::Stay),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().namespace("default").start();
    let mut status = blogs.watch_status();
    status.wait_for(|status| status.stale).await.unwrap();
    drop(blogs);
    let text = logged.text();
    let of_this = |line: &&str| line.contains("/namespaces/default/blogs") && line.contains("kube_informer");
    let mut lines = text.lines().filter(of_this);
    for wanted in [
        &["DEBUG", "sending request", "request=\"watch-list\"", "reason=Initial"][..],
        &["DEBUG", "falling back from watch-list to list", "no sendInitialEvents"],
        &["DEBUG", "sending request", "request=\"list\"", "reason=Initial"],
        &["DEBUG", "initial list complete", "count=2", "resource_version=5"],
        &["DEBUG", "sending request", "request=\"watch\"", "resource_version=5"],
        &["DEBUG", "updated", "namespace=\"default\"", "name=\"a\""],
        &["INFO", "watch interrupted, resuming", "ended early: ", "reset by a test", "wait="],
        &["DEBUG", "sending request", "request=\"watch\"", "resource_version=6"],
        &["WARN", "watch failed, retrying", "too old resource version", "wait="],
        &["DEBUG", "sending request", "request=\"list\"", "reason=Expired"],
        &["INFO", "watching again", "after="],
        &["DEBUG", "relist complete", "resource_version=9", "reason=Expired"],
        &["DEBUG", "deleted", "name=\"b\"", "reason=MissedWhileAway"],
        &["DEBUG", "sending request", "request=\"watch\"", "resource_version=9"],
        &["WARN", "cache is stale", "age=180"],
    ] {
        let found = lines.any(|line| wanted.iter().all(|part| line.contains(part)));
        assert!(found, "no {wanted:?}, in this order, in\n{text}");
    }
}

/// The cache of a type that has gone is empty, not fresh.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_type_is_not_logged_as_a_recovery() {
    let logged = Logged::everything();
    let server = Server::new(move |call| match call {
        call if call.index == 0 => Reply::watch_list(5, &[], Then::Break),
        _ => Reply::json(404, &serde_json::json!("404 page not found")),
    });
    let blogs = Informers::new(server.client()).typed::<Blog>().namespace("gone").start();
    let gone = |status: &kube_informer::Status| matches!(status.phase, Phase::TypeGone { .. });
    blogs.watch_status().wait_for(gone).await.unwrap();
    let text = logged.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("/namespaces/gone/blogs")).collect();
    assert!(lines.iter().any(|line| line.contains("cache is stale")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("type is no longer served")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("no longer stale")), "{lines:?}");
}

#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// Everything that this process logs at any level, from the first call on.
    ///
    fn everything() -> Self {
        static LOGGED: LazyLock<Logged> = LazyLock::new(|| {
            let logged = Logged::default();
            let writer = logged.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            logged
        });
        LOGGED.clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
    }
}

impl io::Write for Logged {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
