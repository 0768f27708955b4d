//! What the tests share: a type, a server that has it, and an operator that ends.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::{Api, Client, CustomResource, CustomResourceExt as _};
use kube_controller::{Controller, Ended, Operator, RunError};
use kube_embedded::Server;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What tests wait for at most: something is wrong then. Long, because machines can be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}

pub(crate) fn page(name: &str, text: &str) -> Page {
    Page::new(name, PageSpec { text: text.to_owned() })
}

/// A server that serves pages.
pub(crate) async fn server() -> Server {
    let server = Server::start();
    install(&server.client()).await;
    server
}

pub(crate) async fn install(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &Page::crd()).await.unwrap();
    let pages: Api<Page> = Api::all(client.clone());
    eventually("pages are served", || async { pages.list(&kube::api::ListParams::default()).await.ok() })
        .await;
}

/// An operator that runs in a task of its own.
pub(crate) struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<Ended, RunError>>,
}

impl Running {
    /// Starts the controllers that a function makes.
    pub(crate) fn start(operator: Operator, controllers: impl FnOnce(&Operator) -> Vec<Controller>) -> Self {
        Self::start_with_grace(Duration::from_secs(30), operator, controllers)
    }

    /// As [`start`](Self::start), with another time for runs to end.
    pub(crate) fn start_with_grace(
        grace: Duration,
        operator: Operator,
        controllers: impl FnOnce(&Operator) -> Vec<Controller>,
    ) -> Self {
        let stop = CancellationToken::new();
        let operator = operator.shutdown_on(stop.clone(), grace);
        let controllers = controllers(&operator);
        Self { stop, task: tokio::spawn(operator.run(controllers)) }
    }

    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Ends it as a signal would.
    pub(crate) async fn stop(self) -> Result<Ended, RunError> {
        self.stop.cancel();
        within("the operator ends", self.task).await.unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<Ended, RunError> {
        within("the operator ends by itself", self.task).await.unwrap()
    }

    /// Ends it as a crash would.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Waits for a future that must not take long.
pub(crate) async fn within<T>(what: impl fmt::Display, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not in time: {what}"),
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T, F>(what: impl fmt::Display, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}
