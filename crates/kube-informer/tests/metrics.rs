//! The metrics that a registry encodes.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and the helpers have none")]

mod support;

use std::{sync::Mutex, time::Duration};

use kube_informer::Informers;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::json;
use support::{Blog, Reply, Server, Then, blog, bookmark, event, eventually};
use tokio::sync::mpsc;

const LABELS: &str = r#"group="web.helloworld",version="v1",resource="blogs""#;

struct Page(String);

impl Page {
    fn read(registry: &Registry) -> Self {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        Self(page)
    }

    /// The value of a series of blogs, given its label besides those of the resource.
    fn value(&self, name: &str, label: &str) -> Option<f64> {
        let more = if label.is_empty() { String::new() } else { format!(",{label}") };
        let start = format!("{name}{{{LABELS}{more}}} ");
        self.0.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.parse().unwrap())
    }

    #[track_caller]
    fn has(&self, name: &str, label: &str, value: f64) {
        assert_eq!(self.value(name, label), Some(value), "{name} {label} in\n{}", self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_encodes_counters_and_state() {
    let (send, more) = mpsc::unbounded_channel();
    let more = Mutex::new(Some(more));
    let server = Server::new(move |call| match call.index {
        0 => Reply::status(403, "Forbidden", "no"),
        1 => Reply::watch_list(5, &[blog("secret-name", 4), blog("b", 5)], Then::Break),
        2 => Reply::status(410, "Expired", "too old resource version"),
        _ => {
            let more = more.lock().unwrap().take().unwrap();
            Reply::watch_list(9, &[blog("secret-name", 4), blog("c", 9)], Then::More(more))
        }
    });
    let informers = Informers::new(server.client());
    let mut registry = Registry::default();
    informers.register_metrics(&mut registry);
    let blogs = informers.typed::<Blog>().start();
    let mut status = blogs.watch_status();
    status.wait_for(|status| status.resource_version == "9".parse().ok()).await.unwrap();
    let asleep = blogs.subscribe();
    let mut bad = blog("bad", 10);
    bad["spec"]["url"] = json!(5);
    let lines = [
        event("ADDED", &bad),
        event("MODIFIED", &blog("c", 11)),
        event("DELETED", &blog("c", 12)),
        event("ADDED", &blog("d", 13)),
        bookmark(20, false),
    ];
    send.send(lines.concat()).unwrap();
    status.wait_for(|status| status.resource_version == "20".parse().ok()).await.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;

    let page = Page::read(&registry);
    page.has("reflector_lists_total", r#"reason="initial""#, 2.0);
    page.has("reflector_lists_total", r#"reason="expired""#, 1.0);
    page.has("reflector_lists_total", r#"reason="lagging""#, 0.0);
    page.has("reflector_watches_total", "", 4.0);
    page.has("reflector_failures_total", r#"error="api""#, 2.0);
    page.has("reflector_failures_total", r#"error="interrupted""#, 1.0);
    page.has("informer_watch_events_total", r#"type="applied""#, 7.0);
    page.has("informer_watch_events_total", r#"type="deleted""#, 1.0);
    page.has("informer_watch_events_total", r#"type="bookmark""#, 3.0);
    page.has("informer_running", "", 1.0);
    page.has("informer_ready", "", 1.0);
    page.has("informer_objects", "", 2.0);
    page.has("informer_quarantined_objects", "", 1.0);
    page.has("informer_last_contact_age_seconds", "", 30.0);
    page.has("informer_store_resource_version", "", 20.0);
    page.has("informer_subscribers", "", 1.0);
    // The deletion of c, and d.
    page.has("informer_queued_items", "", 2.0);
    assert!(page.value("informer_received_bytes_total", "").unwrap() > 1000.0, "{}", page.0);
    assert!(page.value("informer_decode_seconds_total", "").unwrap() > 0.0, "{}", page.0);
    assert!(!page.0.contains("secret-name") && !page.0.contains("default"), "{}", page.0);
    assert_eq!(asleep.pending(), 2, "reading takes nothing away");
}

#[tokio::test(start_paused = true)]
async fn informers_of_one_resource_are_one_series_and_its_counters_outlive_them() {
    let server = Server::new(|_| Reply::watch_list(5, &[blog("a", 5)], Then::Stay));
    let informers = Informers::new(server.client());
    let mut registry = Registry::default();
    let one = informers.typed::<Blog>().start();
    // Informers that are running already are included.
    informers.register_metrics(&mut registry);
    let other = informers.typed::<Blog>().namespace("default").start();
    one.synced().await.unwrap();
    other.synced().await.unwrap();
    let page = Page::read(&registry);
    page.has("informer_running", "", 2.0);
    page.has("informer_objects", "", 2.0);
    page.has("reflector_lists_total", r#"reason="initial""#, 2.0);

    drop(other);
    eventually(|| Page::read(&registry).value("informer_running", "") == Some(1.0)).await;
    let page = Page::read(&registry);
    page.has("informer_objects", "", 1.0);
    page.has("reflector_lists_total", r#"reason="initial""#, 2.0);
    drop(one);
    eventually(|| Page::read(&registry).value("informer_running", "") == Some(0.0)).await;
    let page = Page::read(&registry);
    page.has("informer_ready", "", 0.0);
    page.has("reflector_lists_total", r#"reason="initial""#, 2.0);
    assert_eq!(page.value("informer_last_contact_age_seconds", ""), None);
}

#[tokio::test(start_paused = true)]
async fn a_compact_cache_reports_the_size_of_its_objects_and_a_typed_one_does_not() {
    let server = Server::new(|_| Reply::watch_list(5, &[blog("a", 5), blog("b", 5)], Then::Stay));
    let informers = Informers::new(server.client());
    let mut registry = Registry::default();
    informers.register_metrics(&mut registry);
    let typed = informers.typed::<Blog>().start();
    typed.synced().await.unwrap();
    assert_eq!(Page::read(&registry).value("informer_object_bytes", ""), None);

    let compact = informers.typed::<Blog>().compact().start();
    compact.synced().await.unwrap();
    let json: usize = compact.snapshot().unwrap().iter().map(|object| object.to_json().len()).sum();
    let bytes = Page::read(&registry).value("informer_object_bytes", "").unwrap();
    // The type is stored once for all objects, and each object has an overhead of three words.
    assert!(bytes > 100.0 && bytes < json as f64, "{bytes} of {json}");
}
