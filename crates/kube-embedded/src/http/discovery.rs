//! Discovery of the served resources, in its two forms: one list per group and version, and all at once. The first is what
//! APIServices say, the second what the servers say.

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::negotiate::{Encoding, aggregated_discovery};
use super::render::{self, Response};
use crate::cluster::{ApiService, Cluster, OWN_GROUP, Registered};
use crate::resource::{Resource, api_version};
use crate::scheme::{Group, GroupVersion, by_preference};

/// The content type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What `/version` says: `Info` of apimachinery's `pkg/version`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    major: &'static str,
    minor: &'static str,
    emulation_major: &'static str,
    emulation_minor: &'static str,
    min_compatibility_major: &'static str,
    min_compatibility_minor: &'static str,
    git_version: &'static str,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: String,
}

/// Answers a discovery request. `None`: the path is not one of discovery's.
pub(super) fn answer(cluster: &Cluster, path: &str, headers: &HeaderMap) -> Option<Response> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let scheme = cluster.scheme();
    let groups = scheme.groups();
    let registered = || cluster.api_services.current(&cluster.store);
    let aggregated = aggregated_discovery(headers);
    let value = match &parts[..] {
        [] => return Some(render::indented_document(&json!({"paths": paths(groups, &registered())}))),
        ["api"] if aggregated => {
            let core = groups.iter().filter(|group| group.name.is_empty());
            return Some(aggregate(core.map(aggregated_group).collect()));
        }
        ["apis"] if aggregated => return Some(aggregate(aggregated_groups(cluster, groups))),
        ["version"] => return Some(render::indented_document(&VersionInfo::new())),
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": group_list(groups, &registered()),
        }),
        ["apis", name] if !name.is_empty() => {
            let registered = registered();
            let mut group = match registered.groups().into_iter().find(|(group, _)| group == name) {
                Some((name, versions)) => registered_group(name, &versions),
                None => group_value(groups.iter().find(|group| group.name == *name)?),
            };
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        ["api", version] => resource_list(groups, "", version)?,
        ["apis", group, version] => resource_list(groups, group, version)?,
        _ => return None,
    };
    Some(render::value_response(StatusCode::OK, Encoding::Json, &value))
}

impl VersionInfo {
    fn new() -> Self {
        Self {
            major: "1",
            minor: "37",
            emulation_major: "1",
            emulation_minor: "37",
            min_compatibility_major: "1",
            min_compatibility_minor: "36",
            // The Kubernetes version whose behaviour this server has; the build is this crate's version.
            git_version: concat!("v1.37.2+kube-embedded.", env!("CARGO_PKG_VERSION")),
            git_commit: "",
            git_tree_state: "clean",
            build_date: "1970-01-01T00:00:00Z",
            go_version: "",
            compiler: "rustc",
            platform: format!("{}/{}", std::env::consts::OS, architecture()),
        }
    }
}

/// The processor's architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn paths(groups: &[Group], registered: &Registered) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    for group in groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{}", group.name, version.name)));
    }
    for (ApiService { group, version, .. }, _) in registered.remote().filter(|(it, _)| !it.group.is_empty()) {
        paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
    }
    paths.sort();
    paths.dedup();
    paths
}

/// The groups of all APIServices, in order of preference.
fn group_list(groups: &[Group], registered: &Registered) -> Vec<Value> {
    let own = groups.iter().find(|group| group.name == OWN_GROUP).map(group_value);
    let others = registered.groups().into_iter().filter(|(name, _)| !name.is_empty());
    own.into_iter().chain(others.map(|(name, versions)| registered_group(name, &versions))).collect()
}

fn registered_group(name: &str, versions: &[&ApiService]) -> Value {
    group_of_versions(name, versions.iter().map(|it| it.version.as_str()))
}

fn group_value(group: &Group) -> Value {
    group_of_versions(&group.name, group.versions.iter().map(|it| it.name.as_str()))
}

