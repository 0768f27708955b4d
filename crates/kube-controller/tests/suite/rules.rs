//! The rules that only a whole controller shows, each with its number.

use std::collections::BTreeMap;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use kube_controller::{Action, Context, Controller, Operator};
use serde_json::json;

use crate::support::{Page, Running, eventually, page, server};

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
