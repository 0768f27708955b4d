//! The rules that only a whole controller shows, each with its number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt as _};
use kube_controller::{Action, Context, Controller, Operator, RunError, Trigger, terminal};
use kube_embedded::faults::{Fault, Verb};
use kube_informer::ObjectKey;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::outside::{free, get};
use crate::support::{Page, Running, eventually, page, server, within};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The ConfigMap of a page.
fn map(page: &Page) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(page.name_any()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("index.html".to_owned(), page.spec.text.clone())])),
        ..ConfigMap::default()
    }
}

async fn apply(page: Arc<Page>, cx: Context<Page, ()>) -> Result<Action, Error> {
    cx.apply(&map(&page)).await?;
    cx.conditions().set("Ready", true, "Applied", "the page is there");
    cx.status().observe_generation();
    Ok(Action::await_change())
}

fn pages(operator: &Operator) -> Vec<Controller> {
    let of = operator.informers();
    let controller = Controller::new("page", of.typed::<Page>().start())
        .owns(of.typed::<ConfigMap>().keep_managed_fields().start())
        .reconciler(apply, ());
    vec![controller]
}

#[tokio::test]
async fn a_page_gets_its_map_and_what_is_changed_or_deleted_comes_back() {
    let server = server().await;
    let (all, maps): (Api<Page>, Api<ConfigMap>) =
        (Api::default_namespaced(server.client()), Api::default_namespaced(server.client()));
    let running = Running::start(Operator::new(server.client(), "pages"), pages);
    all.create(&PostParams::default(), &page("a", "hello")).await.unwrap();
    let text = |wanted: &'static str| {
        let maps = maps.clone();
        async move {
            let map = maps.get_opt("a").await.unwrap()?;
            (map.data.as_ref()?.get("index.html")? == wanted).then_some(map)
        }
    };
    let map = eventually("the map is there", || text("hello")).await;
    assert_eq!(map.owner_references()[0].kind, "Page");
    let ready = eventually("the page is ready", || async {
        let status = all.get("a").await.unwrap().status?;
        status.conditions.iter().any(|condition| condition.type_ == "Ready").then_some(status)
    });
    assert_eq!(ready.await.observed_generation, Some(1));

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    eventually("a deleted map comes back", || text("hello")).await;
    let change = json!({"data": {"index.html": "other"}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    eventually("a changed map is changed back", || text("hello")).await;
    let change = json!({"spec": {"text": "bye"}});
    all.patch("a", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    eventually("a changed page is followed", || text("bye")).await;
    running.stop().await.unwrap();
}

/// Returns the pages of a server.
fn pages_api(server: &kube_embedded::Server) -> Api<Page> {
    Api::default_namespaced(server.client())
}

async fn retext(pages: &Api<Page>, name: &str, text: &str) {
    let change = json!({"spec": {"text": text}});
    pages.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
}

/// What the reconcilers of these tests report, and what they wait for.
struct Probe {
    runs: mpsc::UnboundedSender<(String, String)>,
    go: Semaphore,
}

fn probe(permits: usize) -> (Arc<Probe>, mpsc::UnboundedReceiver<(String, String)>) {
    let (runs, seen) = mpsc::unbounded_channel();
    (Arc::new(Probe { runs, go: Semaphore::new(permits) }), seen)
}

/// Reports the run, then waits for a permit.
async fn report(page: Arc<Page>, cx: Context<Page, Arc<Probe>>) -> Result<Action, Error> {
    cx.state().runs.send((page.name_any(), page.spec.text.clone()))?;
    cx.state().go.acquire().await?.forget();
    Ok(Action::await_change())
}

/// What happened, in the order in which it did.
type Log = mpsc::UnboundedSender<String>;

/// A client that reports its writes when they are done: the method, and the path from the resource on. That of an Event takes
/// long, so that it is not done in time only by chance.
fn logged(client: Client, log: Log) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, log, method) = (client.clone(), log.clone(), request.method().clone());
        let path = request.uri().path().split('/').skip_while(|part| *part != "default").skip(1);
        let words: Vec<&str> = std::iter::once(method.as_str()).chain(path).collect();
        let write = words.join(" ");
        async move {
            if write == "POST events" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let answer = client.send(request).await;
            if method != http::Method::GET {
                log.send(write).unwrap();
            }
            answer
        }
    });
    Client::new(service, "default")
}

