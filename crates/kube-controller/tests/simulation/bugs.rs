//! Reconcilers with one classic bug each, and their correct twins. The twin differs only in what the bug is about.

use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use kube_controller::simulation::{Failure, Report, Simulation, Violation};
use kube_controller::{Action, Context, Controller};
use serde_json::json;

use crate::support::{Error, Page, change, create, delete, map, map_is, pause, simulation};

type Cx = Context<Page, ()>;

fn maps(cx: &Cx) -> Api<ConfigMap> {
    Api::default_namespaced(cx.client())
}

fn pages(cx: &Cx) -> Api<Page> {
    Api::default_namespaced(cx.client())
}

/// Deletes a map, unless it is gone.
async fn delete_map(cx: &Cx, name: &str, params: &DeleteParams) -> Result<(), Error> {
    match maps(cx).delete(name, params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        deleted => drop(deleted?),
    }
    Ok(())
}

/// A simulation of one reconciler.
fn of<F>(reconcile: fn(Arc<Page>, Cx) -> F) -> Simulation
where
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let simulation = simulation(move |operator| {
        let of = operator.informers();
        let controller = Controller::new("page", of.typed::<Page>().start());
        vec![controller.owns(of.typed::<ConfigMap>().keep_managed_fields().start()).reconciler(reconcile, ())]
    });
    simulation.random(4)
}

/// A simulation of one reconciler and its cleanup.
fn with_cleanup<F, G>(reconcile: fn(Arc<Page>, Cx) -> F, cleanup: fn(Arc<Page>, Cx) -> G) -> Simulation
where
    F: Future<Output = Result<Action, Error>> + Send + 'static,
    G: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let simulation = simulation(move |operator| {
        let of = operator.informers();
        let controller =
            Controller::new("page", of.typed::<Page>().start()).reads(of.typed::<ConfigMap>().start());
        vec![controller.finalizer("example.com/page", cleanup).reconciler(reconcile, ())]
    });
    simulation.random(4)
}

/// Expects that the bug was found, by at most two faults after it was shortened.
fn failure(report: &Report) -> &Failure {
    let failure = report.failure.as_ref();
    let failure = failure.unwrap_or_else(|| panic!("the bug was not found: {report}"));
    assert!(failure.schedule.faults().len() <= 2, "{report}");
    failure
}

/// Expects that the final state differs from that without faults, in one thing, and that nothing else failed.
fn found_in_state(report: &Report, difference: &str) {
    let failure = failure(report);
    assert_eq!(failure.violations, [], "{report}");
    assert!(matches!(&failure.differences[..], [one] if one.contains(difference)), "{report}");
}

/// Expects that an invariant did not hold.
fn found_by_invariant(report: &Report, expected: &str) {
    let violations = &failure(report).violations;
    let is_broken =
        |violation: &Violation| matches!(violation, Violation::Invariant { name, .. } if name == expected);
    assert!(!violations.is_empty() && violations.iter().all(is_broken), "{report}");
}

async fn one_page(user: Client) {
    create(&user, "a", "1").await;
}

async fn page_that_changes(user: Client) {
    create(&user, "a", "1").await;
    pause().await;
    change(&user, "a", "2").await;
}

async fn page_that_goes(user: Client) {
    create(&user, "a", "1").await;
    pause().await;
    delete(&user, "a").await;
}

#[test]
fn a_generated_name_per_run_is_found() {
    /// Marks the page after it has created a map.
    async fn reconcile(page: Arc<Page>, cx: Cx, name: Option<String>) -> Result<Action, Error> {
        if page.annotations().is_empty() {
            let mut map = map("", &page.spec.text);
            map.metadata.generate_name = name.is_none().then(|| "page-".to_owned());
            map.metadata.name = name;
            match maps(&cx).create(&PostParams::default(), &map).await {
                Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {}
                created => drop(created?),
            }
            let patch = Patch::Merge(json!({"metadata": {"annotations": {"created": "true"}}}));
            pages(&cx).patch(&page.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(Action::await_change())
    }
    found_in_state(
        &of(|page, cx| reconcile(page, cx, None)).scenario(one_page).run(),
        "+ ConfigMap default/page-* (2)",
    );
    of(|page, cx| {
        let name = page.name_any();
        reconcile(page, cx, Some(name))
    })
    .scenario(one_page)
    .check();
}

/// Sieve's intermediate state: the first of two writes says that both are done.
#[test]
fn a_crash_between_two_writes_is_found() {
    async fn reconcile(page: Arc<Page>, cx: Cx, mark_first: bool) -> Result<Action, Error> {
        let done = page.annotations().get("done") == Some(&page.spec.text);
        let mark = Patch::Merge(json!({"metadata": {"annotations": {"done": page.spec.text}}}));
        if !done {
            if mark_first {
                pages(&cx).patch(&page.name_any(), &PatchParams::default(), &mark).await?;
            }
            let apply = Patch::Apply(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": page.name_any()},
                "data": {"text": page.spec.text}}),
            );
            maps(&cx).patch(&page.name_any(), &PatchParams::apply("test").force(), &apply).await?;
            if !mark_first {
                pages(&cx).patch(&page.name_any(), &PatchParams::default(), &mark).await?;
            }
        }
        Ok(Action::await_change())
    }
    found_in_state(
        &of(|page, cx| reconcile(page, cx, true)).scenario(page_that_changes).run(),
        "ConfigMap default/a: .data.text: \"2\" -> \"1\"",
    );
    of(|page, cx| reconcile(page, cx, false)).scenario(page_that_changes).check();
}

