//! What the tests share: a type, and scenarios.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, CustomResource, CustomResourceExt as _};
use kube_controller::simulation::Simulation;
use kube_controller::{Controller, Operator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(group = "example.com", version = "v1", kind = "Page", namespaced, status = "PageStatus")]
pub(crate) struct PageSpec {
    pub(crate) text: String,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}

/// A ConfigMap of this name and text.
pub(crate) fn map(name: &str, text: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("text".to_owned(), text.to_owned())])),
        ..ConfigMap::default()
    }
}

/// A simulation of controllers for pages.
pub(crate) fn simulation(controllers: impl Fn(&Operator) -> Vec<Controller> + 'static) -> Simulation {
    Simulation::new(controllers).crd(&Page::crd())
}

pub(crate) async fn create(user: &Client, name: &str, text: &str) {
    let pages: Api<Page> = Api::default_namespaced(user.clone());
    let page = Page::new(name, PageSpec { text: text.to_owned() });
    pages.create(&PostParams::default(), &page).await.unwrap();
}

pub(crate) async fn change(user: &Client, name: &str, text: &str) {
    let pages: Api<Page> = Api::default_namespaced(user.clone());
    let patch = Patch::Merge(json!({"spec": {"text": text}}));
    pages.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

pub(crate) async fn delete(user: &Client, name: &str) {
    let pages: Api<Page> = Api::default_namespaced(user.clone());
    pages.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Long enough for a controller to do what it wants.
pub(crate) async fn pause() {
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
}

/// Waits until a ConfigMap is there, or gone.
pub(crate) async fn map_is(user: &Client, name: &str, there: bool) {
    let maps: Api<ConfigMap> = Api::default_namespaced(user.clone());
    while maps.get_opt(name).await.unwrap().is_some() != there {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