async fn next<T>(what: &str, seen: &mut mpsc::UnboundedReceiver<T>) -> T {
    within(what, seen.recv()).await.unwrap()
}

// Rule 5
#[tokio::test]
async fn a_key_never_runs_twice_at_once_and_what_comes_meanwhile_makes_one_more_run() {
    let server = server().await;
    let pages = pages_api(&server);
    let (probe, mut seen) = probe(0);
    let state = Arc::clone(&probe);
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", informer).concurrency(4).reconciler(report, state)]
    });
    pages.create(&PostParams::default(), &page("a", "1")).await.unwrap();
    assert_eq!(next("the first run", &mut seen).await.1, "1");
    for text in ["2", "3", "4"] {
        retext(&pages, "a", text).await;
    }
    // Another key is not held up.
    pages.create(&PostParams::default(), &page("b", "other")).await.unwrap();
    assert_eq!(next("the run of another key", &mut seen).await.0, "b");
    assert!(seen.try_recv().is_err(), "it runs already");
    probe.go.add_permits(1000);
    assert_eq!(next("one more run", &mut seen).await, ("a".to_owned(), "4".to_owned()));
    pages.create(&PostParams::default(), &page("c", "last")).await.unwrap();
    assert_eq!(next("the run after", &mut seen).await.0, "c", "there was exactly one more");
    running.stop().await.unwrap();
}

// Rules 12 and 13
#[tokio::test]
async fn a_panic_and_a_timeout_hurt_one_run_and_others_go_on() {
    struct Attempts {
        tried: Mutex<BTreeSet<String>>,
        runs: mpsc::UnboundedSender<(String, bool)>,
    }

    /// Reports whether it is a retry, unless it is the first attempt of a page that is to fail then.
    async fn reconcile(page: Arc<Page>, cx: Context<Page, Attempts>) -> Result<Action, Error> {
        let is_first = cx.state().tried.lock().unwrap().insert(page.name_any());
        match page.spec.text.as_str() {
            "panic" if is_first => panic!("as the test wants it"),
            "hang" if is_first => std::future::pending().await,
            _ => {}
        }
        let is_retry = cx.reasons().iter().any(|reason| reason.trigger == Trigger::Retry);
        cx.state().runs.send((page.name_any(), is_retry))?;
        Ok(Action::await_change())
    }
    let server = server().await;
    let pages = pages_api(&server);
    let (runs, mut seen) = mpsc::unbounded_channel();
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        let controller = Controller::new("page", informer)
            .timeout(Duration::from_millis(500))
            .backoff(Duration::from_millis(1), Duration::from_millis(1));
        vec![controller.reconciler(reconcile, Attempts { tried: Mutex::default(), runs })]
    });
    for (name, text) in [("a", "panic"), ("b", "hang"), ("c", "fine")] {
        pages.create(&PostParams::default(), &page(name, text)).await.unwrap();
    }
    // Nobody changes those that failed.
    let mut all = Vec::new();
    while all.len() < 3 {
        all.push(next("a run", &mut seen).await);
    }
    all.sort();
    assert_eq!(all, [("a", true), ("b", true), ("c", false)].map(|(name, retry)| (name.to_owned(), retry)));
    running.stop().await.unwrap();
}

// Rule 12
#[tokio::test]
async fn a_panic_outside_of_a_run_ends_the_operator_with_an_error() {
    let server = server().await;
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        let controller = Controller::new("page", informer).priority(|_| panic!("as the test wants it"));
        vec![controller.reconciler(apply, ())]
    });
    pages_api(&server).create(&PostParams::default(), &page("a", "1")).await.unwrap();
    let ended = running.ended().await;
    assert!(matches!(ended, Err(RunError::Panicked)), "{ended:?}");
}

/// Counts in an annotation, by what a run was given.
fn count(page: &Page) -> u64 {
    page.annotations().get("count").map_or(0, |count| count.parse().unwrap())
}

