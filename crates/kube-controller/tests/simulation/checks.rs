//! What the simulation itself does.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use kube_controller::simulation::{Report, Simulation, Violation};
use kube_controller::{Action, Context, Controller, Operator, Reconciler};

use crate::support::{Error, Page, change, create, delete, map, pause, simulation};

async fn right(page: Arc<Page>, cx: Context<Page, ()>) -> Result<Action, Error> {
    cx.apply(&map(&page.name_any(), &page.spec.text)).await?;
    cx.status().observe_generation();
    cx.conditions().set("Ready", true, "Applied", "");
    Ok(Action::await_change())
}

fn rightly(operator: &Operator) -> Vec<Controller> {
    let of = operator.informers();
    let controller = Controller::new("page", of.typed::<Page>().start())
        .owns(of.typed::<ConfigMap>().keep_managed_fields().start())
        .reconciler(right, ());
    vec![controller]
}

fn life(simulation: Simulation) -> Simulation {
    simulation.scenario(|user| async move {
        create(&user, "a", "hello").await;
        create(&user, "b", "hello").await;
        pause().await;
        change(&user, "a", "bye").await;
        pause().await;
        delete(&user, "b").await;
    })
}

#[test]
fn a_right_reconciler_passes_whatever_strikes() {
    let report = life(simulation(rightly)).run();
    assert!(report.is_ok(), "{report}");
    assert!(report.writes >= 4 && report.executions > 40, "{report}");
}

#[test]
fn a_right_reconciler_passes_when_leadership_is_lost() {
    life(simulation(rightly)).leader_election().check();
}

#[test]
fn the_same_seed_finds_the_same_and_the_replay_fails_again() {
    async fn wrong(page: Arc<Page>, cx: Context<Page, ()>) -> Result<Action, Error> {
        let maps: Api<ConfigMap> = Api::default_namespaced(cx.client());
        if page.annotations().is_empty() {
            let mut map = map("", &page.spec.text);
            map.metadata.name = None;
            map.metadata.generate_name = Some("page-".to_owned());
            maps.create(&PostParams::default(), &map).await?;
            let patch = serde_json::json!({"metadata": {"annotations": {"created": "true"}}});
            let pages: Api<Page> = Api::default_namespaced(cx.client());
            pages.patch(&page.name_any(), &Default::default(), &kube::api::Patch::Merge(patch)).await?;
        }
        Ok(Action::await_change())
    }
    fn wrongly(operator: &Operator) -> Vec<Controller> {
        vec![Controller::new("page", operator.informers().typed::<Page>().start()).reconciler(wrong, ())]
    }
    let played = || simulation(wrongly).scenario(|user| async move { create(&user, "a", "hello").await });
    let first = played().run();
    let failure = first.failure.clone().expect("it creates two if it crashes in between");
    assert_eq!(failure.schedule.faults().len(), 1, "{first}");
    assert_eq!(played().run().failure.unwrap().schedule, failure.schedule);
    let again = played().replay(&failure.schedule.to_string()).run();
    assert_eq!(again.failure.unwrap().differences, failure.differences);
    assert!(first.to_string().contains(".replay("), "{first}");
}

/// Makes a Namespace for a page, and notes in the page that it did.
async fn make_namespace(page: &Page, cx: &Context<Page, ()>, namespace: &Namespace) -> Result<Action, Error> {
    if page.annotations().is_empty() {
        let namespaces: Api<Namespace> = Api::all(cx.client());
        match namespaces.create(&PostParams::default(), namespace).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            created => _ = created?,
        }
        let patch = serde_json::json!({"metadata": {"annotations": {"created": "true"}}});
        let pages: Api<Page> = Api::default_namespaced(cx.client());
        pages.patch(&page.name_any(), &Default::default(), &kube::api::Patch::Merge(patch)).await?;
    }
    Ok(Action::await_change())
}

#[test]
fn a_namespace_too_many_is_found_and_one_by_name_passes() {
    async fn generated(page: Arc<Page>, cx: Context<Page, ()>) -> Result<Action, Error> {
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some("page-".to_owned());
        make_namespace(&page, &cx, &namespace).await
    }
    async fn named(page: Arc<Page>, cx: Context<Page, ()>) -> Result<Action, Error> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(format!("page-{}", page.name_any()));
        make_namespace(&page, &cx, &namespace).await
    }
    fn played<R: Reconciler<Page, ()> + Copy>(reconcile: R) -> Report {
        let controllers = move |operator: &Operator| {
            let pages = operator.informers().typed::<Page>().start();
            vec![Controller::new("page", pages).reconciler(reconcile, ())]
        };
        simulation(controllers).scenario(|user| async move { create(&user, "a", "hello").await }).run()
    }
    let failure = played(generated).failure.expect("it makes two if it crashes in between");
    assert_eq!(failure.differences, ["+ Namespace page-* (2): there without need"]);
    let report = played(named);
    assert!(report.is_ok(), "{report}");
}

/// What happens if a reconciler writes at this interval.
fn played_with_writes_every(interval: Duration) -> Report {
    let controllers = move |operator: &Operator| {
        let pages = operator.informers().typed::<Page>().start();
        let reconcile = move |page: Arc<Page>, cx: Context<Page, ()>| async move {
            cx.status().set("text", format!("{:?}", tokio::time::Instant::now()));
            let _ = page;
            Ok::<_, Error>(Action::requeue(interval))
        };
        vec![Controller::new("page", pages).reconciler(reconcile, ())]
    };
    let scenario = |user| async move { create(&user, "a", "hello").await };
    simulation(controllers).scenario(scenario).at_most(1).random(0).run()
}

#[test]
fn writes_without_end_are_found_if_they_are_at_most_eleven_minutes_apart() {
    let failure = played_with_writes_every(Duration::from_secs(10 * 60)).failure.unwrap();
    assert!(matches!(failure.violations[..], [Violation::NotSettled(_)]), "{failure}");
    // As the module's page says.
    let report = played_with_writes_every(Duration::from_secs(13 * 60));
    let violations = report.failure.map(|failure| failure.violations).unwrap_or_default();
    assert_eq!(violations, []);
}
