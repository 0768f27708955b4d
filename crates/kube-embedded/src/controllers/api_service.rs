//! Whether the servers behind APIServices are available, and what they serve: kube-aggregator's
//! `remote_available_controller.go` and `handler_discovery.go`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use http::Method;
use serde_json::{Map, Value, json};

use super::calls::Outcome;
use super::remote::{Answer, Request, Unanswered, aggregator};
use crate::cluster::{API_SERVER, ApiService, Cluster, Discovered, Document, Remote, Target};
use crate::resource::API_SERVICES;
use crate::strategy::{aggregation, conditions};
use crate::webhook::Location;

/// How many requests are made at once, one of which has to succeed.
const ATTEMPTS: usize = 5;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a success a server is asked again.
const RESYNC: Duration = Duration::from_secs(30);
/// How long after a failure at most.
const RETRY: Duration = Duration::from_secs(30);
/// What is asked for in discovery, and what is then answered.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Checks an APIService: sets its condition, and learns what its server serves.
pub(super) async fn check(cluster: Arc<Cluster>, name: String) -> Outcome {
    let registered = cluster.api_services.current(&cluster.store);
    let Some(service) = registered.get(&name) else {
        cluster.api_services.set_discovered(&name, None);
        return Outcome::Done;
    };
    let Some(remote) = &service.remote else {
        cluster.api_services.set_discovered(&name, None);
        set_condition(&cluster, &name, &aggregation::local());
        return Outcome::Done;
    };
    let condition = |status: &str, reason: &str, message: &str| json!({"type": "Available", "status": status, "reason": reason, "message": message});
    if let Some((reason, message)) = remote.not_routed(&cluster.store) {
        // It is looked at again when its Service or an EndpointSlice is written.
        set_condition(&cluster, &name, &condition("False", reason, &message));
        cluster.api_services.set_discovered(&name, None);
        return Outcome::Done;
    }
    let (checked, discovered) =
        tokio::join!(reach(&cluster, service, remote), discover(&cluster, service, remote));
    let is_known = discovered.is_some();
    let stale = || {
        let mut known = cluster.api_services.discovered(&name)?;
        known.version["freshness"] = "Stale".into();
        Some(known)
    };
    cluster.api_services.set_discovered(&name, discovered.or_else(stale));
    match checked {
        Err(why) => {
            set_condition(&cluster, &name, &condition("False", "FailedDiscoveryCheck", &why));
            Outcome::Failed { at_most: RETRY }
        }
        Ok(()) => {
            set_condition(&cluster, &name, &condition("True", "Passed", "all checks passed"));
            if is_known { Outcome::After(RESYNC) } else { Outcome::Failed { at_most: RETRY } }
        }
    }
}

fn set_condition(cluster: &Cluster, name: &str, condition: &Value) {
    let scheme = cluster.scheme();
    let Some(resource) = scheme.by_collection(API_SERVICES.collection()) else { return };
    let now = cluster.clock.seconds();
    // If it no longer exists, nothing is left to say.
    let _ = cluster.modify_as(API_SERVER, Target { resource, namespace: "", name }, "status", |object| {
        conditions::set(object, condition.clone(), &now);
    });
}

/// The path of a group version.
fn path(service: &ApiService) -> String {
    match service.name.as_str() {
        "v1." => format!("/api/{}", service.version),
        _ => format!("/apis/{}/{}", service.group, service.version),
    }
}

/// Asks a server for its group version.
async fn reach(cluster: &Cluster, service: &ApiService, remote: &Remote) -> Result<(), String> {
    let location = remote.location(&cluster.store);
    let address = location.address.clone()?;
    let url = format!("https://{}{}", address.unwrap_or_default(), path(service));
    let attempts = (0..ATTEMPTS).map(|_| {
        let (location, path, url) = (&location, path(service), &url);
        Box::pin(async move {
            let answered = get(cluster, location, &path, "*/*").await;
            answered.map(drop).map_err(|why| {
                let why = match why {
                    Unanswered::Code(code, _) => format!("bad status from {url}: {code}"),
                    Unanswered::Failed(why) => format!("Get {url:?}: {why}"),
                };
                format!("failing or missing response from {url}: {why}")
            })
        })
    });
    select_ok(attempts).await.map(drop)
}

/// Sends a GET in the name of the aggregator.
async fn get(
    cluster: &Cluster,
    at: &Location,
    path: &str,
    accept: &'static str,
) -> Result<Answer, Unanswered> {
    let (user, method) = (&aggregator(), Method::GET);
    Request { user, method, path, accept, body: &Value::Null, timeout: TIMEOUT }.send(cluster, at).await
}