async fn count_on<S>(page: &Page, cx: &Context<Page, S>) -> Result<(), Error> {
    let pages: Api<Page> = Api::default_namespaced(cx.client());
    let change = json!({"metadata": {"annotations": {"count": (count(page) + 1).to_string()}}});
    pages.patch(&page.name_any(), &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

// Rule 15
#[tokio::test]
async fn what_a_run_writes_to_its_object_makes_it_run_again() {
    async fn reconcile(
        page: Arc<Page>,
        cx: Context<Page, mpsc::UnboundedSender<(u64, bool)>>,
    ) -> Result<Action, Error> {
        let objects = cx.reasons().iter().filter_map(|reason| reason.object.as_ref());
        let is_own = objects.into_iter().any(|object| object.own_write);
        cx.state().send((count(&page), is_own))?;
        if count(&page) < 3 {
            count_on(&page, &cx).await?;
        }
        // Nothing else than its own write makes it run.
        Ok(Action::await_change())
    }
    let server = server().await;
    let (runs, mut seen) = mpsc::unbounded_channel();
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", informer).reconciler(reconcile, runs)]
    });
    pages_api(&server).create(&PostParams::default(), &page("a", "x")).await.unwrap();
    for expected in 0..=3 {
        assert_eq!(next("a run", &mut seen).await, (expected, expected > 0));
    }
    running.stop().await.unwrap();
}

// Rule 14
#[tokio::test]
async fn a_run_never_reads_what_is_older_than_its_own_last_write() {
    async fn reconcile(
        page: Arc<Page>,
        cx: Context<Page, mpsc::UnboundedSender<u64>>,
    ) -> Result<Action, Error> {
        let cached = cx.snapshot::<Page>().get("default", &page.name_any()).map(|page| count(page));
        cx.state().send(cached.unwrap_or_default())?;
        if count(&page) < 50 {
            count_on(&page, &cx).await?;
        }
        Ok(Action::requeue(Duration::from_millis(1)))
    }
    let server = server().await;
    let pages = pages_api(&server);
    // Events reach the cache late.
    let slow = server.faults().on(Verb::Watch, "pages.example.com");
    let slow = slow.inject(Fault::EndAfter(3));
    let (runs, mut seen) = mpsc::unbounded_channel();
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", informer).reconciler(reconcile, runs)]
    });
    pages.create(&PostParams::default(), &page("a", "x")).await.unwrap();
    for expected in 0..8 {
        assert_eq!(next("a run", &mut seen).await, expected, "each run sees the write of the one before");
    }
    assert!(slow.hits() > 0);
    running.crash().await;
}

// Rule 16
#[tokio::test]
async fn a_status_is_no_change_and_labels_annotations_and_the_spec_are() {
    let server = server().await;
    let pages = pages_api(&server);
    let (probe, mut seen) = probe(1000);
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", informer).reconciler(report, probe)]
    });
    pages.create(&PostParams::default(), &page("a", "1")).await.unwrap();
    next("the first run", &mut seen).await;
    let status = json!({"status": {"observedGeneration": 7}});
    pages.patch_status("a", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    for change in [
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"spec": {"text": "2"}}),
    ] {
        pages.patch("a", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        next("a run for each change", &mut seen).await;
    }
    // Kube-runtime #1830 and #1768: another object of the same name is one that was never seen.
    pages.delete("a", &DeleteParams::default()).await.unwrap();
    pages.create(&PostParams::default(), &page("a", "2")).await.unwrap();
    next("a run of the new object", &mut seen).await;
    pages.create(&PostParams::default(), &page("b", "2")).await.unwrap();
    assert_eq!(next("the run of another", &mut seen).await.0, "b", "the status made no run");
    running.stop().await.unwrap();
}

