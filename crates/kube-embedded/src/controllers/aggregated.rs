//! The contents of a namespace that aggregated servers have: what the namespace controller does with them.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::remote::{Answer, Request, Unanswered};
use crate::cluster::{Cluster, Remote};
use crate::resource::api_version;
use crate::strategy::texts;
use crate::user::User;
use crate::webhook::Location;

/// How long an answer may take, as for any request of kube-controller-manager's that does not watch.
const TIMEOUT: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";
/// What is asked for of objects: their metadata, if the server can leave out the rest.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// How much of an answer that is no `Status` is told, in bytes: client-go's `maxUnstructuredResponseTextBytes`.
const TOLD_MAX: usize = 2048;

/// A resource of an aggregated server that has objects in namespaces.
pub(super) struct AggregatedResource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    verbs: Vec<String>,
    at: Location,
}

/// What aggregated servers have.
#[derive(Default)]
pub(super) struct Discovery {
    /// The resources whose objects are deleted with their namespace.
    pub(super) resources: Vec<AggregatedResource>,
    /// The group versions of which that is not known.
    pub(super) failed: BTreeSet<String>,
}

impl Discovery {
    /// What is known now: `ServerPreferredNamespacedResources` of client-go.
    pub(super) fn of(cluster: &Cluster) -> Self {
        let mut discovery = Self::default();
        let registered = cluster.api_services.current(&cluster.store);
        for (group, versions) in registered.groups() {
            let mut known = BTreeSet::new();
            for service in versions {
                let Some(remote) = &service.remote else { continue };
                let discovered = cluster.api_services.discovered(&service.name).map(|it| it.version);
                let current = discovered.filter(|version| version["freshness"] == "Current");
                let Some(version) = current else {
                    discovery.failed.insert(api_version(group, &service.version));
                    continue;
                };
                for resource in version["resources"].as_array().into_iter().flatten() {
                    let plural = resource["resource"].as_str().unwrap_or_default();
                    // That of the preferred version counts.
                    if known.insert(plural.to_owned()) {
                        let found =
                            AggregatedResource::new(cluster, remote, (group, &service.version), resource);
                        discovery.resources.extend(found);
                    }
                }
            }
        }
        discovery
    }

    /// Why it is not known what all aggregated servers have, if it is not.
    pub(super) fn failure(&self) -> Option<String> {
        let failed: Vec<String> =
            self.failed.iter().map(|it| format!("{it}: stale GroupVersion discovery: {it}")).collect();
        (!failed.is_empty())
            .then(|| format!("unable to retrieve the complete list of server APIs: {}", failed.join(", ")))
    }
}

impl AggregatedResource {
    fn new(
        cluster: &Cluster,
        remote: &Remote,
        (group, version): (&str, &str),
        resource: &Value,
    ) -> Option<Self> {
        let verbs: Vec<String> = texts(&resource["verbs"]);
        let is_deleted = resource["scope"] == "Namespaced" && verbs.iter().any(|verb| verb == "delete");
        is_deleted.then(|| Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: resource["resource"].as_str().unwrap_or_default().to_owned(),
            verbs,
            at: remote.location(&cluster.store),
        })
    }

    /// Deletes all objects in a namespace: at once, or one by one if the server cannot do that.
    ///
    /// # Errors
    /// Fails with the reason if that is refused, or not known to be done.
    pub(super) async fn delete_all(
        &self,
        cluster: &Cluster,
        user: &User,
        namespace: &str,
    ) -> Result<(), String> {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
        let path = self.path(namespace);
        if self.can("deletecollection") {
            match self.delete(cluster, user, &path, &options).await {
                Ok(_) => return Ok(()),
                Err(why) if is_unsupported(&why) => {}
                Err(why) => return Err(describe(why)),
            }
        }
        for object in self.list(cluster, user, namespace).await? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("{path}/{name}");
            match self.delete(cluster, user, &path, &options).await {
                Err(why) if !is_unsupported(&why) => return Err(describe(why)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The finalizers of each object that is left in a namespace.
    ///
    /// # Errors
    /// Fails with the reason if that is not known.
    pub(super) async fn left(
        &self,
        cluster: &Cluster,
        user: &User,
        namespace: &str,
    ) -> Result<Vec<Vec<String>>, String> {
        let left = self.list(cluster, user, namespace).await?;
        Ok(left.iter().map(|object| texts(&object["metadata"]["finalizers"])).collect())
    }

    async fn list(&self, cluster: &Cluster, user: &User, namespace: &str) -> Result<Vec<Value>, String> {
        if !self.can("list") {
            return Ok(Vec::new());
        }
        let path = self.path(namespace);
        let (method, accept, body, timeout) = (Method::GET, METADATA, &Value::Null, TIMEOUT);
        let answer =
            Request { user, method, path: &path, accept, body, timeout }.send(cluster, &self.at).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) if is_unsupported(&why) => return Ok(Vec::new()),
            Err(why) => return Err(describe(why)),
        };
        let list: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        match &list["items"] {
            Value::Array(items) => Ok(items.clone()),
            // An empty list of a server in Go.
            Value::Null if list["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => Ok(Vec::new()),
            // An answer that is no list does not say that nothing is left.
            _ => Err(format!("the answer is not a list of {}", self.plural)),
        }
    }

    async fn delete(
        &self,
        cluster: &Cluster,
        user: &User,
        path: &str,
        options: &Value,
    ) -> Result<Answer, Unanswered> {
        let (method, body, timeout) = (Method::DELETE, options, TIMEOUT);
        Request { user, method, path, accept: JSON, body, timeout }.send(cluster, &self.at).await
    }

    fn path(&self, namespace: &str) -> String {
        let prefix = if self.group.is_empty() { "api" } else { "apis" };
        let group_version = api_version(&self.group, &self.version);
        format!("/{prefix}/{group_version}/namespaces/{namespace}/{}", self.plural)
    }

    fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|it| it == verb)
    }
}

/// Whether there is no such request, or no such object.
fn is_unsupported(why: &Unanswered) -> bool {
    matches!(why, Unanswered::Code(404 | 405, _))
}

/// What client-go makes of an answer.
fn describe(why: Unanswered) -> String {
    match why {
        Unanswered::Failed(why) => format!("error trying to reach service: {why}"),
        Unanswered::Code(code, body) => {
            let status: Value = serde_json::from_slice(&body).unwrap_or_default();
            match (status["message"].as_str(), code) {
                (Some(message), _) if status["kind"] == "Status" => message.to_owned(),
                (_, 503) => "the server is currently unable to handle the request".to_owned(),
                (_, 500) => format!(
                    "an error on the server ({:?}) has prevented the request from succeeding",
                    String::from_utf8_lossy(body.get(..TOLD_MAX).unwrap_or(&body))
                ),
                _ => format!(
                    "the server responded with the status code {code} but did not return more information"
                ),
            }
        }
    }
}