/// What a server serves of its group version. `None` if it does not say.
async fn discover(cluster: &Cluster, service: &ApiService, remote: &Remote) -> Option<Discovered> {
    let location = remote.location(&cluster.store);
    let answer = get(cluster, &location, "/apis", AGGREGATED).await;
    let mut version = match answer {
        Ok(answer) if is_aggregated(&answer.content_type) => of_list(&answer.body, service)?,
        Ok(_) | Err(Unanswered::Code(..)) => {
            let list = get(cluster, &location, &path(service), "application/json").await.ok()?;
            json!({"version": service.version, "resources": of_resources(&serde_json::from_slice(&list.body).ok()?)})
        }
        Err(Unanswered::Failed(_)) => return None,
    };
    version["freshness"] = "Current".into();
    let index = get(cluster, &location, "/openapi/v3", "application/json").await.ok();
    let index: Option<Value> = index.and_then(|index| serde_json::from_slice(&index.body).ok());
    let document = index.and_then(|index| {
        let entry = &index["paths"][path(service).trim_start_matches('/')];
        entry["serverRelativeURL"].as_str().map(str::to_owned)
    });
    let document_v2 = get(cluster, &location, "/openapi/v2", "application/json").await.ok();
    let document_v2 = document_v2.and_then(|document| serde_json::from_slice(&document.body).ok());
    let document_v2 = match document_v2 {
        Some(read) => Some(Arc::new(Document::read(read, &format!("{}/", path(service))))),
        None => cluster.api_services.discovered(&service.name).and_then(|known| known.document_v2),
    };
    Some(Discovered { version, document, document_v2 })
}

/// Whether a content type is that of aggregated discovery in version 2.
fn is_aggregated(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let parts: Vec<&str> = parts.by_ref().collect();
    ["application/json", "g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"]
        .iter()
        .all(|part| parts.contains(part))
}

/// The version of a service in an `APIGroupDiscoveryList`. One that is not in it has no resources.
fn of_list(list: &[u8], service: &ApiService) -> Option<Value> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let mut groups = list["items"].as_array()?.iter();
    let group = groups.find(|it| it["metadata"]["name"].as_str().unwrap_or_default() == service.group);
    let versions = group.and_then(|group| group["versions"].as_array());
    let version = versions.and_then(|all| all.iter().find(|it| it["version"] == service.version.as_str()));
    Some(version.cloned().unwrap_or_else(|| json!({"version": service.version})))
}

/// The resources of an `APIResourceList`, as aggregated discovery has them: `ConvertGroupVersionIntoToDiscovery`.
fn of_resources(list: &Value) -> Vec<Value> {
    let all = list["resources"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |it: &Value| it["name"].as_str().unwrap_or_default().to_owned();
    let scope = |it: &Value| if it["namespaced"] == true { "Namespaced" } else { "Cluster" };
    let kind = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap_or_default();
        json!({"group": text("group"), "version": text("version"), "kind": text("kind")})
    };
    let copy = |from: &Value, to: &mut Map<String, Value>, fields: &[(&str, &str)]| {
        for (from_name, to_name) in fields {
            if !from[*from_name].is_null() {
                to.insert((*to_name).to_owned(), from[*from_name].clone());
            }
        }
    };
    let mut resources: Vec<Map<String, Value>> = Vec::new();
    for resource in all.iter().filter(|it| !name(it).contains('/')) {
        let mut made = Map::new();
        made.insert("resource".to_owned(), name(resource).into());
        made.insert("responseKind".to_owned(), kind(resource));
        made.insert("scope".to_owned(), scope(resource).into());
        let fields = [
            ("singularName", "singularResource"),
            ("verbs", "verbs"),
            ("shortNames", "shortNames"),
            ("categories", "categories"),
        ];
        copy(resource, &mut made, &fields);
        resources.push(made);
    }
    for subresource in all {
        let named = name(subresource);
        let Some((parent, own)) = named.split_once('/') else { continue };
        let mut made = Map::new();
        made.insert("subresource".to_owned(), own.into());
        made.insert("responseKind".to_owned(), kind(subresource));
        copy(subresource, &mut made, &[("verbs", "verbs")]);
        let index = resources.iter().position(|it| it["resource"] == parent).unwrap_or_else(|| {
            let parent =
                json!({"resource": parent, "scope": scope(subresource), "responseKind": kind(&Value::Null)});
            resources.extend(parent.as_object().cloned());
            resources.len() - 1
        });
        let list = resources[index].entry("subresources").or_insert_with(|| json!([]));
        list.as_array_mut().into_iter().for_each(|list| list.push(made.clone().into()));
    }
    resources.into_iter().map(Value::Object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_lists_become_discovery() {
        let list = json!({"resources": [
            {"name": "pods/log", "singularName": "", "namespaced": true, "kind": "Log", "verbs": ["get"]},
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["list"], "shortNames": ["po"]},
            {"name": "nodes/status", "singularName": "", "namespaced": false, "kind": "Node", "verbs": ["get"]},
        ]});
        let kind = |kind: &str| json!({"group": "", "version": "", "kind": kind});
        let sub =
            |name: &str, of: &str| json!([{"subresource": name, "responseKind": kind(of), "verbs": ["get"]}]);
        assert_eq!(
            json!(of_resources(&list)),
            json!([
                {
                    "resource": "pods", "responseKind": kind("Pod"), "scope": "Namespaced", "singularResource": "pod",
                    "verbs": ["list"], "shortNames": ["po"], "subresources": sub("log", "Log"),
                },
                {"resource": "nodes", "responseKind": kind(""), "scope": "Cluster", "subresources": sub("status", "Node")},
            ])
        );
    }
}