// Rule 17
#[tokio::test]
async fn watches_maps_the_old_and_the_new_state() {
    let server = server().await;
    let pages = pages_api(&server);
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let (probe, mut seen) = probe(1000);
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let of = operator.informers();
        let names = |map: &ConfigMap| {
            let name = map.data.as_ref().and_then(|data| data.get("page"));
            name.map(|name| ObjectKey::new("default", name))
        };
        let controller = Controller::new("page", of.typed::<Page>().start());
        vec![controller.watches(of.typed::<ConfigMap>().start(), names).reconciler(report, probe)]
    });
    for name in ["a", "b"] {
        pages.create(&PostParams::default(), &page(name, "1")).await.unwrap();
        assert_eq!(next("the first run", &mut seen).await.0, name);
    }
    let theme = ConfigMap {
        metadata: ObjectMeta { name: Some("theme".to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("page".to_owned(), "a".to_owned())])),
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &theme).await.unwrap();
    assert_eq!(next("a run", &mut seen).await.0, "a");
    let change = json!({"data": {"page": "b"}});
    maps.patch("theme", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    let mut both = [next("a run", &mut seen).await.0, next("a run", &mut seen).await.0];
    both.sort();
    assert_eq!(both, ["a", "b"]);
    running.stop().await.unwrap();
}

// Rules 19 and 20
#[tokio::test]
async fn the_finalizer_is_on_before_the_first_run_and_goes_after_the_cleanup_and_the_status() {
    async fn reconcile(
        page: Arc<Page>,
        cx: Context<Page, mpsc::UnboundedSender<String>>,
    ) -> Result<Action, Error> {
        cx.state().send(format!("run {:?}", page.finalizers()))?;
        Ok(Action::await_change())
    }
    async fn cleanup(
        page: Arc<Page>,
        cx: Context<Page, mpsc::UnboundedSender<String>>,
    ) -> Result<Action, Error> {
        cx.conditions().set("Ready", false, "Deleting", "");
        cx.state().send("cleanup".to_owned())?;
        if page.annotations().contains_key("wait") {
            Err("not yet".into())
        } else {
            Ok(Action::await_change())
        }
    }
    let server = server().await;
    let pages = pages_api(&server);
    let (runs, mut seen) = mpsc::unbounded_channel();
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        let controller = Controller::new("page", informer).finalizer("example.com/page", cleanup);
        vec![controller.reconciler(reconcile, runs)]
    });
    let mut first = page("a", "1");
    first.metadata.annotations = Some(BTreeMap::from([("wait".to_owned(), String::new())]));
    pages.create(&PostParams::default(), &first).await.unwrap();
    assert_eq!(next("the first run", &mut seen).await, r#"run ["example.com/page"]"#);
    pages.delete("a", &DeleteParams::default()).await.unwrap();
    while next("a cleanup", &mut seen).await != "cleanup" {}
    let waiting = eventually("the status is written, although the cleanup fails", || async {
        let page = pages.get_opt("a").await.unwrap()?;
        page.status
            .as_ref()?
            .conditions
            .iter()
            .any(|condition| condition.reason == "Deleting")
            .then_some(page)
    });
    assert_eq!(waiting.await.finalizers(), ["example.com/page"]);
    let change = json!({"metadata": {"annotations": {"wait": null}}});
    pages.patch("a", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    eventually("it goes", || async { pages.get_opt("a").await.unwrap().is_none().then_some(()) }).await;
    running.stop().await.unwrap();
}

// Rule 11
#[tokio::test]
async fn a_terminal_error_is_not_retried_before_a_change() {
    async fn reconcile(
        page: Arc<Page>,
        cx: Context<Page, mpsc::UnboundedSender<String>>,
    ) -> anyhow::Result<Action> {
        cx.state().send(page.spec.text.clone())?;
        Err(terminal("it makes no sense").into())
    }
    let server = server().await;
    let pages = pages_api(&server);
    let (runs, mut seen) = mpsc::unbounded_channel();
    let running = Running::start(Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        let controller =
            Controller::new("page", informer).backoff(Duration::from_millis(1), Duration::from_millis(1));
        vec![controller.reconciler(reconcile, runs)]
    });
    pages.create(&PostParams::default(), &page("a", "1")).await.unwrap();
    assert_eq!(next("the first run", &mut seen).await, "1");
    retext(&pages, "a", "2").await;
    assert_eq!(next("the run after a change", &mut seen).await, "2", "there was no retry in between");
    running.stop().await.unwrap();
}

