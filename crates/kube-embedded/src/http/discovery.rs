//! Discovery of the served resources, in its two forms: one list per group and version, and all at once.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::negotiate::{Encoding, aggregated_discovery};
use super::render::{self, Response};
use crate::resource::{Resource, api_version};
use crate::scheme::{Group, Scheme};

/// The content type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a discovery request. `None`: the path is not one of discovery's.
pub(super) fn answer(scheme: &Scheme, path: &str, headers: &HeaderMap) -> Option<Response> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let groups = scheme.groups();
    let aggregated = aggregated_discovery(headers);
    let value = match &parts[..] {
        [] | [""] => json!({"paths": paths(groups)}),
        ["api"] if aggregated => return Some(aggregate(groups.iter().filter(|group| group.name.is_empty()))),
        ["apis"] if aggregated => {
            return Some(aggregate(groups.iter().filter(|group| !group.name.is_empty())));
        }
        ["version"] => return Some(render::document(&version())),
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups.iter().filter(|group| !group.name.is_empty()).map(group_value).collect::<Vec<_>>(),
        }),
        ["apis", name] => {
            let mut group = group_value(groups.iter().find(|group| group.name == *name)?);
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

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        // The Kubernetes version whose behaviour this server has; the build is this crate's version.
        "gitVersion": concat!("v1.37.2+kube-embedded.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The processor's architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn paths(groups: &[Group]) -> Vec<String> {
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
        paths.extend(group.versions.iter().map(|(version, _)| format!("/apis/{}/{version}", group.name)));
    }
    paths.sort();
    paths
}

fn group_value(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": api_version(&group.name, version), "version": version}))
        .collect();
    json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(groups: &[Group], group: &str, version: &str) -> Option<Value> {
    let group = groups.iter().find(|it| it.name == group)?;
    let (_, resources) = group.versions.iter().find(|(it, _)| it == version)?;
    let mut list = Vec::new();
    for resource in resources {
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
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version(&group.name, version),
        "resources": list,
    }))
}

fn aggregate<'a>(groups: impl Iterator<Item = &'a Group>) -> Response {
    let items: Vec<Value> = groups
        .map(|group| {
            let mut metadata = json!({});
            if !group.name.is_empty() {
                metadata["name"] = group.name.clone().into();
            }
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources.iter().map(|it| aggregated_resource(it)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let value = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
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
