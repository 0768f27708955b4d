//! What other controllers of a cluster do, as functions: none of them runs beside the API server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long the world takes for anything.
const DELAY: Duration = Duration::from_secs(1);

/// Sets the status of objects, a second after anything was written.
#[derive(Clone, Default)]
pub struct World {
    rules: Vec<Rule>,
}

/// The status that an object is to have.
type Status = Arc<dyn Fn(&Value) -> Option<Value> + Send + Sync>;

#[derive(Clone)]
struct Rule {
    /// Where the objects are: `/apis/apps/v1`.
    prefix: String,
    plural: String,
    status: Status,
}

impl World {
    /// Returns a world in which nothing happens by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the status of objects follow from the object: the function returns the status that it is to have, or `None` to
    /// leave it. The group and version are as in an object's `apiVersion`, the type is its plural name.
    #[must_use]
    pub fn status(
        mut self,
        api_version: &str,
        plural: &str,
        status: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        let prefix = if api_version.contains('/') {
            format!("/apis/{api_version}")
        } else {
            format!("/api/{api_version}")
        };
        self.rules.push(Rule { prefix, plural: plural.to_owned(), status: Arc::new(status) });
        self
    }

    /// Deployments get all their replicas, available.
    #[must_use]
    pub fn deployments_become_available(self) -> Self {
        self.status("apps/v1", "deployments", |deployment| {
            let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
            let generation = deployment["metadata"]["generation"].clone();
            let condition =
                json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"});
            Some(json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas, "conditions": [condition]}))
        })
    }

    /// Jobs complete.
    #[must_use]
    pub fn jobs_complete(self) -> Self {
        self.status("batch/v1", "jobs", |job| {
            let done = job["spec"]["completions"].as_i64().unwrap_or(1);
            let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "CompletionsReached"});
            let time = "2026-01-01T00:00:00Z";
            Some(json!({"succeeded": done, "startTime": time, "completionTime": time,
                "uncountedTerminatedPods": {}, "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}))
        })
    }

    /// Pods run and are ready.
    #[must_use]
    pub fn pods_run(self) -> Self {
        self.status("v1", "pods", |_| {
            Some(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}))
        })
    }

    /// Follows what is written.
    pub(crate) async fn run(self, client: Client, mut written: watch::Receiver<u64>) {
        if self.rules.is_empty() {
            return;
        }
        while written.changed().await.is_ok() {
            sleep(DELAY).await;
            written.mark_unchanged();
            for rule in &self.rules {
                rule.apply(&client).await;
            }
        }
    }
}

impl Rule {
    async fn apply(&self, client: &Client) {
        let Self { prefix, plural, status } = self;
        let Ok(request) = Request::get(format!("{prefix}/{plural}")).body(Vec::new()) else { return };
        let Ok(list) = client.request::<Value>(request).await else { return };
        for object in list["items"].as_array().into_iter().flatten() {
            let Some(wanted) = status(object).filter(|wanted| !contains(&object["status"], wanted)) else {
                continue;
            };
            let meta = &object["metadata"];
            let (namespace, name) = (meta["namespace"].as_str(), meta["name"].as_str().unwrap_or_default());
            let within = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
            let request = Request::patch(format!("{prefix}{within}/{plural}/{name}/status"))
                .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
                .body(json!({"status": wanted}).to_string().into_bytes());
            let Ok(request) = request else { continue };
            // It may be gone by now.
            let _ = client.request::<Value>(request).await;
        }
    }
}

/// Whether a value has all that is wanted.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| value.get(name).is_some_and(|value| contains(value, wanted)))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len()
                && value.iter().zip(wanted).all(|(value, wanted)| contains(value, wanted))
        }
        // Empty values are not stored.
        (Value::Null, Value::Object(wanted)) => wanted.is_empty(),
        _ => value == wanted,
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rules.iter().map(|rule| &rule.plural)).finish()
    }
}