// Rule 21
#[tokio::test]
async fn a_controller_starts_when_all_its_caches_are_complete_and_the_one_that_is_not_is_named() {
    /// Reports that it begins, and with two caches, whether the second has the map that was there before.
    async fn reconcile(_: Arc<Page>, cx: Context<Page, (&'static str, Log)>) -> Result<Action, Error> {
        let (controller, log) = cx.state();
        log.send(format!("{controller} begins"))?;
        if *controller == "both" {
            let map = cx.snapshot::<ConfigMap>().get("default", "theme").map(|map| map.name_any());
            log.send(format!("both finds {map:?}"))?;
        }
        Ok(Action::await_change())
    }
    let server = server().await;
    let theme = page("theme", "dark");
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    maps.create(&PostParams::default(), &map(&theme)).await.unwrap();
    pages_api(&server).create(&PostParams::default(), &page("a", "1")).await.unwrap();
    let faults = [Verb::List, Verb::Watch].map(|verb| {
        server.faults().on(verb, "configmaps").inject(Fault::InternalError { retry_after: None })
    });
    let (address, (log, mut seen)) = (free().await, mpsc::unbounded_channel());
    let running = Running::start(Operator::new(server.client(), "pages").serve(address), |operator| {
        let of = operator.informers();
        let both = Controller::new("both", of.typed::<Page>().start())
            .reads(of.typed::<ConfigMap>().start())
            .reconciler(reconcile, ("both", log.clone()));
        vec![both, Controller::new("one", of.typed::<Page>().start()).reconciler(reconcile, ("one", log))]
    });
    assert_eq!(next("the run of the other", &mut seen).await, "one begins");
    let not_ready = eventually("it says why it is not ready", || async {
        get(address, "/readyz").await.filter(|answer| answer.contains("both: ConfigMap: "))
    });
    assert!(not_ready.await.starts_with("HTTP/1.1 503 "));
    assert!(seen.try_recv().is_err(), "it waits for its second cache");
    faults.into_iter().for_each(kube_embedded::faults::Injection::remove);
    assert_eq!(next("its run", &mut seen).await, "both begins");
    assert_eq!(next("its run", &mut seen).await, r#"both finds Some("theme")"#);
    running.stop().await.unwrap();
}

// Rule 22
#[tokio::test(start_paused = true)]
async fn at_the_end_runs_have_time_and_nothing_begins() {
    struct State {
        log: Log,
        go: Semaphore,
    }

    /// Is still at work when the end begins.
    async fn reconcile(page: Arc<Page>, cx: Context<Page, Arc<State>>) -> Result<Action, Error> {
        let State { log, go } = &**cx.state();
        log.send(format!("{} begins", page.name_any()))?;
        cx.shutting_down().await;
        log.send("it is to end".to_owned())?;
        go.acquire().await?.forget();
        log.send(format!("{} ends", page.name_any()))?;
        Ok(Action::await_change())
    }
    let server = server().await;
    let pages = pages_api(&server);
    let (log, mut seen) = mpsc::unbounded_channel();
    let state = Arc::new(State { log, go: Semaphore::new(0) });
    let (given, grace) = (Arc::clone(&state), Duration::from_secs(30));
    let running = Running::start_with_grace(grace, Operator::new(server.client(), "pages"), |operator| {
        let informer = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", informer).reconciler(reconcile, given)]
    });
    pages.create(&PostParams::default(), &page("a", "1")).await.unwrap();
    assert_eq!(next("the run", &mut seen).await, "a begins");
    pages.create(&PostParams::default(), &page("b", "1")).await.unwrap();
    // Time is virtual, and passes when nothing else is left to be done: the other page waits for its turn then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.begin_to_stop();
    assert_eq!(next("the run is told", &mut seen).await, "it is to end");
    tokio::time::sleep(grace - Duration::from_secs(1)).await;
    state.go.add_permits(1000);
    running.stop().await.unwrap();
    assert_eq!(seen.try_recv().ok().as_deref(), Some("a ends"), "it had time");
    assert!(seen.try_recv().is_err(), "nothing begins after that");
}

// Rule 22
#[tokio::test]
async fn a_run_that_does_not_end_in_time_is_cancelled_and_its_events_sent_before_the_lease_is_released() {
    /// Reports that the run was dropped, and writes an Event then.
    struct Dropped(Arc<Page>, Context<Page, Log>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.1.event(kube_controller::EventType::Normal, "Cancelled", "");
            self.1.state().send(format!("{} ends", self.0.name_any())).unwrap();
        }
    }

    async fn reconcile(page: Arc<Page>, cx: Context<Page, Log>) -> Result<Action, Error> {
        cx.state().send(format!("{} runs", page.name_any()))?;
        let _dropped = Dropped(page, cx);
        std::future::pending().await
    }

    let server = server().await;
    let (log, mut seen) = mpsc::unbounded_channel();
    let operator = Operator::new(logged(server.client(), log.clone()), "pages").leader_election("pages");
    let running = Running::start_with_grace(Duration::from_millis(10), operator, |operator| {
        let informer = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", informer).reconciler(reconcile, log)]
    });
    pages_api(&server).create(&PostParams::default(), &page("a", "1")).await.unwrap();
    while next("the run", &mut seen).await != "a runs" {}
    running.stop().await.unwrap();
    let mut log = Vec::new();
    while let Ok(line) = seen.try_recv() {
        // A slow machine may have renewed the lease meanwhile.
        if line != "PUT leases pages" || log.last() == Some(&"POST events".to_owned()) {
            log.push(line);
        }
    }
    assert_eq!(log, ["a ends", "POST events", "PUT leases pages"]);
    let leases: Api<Lease> = Api::default_namespaced(server.client());
    let lease = leases.get("pages").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""), "it was released");
}