/// Sieve's unobserved state: what happened between two states is not seen.
#[test]
fn an_unobserved_state_is_found() {
    /// Counts the changes of a page in an annotation, or only writes the last one.
    async fn reconcile(page: Arc<Page>, cx: Cx, count: bool) -> Result<Action, Error> {
        let seen = page.annotations().get("seen").cloned().unwrap_or_default();
        let last = seen.rsplit(' ').next().unwrap_or_default().to_owned();
        if last != page.spec.text {
            let seen = if count { format!("{seen} {}", page.spec.text) } else { page.spec.text.clone() };
            let patch = Patch::Merge(json!({"metadata": {"annotations": {"seen": seen}}}));
            pages(&cx).patch(&page.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(Action::await_change())
    }
    async fn changes(user: Client) {
        for text in ["2", "3"] {
            if text == "2" {
                create(&user, "a", "1").await;
            }
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            change(&user, "a", text).await;
        }
    }
    found_in_state(
        &of(|page, cx| reconcile(page, cx, true)).scenario(changes).run(),
        "Page.example.com default/a: .metadata.annotations.seen",
    );
    of(|page, cx| reconcile(page, cx, false)).scenario(changes).check();
}

#[test]
fn a_cleanup_that_reads_only_the_cache_is_found() {
    async fn reconcile(page: Arc<Page>, cx: Cx) -> Result<Action, Error> {
        // Outside of the cluster, as far as the garbage collector knows.
        let apply = Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": page.name_any()},
            "data": {"text": page.spec.text}}),
        );
        maps(&cx).patch(&page.name_any(), &PatchParams::apply("test").force(), &apply).await?;
        Ok(Action::await_change())
    }
    async fn cleanup(page: Arc<Page>, cx: Cx, cached: bool) -> Result<Action, Error> {
        let is_there = cx.snapshot::<ConfigMap>().get("default", &page.name_any()).is_some();
        if !cached || is_there {
            delete_map(&cx, &page.name_any(), &DeleteParams::default()).await?;
        }
        Ok(Action::await_change())
    }
    async fn goes_soon(user: Client) {
        create(&user, "a", "1").await;
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        delete(&user, "a").await;
    }
    found_in_state(
        &with_cleanup(reconcile, |page, cx| cleanup(page, cx, true)).scenario(goes_soon).run(),
        "+ ConfigMap default/a: there without need",
    );
    with_cleanup(reconcile, |page, cx| cleanup(page, cx, false)).scenario(goes_soon).check();
}

#[test]
fn a_finalizer_that_is_removed_before_the_cleanup_is_found() {
    async fn reconcile(page: Arc<Page>, cx: Cx, first: bool) -> Result<Action, Error> {
        const NAME: &str = "example.com/own";
        let name = page.name_any();
        let finalizers = |list: &[&str]| Patch::Merge(json!({"metadata": {"finalizers": list}}));
        if page.meta().deletion_timestamp.is_none() {
            if page.finalizers().is_empty() {
                pages(&cx).patch(&name, &PatchParams::default(), &finalizers(&[NAME])).await?;
            }
            let apply =
                Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                "data": {"text": page.spec.text}}));
            maps(&cx).patch(&name, &PatchParams::apply("test").force(), &apply).await?;
            return Ok(Action::await_change());
        }
        if first {
            pages(&cx).patch(&name, &PatchParams::default(), &finalizers(&[])).await?;
        }
        delete_map(&cx, &name, &DeleteParams::default()).await?;
        if !first {
            pages(&cx).patch(&name, &PatchParams::default(), &finalizers(&[])).await?;
        }
        Ok(Action::await_change())
    }
    // The controller's own finalizer only brings the deletion to the reconciler.
    async fn early(page: Arc<Page>, cx: Cx) -> Result<Action, Error> {
        reconcile(page, cx, true).await
    }
    async fn late(page: Arc<Page>, cx: Cx) -> Result<Action, Error> {
        reconcile(page, cx, false).await
    }
    fn own<F>(reconcile: fn(Arc<Page>, Cx) -> F) -> Simulation
    where
        F: Future<Output = Result<Action, Error>> + Send + 'static,
    {
        let simulation = simulation(move |operator| {
            let controller = Controller::new("page", operator.informers().typed::<Page>().start());
            vec![controller.finalizer("example.com/own", reconcile).reconciler(reconcile, ())]
        });
        simulation.random(4)
    }
    found_in_state(&own(early).scenario(page_that_goes).run(), "+ ConfigMap default/a: there without need");
    own(late).scenario(page_that_goes).check();
}