fn group_of_versions<'a>(name: &str, versions: impl Iterator<Item = &'a str>) -> Value {
    let versions: Vec<Value> = versions
        .map(|version| json!({"groupVersion": api_version(name, version), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(groups: &[Group], group: &str, version: &str) -> Option<Value> {
    let group = groups.iter().find(|it| it.name == group)?;
    let version = group.versions.iter().find(|it| it.name == version)?;
    let mut list = Vec::new();
    for resource in &version.resources {
        let mut value = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            value["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            value["categories"] = json!(resource.categories);
        }
        if let Some((storage, kind)) = storage_type(resource, group) {
            value["storageVersionHash"] = storage_version_hash(&storage, kind).into();
        }
        list.push(value);
        for subresource in &resource.subresources {
            let kind = if subresource.kind.is_empty() { &resource.kind } else { &subresource.kind };
            let mut value = json!({
                "name": format!("{}/{}", resource.plural, subresource.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": subresource.verbs,
            });
            if !subresource.version.is_empty() {
                value["group"] = subresource.group.clone().into();
                value["version"] = subresource.version.clone().into();
            }
            list.push(value);
        }
    }
    let mut resources = json!({
        "kind": "APIResourceList",
        "groupVersion": api_version(&group.name, &version.name),
        "resources": list,
    });
    // That of the core group has none in kube-apiserver.
    if !group.name.is_empty() {
        resources["apiVersion"] = "v1".into();
    }
    Some(resources)
}

/// The `apiVersion` and the kind as which kube-apiserver stores the objects of a resource. `None`: it does not say so, because it
/// stores none, or does not serve that version.
fn storage_type<'a>(resource: &'a Resource, group: &Group) -> Option<(String, &'a str)> {
    if let Some(custom) = &resource.custom {
        let storage = custom.versions.storage();
        let serves = |it: &Resource| it.plural == resource.plural && it.api_version() == storage;
        let mut served = group.versions.iter().flat_map(|version| &version.resources);
        return served.any(|it| serves(it)).then(|| (storage.to_owned(), resource.kind.as_str()));
    }
    if !resource.verbs.iter().any(|verb| verb == "watch") {
        return None;
    }
    // The others are stored in the version that is served.
    let version = match (&*resource.group, &*resource.kind) {
        ("events.k8s.io", "Event") => "v1".to_owned(),
        ("autoscaling", "HorizontalPodAutoscaler") => "autoscaling/v2".to_owned(),
        ("resource.k8s.io", "DeviceTaintRule") => "resource.k8s.io/v1beta2".to_owned(),
        (
            group @ ("apiextensions.k8s.io" | "certificates.k8s.io" | "storagemigration.k8s.io"),
            "CustomResourceDefinition"
            | "ClusterTrustBundle"
            | "PodCertificateRequest"
            | "StorageVersionMigration",
        ) => format!("{group}/v1beta1"),
        _ => resource.api_version(),
    };
    Some((version, &resource.kind))
}

/// `StorageVersionHash` of apiserver's `pkg/endpoints/discovery`.
fn storage_version_hash(api_version: &str, kind: &str) -> String {
    let separator = if api_version.contains('/') { "" } else { "/" };
    let text = format!("{separator}{api_version}/{kind}");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(&hash.as_ref()[..8])
}

/// The groups of this server and of aggregated ones, in order of preference.
fn aggregated_groups(cluster: &Cluster, groups: &[Group]) -> Vec<Value> {
    let local = groups.iter().filter(|group| !group.name.is_empty());
    let registered = cluster.api_services.current(&cluster.store);
    if registered.remote().next().is_none() {
        return local.map(aggregated_group).collect();
    }
    let mut all: Vec<AggregatedGroup<'_>> = local
        .map(|group| AggregatedGroup {
            name: &group.name,
            priority: group.priority,
            versions: group
                .versions
                .iter()
                .map(|it| (it.name.as_str(), it.priority, aggregated_version(it)))
                .collect(),
        })
        .collect();
    for (service, _) in registered.remote().filter(|(it, _)| !it.group.is_empty()) {
        let discovered = cluster.api_services.discovered(&service.name);
        let stale = || json!({"version": service.version, "freshness": "Stale"});
        let version = discovered.map_or_else(stale, |discovered| discovered.version);
        let index = all.iter().position(|group| group.name == service.group).unwrap_or_else(|| {
            all.push(AggregatedGroup { name: &service.group, priority: 0, versions: Vec::new() });
            all.len() - 1
        });
        let group = &mut all[index];
        group.priority = group.priority.max(service.group_priority);
        group.versions.retain(|(name, ..)| *name != service.version);
        group.versions.push((&service.version, service.version_priority, version));
        group.versions.sort_by(|(a, p, _), (b, q, _)| by_preference((a, *p), (b, *q)));
    }
    all.sort_by(|a, b| (b.priority, a.name).cmp(&(a.priority, b.name)));
    let values = all.into_iter().map(|group| {
        let versions: Vec<Value> = group.versions.into_iter().map(|(_, _, value)| value).collect();
        json!({"metadata": {"name": group.name}, "versions": versions})
    });
    values.collect()
}

/// A group that several servers may serve.
struct AggregatedGroup<'a> {
    name: &'a str,
    priority: i32,
    /// Their names, priorities and resources.
    versions: Vec<(&'a str, i32, Value)>,
}

fn aggregated_group(group: &Group) -> Value {
    let mut metadata = json!({});
    if !group.name.is_empty() {
        metadata["name"] = group.name.clone().into();
    }
    let versions: Vec<Value> = group.versions.iter().map(aggregated_version).collect();
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_version(version: &GroupVersion) -> Value {
    let resources: Vec<Value> = version.resources.iter().map(|it| aggregated_resource(it)).collect();
    json!({"version": version.name, "resources": resources, "freshness": "Current"})
}

fn aggregate(items: Vec<Value>) -> Response {
    let mut value =
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}});
    value["items"] = items.into();
    let mut response = render::value_response(StatusCode::OK, Encoding::Json, &value);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response
}

fn aggregated_resource(resource: &Resource) -> Value {
    // Built-in kinds omit their group and version, as kube-apiserver's do.
    let (group, version) = match resource.custom {
        Some(_) => (resource.group.as_str(), resource.version.as_str()),
        None => ("", ""),
    };
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|subresource| {
            let kind = if subresource.kind.is_empty() {
                json!({"group": group, "version": version, "kind": resource.kind})
            } else {
                json!({"group": subresource.group, "version": subresource.version, "kind": subresource.kind})
            };
            json!({"subresource": subresource.name, "responseKind": kind, "verbs": subresource.verbs})
        })
        .collect();
    let mut value = json!({
        "resource": resource.plural,
        "responseKind": {"group": group, "version": version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        value["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        value["categories"] = json!(resource.categories);
    }
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    value
}
