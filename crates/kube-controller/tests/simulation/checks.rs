//! What the simulation itself does.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use kube_controller::simulation::Simulation;
use kube_controller::{Action, Context, Controller, Operator};

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