#[tokio::test]
async fn nothing_is_sent_if_nothing_differs() {
    let server = server().await;
    let pages = pages_api(&server);
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let running = Running::start(Operator::new(server.client(), "pages"), self::pages);
    pages.create(&PostParams::default(), &page("a", "hello")).await.unwrap();
    let first = eventually("the page is ready", || async {
        let page = pages.get("a").await.unwrap();
        (!page.status.as_ref()?.conditions.is_empty()).then_some(page)
    });
    let (page, map) = (first.await, maps.get("a").await.unwrap());
    // It runs again, and finds nothing to do.
    let patches = server.faults().on(Verb::Patch, "*");
    let patches = patches.inject(Fault::InternalError { retry_after: None });
    let address = free().await;
    let again = Running::start(Operator::new(server.client(), "pages").serve(address), self::pages);
    let done = r#"controller_runtime_reconcile_total{controller="page",result="success"} 1"#;
    eventually("a second operator has run", || async {
        get(address, "/metrics").await.filter(|metrics| metrics.contains(done))
    })
    .await;
    assert_eq!(patches.hits(), 0);
    assert_eq!(pages.get("a").await.unwrap().resource_version(), page.resource_version());
    assert_eq!(maps.get("a").await.unwrap().resource_version(), map.resource_version());
    again.stop().await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let server = server().await;
    let pages = pages_api(&server);
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    pages.create(&PostParams::default(), &page("a", "hello")).await.unwrap();
    let (runs, mut seen) = mpsc::unbounded_channel();
    let reconcile = move |page: Arc<Page>, cx: Context<Page, ()>| {
        let runs = runs.clone();
        async move {
            let applied = cx.apply(&map(&page)).await;
            cx.event(kube_controller::EventType::Normal, "Applied", "");
            cx.conditions().set("Ready", true, "Applied", "");
            runs.send(applied.map(|map| map.name_any()).map_err(|error| error.to_string()))?;
            Ok::<_, Error>(Action::await_change())
        }
    };
    let running = Running::start(Operator::new(server.client(), "pages").dry_run(), |operator| {
        let of = operator.informers();
        let controller = Controller::new("page", of.typed::<Page>().start());
        vec![controller.owns(of.typed::<ConfigMap>().keep_managed_fields().start()).reconciler(reconcile, ())]
    });
    assert_eq!(next("the run", &mut seen).await.unwrap(), "a");
    running.stop().await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
    let page = pages.get("a").await.unwrap();
    assert!(page.status.is_none(), "{:?}", page.status);
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::default_namespaced(server.client());
    assert!(events.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty());
}