#[test]
fn a_list_that_is_written_as_it_was_read_is_found() {
    /// Adds itself to a list that others write, too.
    async fn reconcile(page: Arc<Page>, cx: Cx, test: bool) -> Result<Action, Error> {
        let shared = maps(&cx).get("shared").await?;
        let list = shared.data.as_ref().and_then(|data| data.get("list")).cloned().unwrap_or_default();
        if !list.contains("page") {
            let version = test.then(|| shared.metadata.resource_version.clone());
            let mut patch = json!({"data": {"list": format!("{list} page")}});
            if let Some(version) = version {
                patch["metadata"] = json!({"resourceVersion": version});
            }
            maps(&cx).patch("shared", &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        let _ = page;
        Ok(Action::await_change())
    }
    async fn others(user: Client) {
        let maps: Api<ConfigMap> = Api::default_namespaced(user.clone());
        maps.create(&PostParams::default(), &map("shared", "")).await.unwrap();
        create(&user, "a", "1").await;
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        // Reads and writes at once.
        for _ in 0..20 {
            let mut shared = maps.get("shared").await.unwrap();
            let list = shared.data.get_or_insert_default().entry("list".to_owned()).or_default();
            list.push_str(" user");
            if maps.replace("shared", &PostParams::default(), &shared).await.is_ok() {
                return;
            }
        }
    }
    found_in_state(
        &of(|page, cx| reconcile(page, cx, false)).scenario(others).run(),
        "ConfigMap default/shared: .data.list",
    );
    // What remains is whose word comes first.
    let sorted = |object: &mut serde_json::Value| {
        if let Some(list) = object["data"]["list"].as_str() {
            let mut words: Vec<&str> = list.split_whitespace().collect();
            words.sort_unstable();
            object["data"]["list"] = words.join(" ").into();
        }
    };
    of(|page, cx| reconcile(page, cx, true)).ignore(sorted).scenario(others).check();
}

/// Sieve's stale state: a map that is there is made anew, because the cache does not have it yet.
#[test]
fn a_decision_by_a_cache_that_is_behind_is_found() {
    /// Gives the page an empty map, which others fill.
    async fn reconcile(page: Arc<Page>, cx: Cx, cached: bool) -> Result<Action, Error> {
        let name = page.name_any();
        let is_there = if cached {
            cx.snapshot::<ConfigMap>().get("default", &name).is_some()
        } else {
            maps(&cx).get_opt(&name).await?.is_some()
        };
        if !is_there {
            delete_map(&cx, &name, &DeleteParams::default()).await?;
            maps(&cx).create(&PostParams::default(), &map(&name, "")).await?;
        }
        Ok(Action::await_change())
    }
    async fn fill(user: Client) {
        create(&user, "a", "1").await;
        map_is(&user, "a", true).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(user.clone());
        let patch = Patch::Merge(json!({"data": {"text": "of the user"}}));
        maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
        // Longer than a run waits for the controller's own writes.
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        change(&user, "a", "2").await;
    }
    let report = of(|page, cx| reconcile(page, cx, true)).scenario(fill).run();
    found_in_state(&report, "ConfigMap default/a: .data.text: \"of the user\" -> \"\"");
    of(|page, cx| reconcile(page, cx, false)).scenario(fill).check();
}

#[test]
fn an_observed_generation_that_was_not_seen_is_found() {
    /// Writes the page's text to its map and then to its status.
    async fn reconcile(page: Arc<Page>, cx: Cx, saw: bool) -> Result<Action, Error> {
        let name = page.name_any();
        let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"text": page.spec.text}}));
        maps(&cx).patch(&name, &PatchParams::apply("test").force(), &apply).await?;
        let generation =
            if saw { page.meta().generation } else { pages(&cx).get(&name).await?.meta().generation };
        let status = json!({"observedGeneration": generation, "text": page.spec.text});
        let patch = Patch::Merge(json!({"status": status}));
        pages(&cx).patch_status(&name, &PatchParams::default(), &patch).await?;
        Ok(Action::await_change())
    }
    async fn changes_soon(user: Client) {
        create(&user, "a", "1").await;
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        change(&user, "a", "2").await;
    }
    const TRUE: &str = "a status of this generation is true";
    fn with(simulation: Simulation) -> Simulation {
        simulation.scenario(changes_soon).invariant(TRUE, |state| {
            let is_wrong = |page: &&serde_json::Value| {
                page["status"]["observedGeneration"] == page["metadata"]["generation"]
                    && page["status"]["text"] != page["spec"]["text"]
            };
            state.of_kind("Page").find(is_wrong).map_or(Ok(()), |page| Err(page["status"].to_string()))
        })
    }
    found_by_invariant(&with(of(|page, cx| reconcile(page, cx, false))).run(), TRUE);
    with(of(|page, cx| reconcile(page, cx, true))).check();
}

