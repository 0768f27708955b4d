//! Properties that hold for any bytes a client sends. `fuzz/README.md` in the repository describes who calls these
//! functions.
//!
//! The requests go to a server with a few objects, and every write is a dry run, so the server is the same for each
//! input.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower_service::Service as _;

use kube_builtin::protobuf;

use crate::http::Body;
use crate::resource::Resource;
use crate::scheme::Scheme;
use crate::server::Server;

const BLOGS: &str = "/apis/web.helloworld/v1/namespaces/default/blogs";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A selector is refused with 400, or selects the same objects in one list as page by page.
pub fn selectors(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    with_cluster(|cluster| {
        for path in [BLOGS, CONFIG_MAPS, "/api/v1/pods", "/api/v1/nodes"] {
            for selector in ["labelSelector", "fieldSelector"] {
                let (code, list) = cluster.list(path, &[(selector, &text)]);
                let mut paged = Vec::new();
                let mut token = String::new();
                loop {
                    let (page_code, page) =
                        cluster.list(path, &[(selector, &text), ("limit", "1"), ("continue", &token)]);
                    assert_eq!(page_code, code, "{page}");
                    paged.extend(keys(&page));
                    match page["metadata"]["continue"].as_str() {
                        Some(next) if !next.is_empty() => next.clone_into(&mut token),
                        _ => break,
                    }
                }
                assert!(matches!(code, StatusCode::OK | StatusCode::BAD_REQUEST), "{code}: {list}");
                assert_eq!(keys(&list), paged);
            }
        }
    });
}

/// A continue token is refused with 400 or 410, or the list continues after its key.
pub fn continue_tokens(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let encode = |token: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(token);
    let start = json!({"v": "meta.k8s.io/v1", "rv": -1, "start": format!("{text}\0")});
    with_cluster(|cluster| {
        for (path, prefix) in [(CONFIG_MAPS, "default/"), ("/api/v1/configmaps", ""), ("/api/v1/nodes", "")] {
            let (_, whole) = cluster.list(path, &[]);
            let whole = keys(&whole);
            for token in [text.as_ref(), &encode(input)] {
                let (code, page) = cluster.list(path, &[("continue", token)]);
                let known = [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::GONE];
                assert!(known.contains(&code), "{code}: {page}");
                assert!(whole.ends_with(&keys(&page)));
            }
            let (code, page) = cluster.list(path, &[("continue", &encode(start.to_string().as_bytes()))]);
            if code == StatusCode::OK {
                let after = format!("{prefix}{}", text.strip_prefix('/').unwrap_or(&text));
                let rest: Vec<String> = whole.into_iter().filter(|key| *key > after).collect();
                assert_eq!(keys(&page), rest);
            } else {
                assert_eq!(code, StatusCode::BAD_REQUEST);
            }
        }
    });
}

/// A patch results in a complete object, and does not change its identity. A dry run changes nothing.
///
/// The first byte of the input selects the kind of patch, and the object that it is for.
pub fn patches(input: &[u8]) {
    let Some((how, body)) = input.split_first() else { return };
    let path = match how & 4 {
        0 => format!("{BLOGS}/first"),
        _ => format!("{DEPLOYMENTS}/first"),
    };
    let kind = match how % 4 {
        0 => "application/json-patch+json",
        1 => "application/merge-patch+json",
        2 => "application/strategic-merge-patch+json",
        _ => "application/apply-patch+yaml",
    };
    with_cluster(|cluster| {
        let (_, live) = cluster.request("GET", &path, "", &[], b"");
        let force: &[(&str, &str)] = if how & 8 == 0 || how % 4 != 3 { &[] } else { &[("force", "true")] };
        let query = [&[("dryRun", "All"), ("fieldManager", "fuzz")], force].concat();
        let (code, answer) = cluster.request("PATCH", &path, kind, &query, body);
        if code == StatusCode::OK {
            for field in ["name", "namespace", "uid", "creationTimestamp"] {
                assert_eq!(answer["metadata"][field], live["metadata"][field]);
            }
        } else {
            assert!(code.is_client_error() || how % 4 >= 2, "{code}: {answer}");
        }
        let (_, unpatched) = cluster.request("GET", &path, "", &[], b"");
        assert_eq!(unpatched, live);
    });
}

/// A body is refused, or the resulting object is valid as it is: creating it again does not change it.
///
/// The first byte of the input selects the encoding, and the second one the kind.
pub fn content(input: &[u8]) {
    with_cluster(|cluster| {
        let Some((path, code, created)) = dry_create(cluster, input) else { return };
        if code != StatusCode::CREATED || created["metadata"]["name"].is_null() {
            return;
        }
        let again = serde_json::to_vec(&created).expect("a value is JSON");
        let query = [("dryRun", "All"), ("fieldValidation", "Strict")];
        let (code, same) = cluster.request("POST", path, "application/json", &query, &again);
        assert_eq!(code, StatusCode::CREATED, "{same}\n{created:#}");
        assert_eq!(without_identity(same), without_identity(created));
    });
}

/// The path of a dry-run create, and the response.
fn dry_create<'a>(cluster: &'a Cluster, input: &[u8]) -> Option<(&'a str, StatusCode, Value)> {
    let [how, which, body @ ..] = input else { return None };
    let media_type = match how % 3 {
        0 => "application/json",
        1 => "application/yaml",
        _ => protobuf::MEDIA_TYPE,
    };
    let path = &cluster.collections[usize::from(*which) % cluster.collections.len()];
    let (code, answer) = cluster.request("POST", path, media_type, &[("dryRun", "All")], body);
    Some((path, code, answer))
}