#[test]
fn ownership_by_name_and_not_by_uid_is_found() {
    async fn reconcile(page: Arc<Page>, cx: Cx) -> Result<Action, Error> {
        let mut map = map(&page.name_any(), &page.spec.text);
        map.metadata.labels = Some([("page".to_owned(), page.uid().unwrap_or_default())].into());
        match maps(&cx).create(&PostParams::default(), &map).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            created => drop(created?),
        }
        Ok(Action::await_change())
    }
    async fn cleanup(page: Arc<Page>, cx: Cx, by_uid: bool) -> Result<Action, Error> {
        let Some(map) = maps(&cx).get_opt(&page.name_any()).await? else { return Ok(Action::await_change()) };
        if !by_uid {
            delete_map(&cx, &map.name_any(), &DeleteParams::default()).await?;
        } else if map.labels().get("page") == page.uid().as_ref() {
            let this = Preconditions { uid: map.uid(), resource_version: None };
            delete_map(&cx, &map.name_any(), &DeleteParams::default().preconditions(this)).await?;
        }
        Ok(Action::await_change())
    }
    /// When the page's map is gone, the user needs the name.
    async fn takes_the_name(user: Client) {
        create(&user, "a", "1").await;
        map_is(&user, "a", true).await;
        delete(&user, "a").await;
        map_is(&user, "a", false).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(user);
        maps.create(&PostParams::default(), &map("a", "of the user")).await.unwrap();
    }
    let report = with_cleanup(reconcile, |page, cx| cleanup(page, cx, false)).scenario(takes_the_name).run();
    found_in_state(&report, "- ConfigMap default/a: missing");
    with_cleanup(reconcile, |page, cx| cleanup(page, cx, true)).scenario(takes_the_name).check();
}

#[test]
fn a_child_that_is_deleted_by_a_stale_list_is_found() {
    /// Deletes the maps of pages that are gone.
    async fn collect(map: Arc<ConfigMap>, cx: Context<ConfigMap, ()>, cached: bool) -> Result<Action, Error> {
        let Some(page) = map.annotations().get("page") else { return Ok(Action::await_change()) };
        let is_there = cx.snapshot::<Page>().get("default", page).is_some()
            || !cached && Api::<Page>::default_namespaced(cx.client()).get_opt(page).await?.is_some();
        if !is_there {
            cx.delete(&*map).await?;
        }
        Ok(Action::await_change())
    }
    fn collects<F>(collect: fn(Arc<ConfigMap>, Context<ConfigMap, ()>) -> F) -> Simulation
    where
        F: Future<Output = Result<Action, Error>> + Send + 'static,
    {
        let simulation = simulation(move |operator| {
            let of = operator.informers();
            let pages = of.typed::<Page>().start();
            let maps = of.typed::<ConfigMap>().namespace("default").start();
            vec![Controller::new("map", maps).reads(pages).reconciler(collect, ())]
        });
        simulation.random(4).scenario(|user| async move {
            // When the operator watches.
            pause().await;
            create(&user, "a", "1").await;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let mut map = map("a-1", "1");
            map.metadata.annotations = Some([("page".to_owned(), "a".to_owned())].into());
            let maps: Api<ConfigMap> = Api::default_namespaced(user);
            maps.create(&PostParams::default(), &map).await.unwrap();
        })
    }
    let report = collects(|map, cx| collect(map, cx, true)).run();
    found_in_state(&report, "- ConfigMap default/a-1: missing");
    collects(|map, cx| collect(map, cx, false)).check();
}