/// An object without the metadata that is new for each object.
fn without_identity(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "creationTimestamp", "managedFields"] {
            metadata.remove(field);
        }
    }
    object
}

/// The keys of a list's objects in the server.
fn keys(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    let key = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        match text("namespace") {
            "" => text("name").to_owned(),
            namespace => format!("{namespace}/{}", text("name")),
        }
    };
    items.map(key).collect()
}

/// The paths where objects of each kind can be created.
fn collections() -> Vec<String> {
    let scheme = Scheme::new();
    let resources = scheme.groups().iter().flat_map(|group| &group.versions).flat_map(|it| &it.resources);
    // Resources that can only be created are questions, which are not stored.
    let kept = resources.filter(|it| it.verbs.len() > 1 && it.verbs.iter().any(|verb| verb == "create"));
    let path = |resource: &Arc<Resource>| {
        let group = if resource.group.is_empty() { "/api" } else { "/apis" };
        let namespace = if resource.namespaced { "/namespaces/default" } else { "" };
        format!("{group}/{}{namespace}/{}", resource.api_version(), resource.plural)
    };
    let mut paths: Vec<String> = kept.map(path).chain([BLOGS.to_owned()]).collect();
    paths.sort_unstable();
    paths
}

/// A server with a few objects.
struct Cluster {
    runtime: tokio::runtime::Runtime,
    server: Server,
    collections: Vec<String>,
}

fn with_cluster(check: impl FnOnce(&Cluster)) {
    thread_local! {
        static CLUSTER: Cluster = Cluster::start();
    }
    CLUSTER.with(check);
}

impl Cluster {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("there is a clock");
        let entered = runtime.enter();
        let server = Server::start();
        drop(entered);
        let schema: Value =
            serde_json::from_str(include_str!("../../kube-patch/src/apply/tests/schema.json"))
                .expect("is JSON");
        let cluster = Self { runtime, server, collections: collections() };
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "blogs.web.helloworld"},
            "spec": {
                "group": "web.helloworld",
                "scope": "Namespaced",
                "names": {"plural": "blogs", "kind": "Blog"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                    "selectableFields": [{"jsonPath": ".spec.url"}], "subresources": {"status": {}},
                }],
            },
        });
        cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
        for (name, app) in [("first", "a"), ("second", "a"), ("third", "b")] {
            let metadata = json!({"name": name, "labels": {"app": app, "tier": "1"}});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata});
            cluster.create("/api/v1/nodes", &node);
            let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
            cluster.create(CONFIG_MAPS, &config);
            let spec = json!({
                "url": name, "tags": ["p", "q"], "ports": [{"port": 1}, {"port": 2, "tags": ["x"]}],
                "labels": {"a": "1"}, "atomic": {"a": "1"}, "free": {"a": [1, {"b": true}]}, "list": ["x", "x"],
            });
            let blog = json!({"apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": metadata, "spec": spec});
            cluster.create(BLOGS, &blog);
        }
        let containers = json!([
            {"name": "a", "image": "a", "ports": [{"containerPort": 80}], "env": [{"name": "X", "value": "1"}]},
            {"name": "b", "image": "b", "args": ["x"]},
        ]);
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "first"},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}},
            },
        });
        cluster.create(DEPLOYMENTS, &deployment);
        cluster
    }

    fn create(&self, path: &str, object: &Value) {
        let body = object.to_string();
        let (code, answer) = self.request("POST", path, "application/json", &[], body.as_bytes());
        assert_eq!(code, StatusCode::CREATED, "{answer}");
    }

    fn list(&self, path: &str, query: &[(&str, &str)]) -> (StatusCode, Value) {
        self.request("GET", path, "", query, b"")
    }

    /// Returns the code and the object of the response.
    fn request(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        query: &[(&str, &str)],
        body: &[u8],
    ) -> (StatusCode, Value) {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{path}?{query}"))
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::from(body.to_vec()))
            .expect("is a request");
        self.runtime.block_on(async {
            let Ok(response) = self.server.service().call(request).await;
            let code = response.status();
            let body = response.into_body().collect().await.expect("the body is there").to_bytes();
            (code, serde_json::from_slice(&body).expect("an answer is JSON"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input causes some hundred requests.
    const CASES: u32 = 64;

    #[test]
    fn all_selectors() {
        fuzz::check("selectors", CASES, selectors);
    }

    #[test]
    fn all_continue_tokens() {
        fuzz::check("continue_tokens", CASES, continue_tokens);
    }

    #[test]
    fn all_patches() {
        fuzz::check("patches", CASES, patches);
    }

    #[test]
    fn all_content() {
        fuzz::check("content", CASES, content);
    }

    /// A seed that is refused at once would be of little use to a fuzzer. Some are CRDs with rules.
    #[cfg(feature = "cel")]
    #[test]
    fn the_server_takes_the_seeds() {
        with_cluster(|cluster| {
            for seed in fuzz::seeds("content") {
                let (path, code, answer) = dry_create(cluster, &seed).unwrap();
                assert_eq!(code, StatusCode::CREATED, "{path}: {answer}");
            }
        });
    }
}
