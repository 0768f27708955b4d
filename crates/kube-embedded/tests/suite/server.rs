//! The server without a socket, through kube's own client and runtime.

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, Discovery, ResourceExt};
use kube_embedded::Server;
use serde_json::{Value, json};

use super::support::{code, in_time};

fn blogs_definition() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "blogs.web.helloworld"},
        "spec": {
            "group": "web.helloworld",
            "names": {"kind": "Blog", "plural": "blogs", "shortNames": ["bl"]},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["url"],
                            "properties": {"url": {"type": "string", "minLength": 1}},
                        },
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }},
            }],
        },
    }))
    .expect("the definition is one")
}

fn blog(name: &str, url: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": name}, "spec": {"url": url},
    }))
    .expect("a blog is an object")
}

async fn install_blogs(client: &Client) -> Api<DynamicObject> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &blogs_definition()).await.expect("the definition is good");
    let established = conditions::is_crd_established();
    in_time(await_condition(definitions, "blogs.web.helloworld", established)).await.expect("it is served");
    let blogs = ApiResource {
        group: "web.helloworld".into(),
        version: "v1".into(),
        api_version: "web.helloworld/v1".into(),
        kind: "Blog".into(),
        plural: "blogs".into(),
    };
    Api::default_namespaced_with(client.clone(), &blogs)
}

#[tokio::test]
async fn a_new_server_has_its_namespaces_and_their_accounts() {
    let server = Server::start();
    let namespaces: Api<Namespace> = Api::all(server.client());
    let list = namespaces.list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = list.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    let accounts: Api<ServiceAccount> = Api::default_namespaced(server.client());
    in_time(await_condition(accounts, "default", |it: Option<&ServiceAccount>| it.is_some())).await.unwrap();
}

#[tokio::test]
async fn servers_are_isolated() {
    let (one, two) = (Server::start(), Server::start());
    install_blogs(&one.client()).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(two.client());
    assert!(definitions.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_definition_is_served_and_deleted_with_its_objects() {
    let server = Server::start();
    let client = server.client();
    let blogs = install_blogs(&client).await;
    let discovery = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    let group = discovery.groups().find(|group| group.name() == "web.helloworld").unwrap();
    assert_eq!(group.recommended_kind("Blog").unwrap().0.plural, "blogs");

    blogs.create(&PostParams::default(), &blog("one", "https://example.com")).await.unwrap();
    let refused = blogs.create(&PostParams::default(), &blog("two", "")).await.unwrap_err();
    assert_eq!(code(&refused), 422);
    let mut watch = in_time(blogs.watch(&WatchParams::default(), "0")).await.unwrap().boxed();
    assert!(matches!(in_time(watch.try_next()).await.unwrap(), Some(WatchEvent::Added(_))));

    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.delete("blogs.web.helloworld", &DeleteParams::default()).await.unwrap();
    assert!(matches!(in_time(watch.try_next()).await.unwrap(), Some(WatchEvent::Deleted(_))));
    assert!(in_time(watch.try_next()).await.unwrap().is_none(), "the watch ends with its resource");
    let gone = |it: Option<&CustomResourceDefinition>| it.is_none();
    in_time(await_condition(definitions, "blogs.web.helloworld", gone)).await.unwrap();
    assert_eq!(code(&blogs.list(&ListParams::default()).await.unwrap_err()), 404);
}

#[tokio::test]
async fn a_namespace_is_deleted_with_its_objects() {
    let server = Server::start();
    let client = server.client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    let mut held = ConfigMap::default();
    held.metadata.name = Some("held".into());
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();

    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let deleted = |it: Option<&ConfigMap>| it.is_some_and(|it| it.metadata.deletion_timestamp.is_some());
    in_time(await_condition(maps.clone(), "held", deleted)).await.unwrap();
    let late = serde_json::from_value(json!({"metadata": {"name": "late"}})).unwrap();
    let refused = maps.create(&PostParams::default(), &late).await.unwrap_err();
    assert_eq!(code(&refused), 403);

    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(&release)).await.unwrap();
    in_time(await_condition(namespaces, "team", |it: Option<&Namespace>| it.is_none())).await.unwrap();
}

#[tokio::test]
async fn dependents_follow_the_deletion_policy_of_their_owner() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let make = async |value: Value| {
        maps.create(&PostParams::default(), &serde_json::from_value(value).unwrap()).await.unwrap()
    };
    for (policy, stays) in [
        (DeleteParams::background(), false),
        (DeleteParams::foreground(), false),
        (DeleteParams::orphan(), true),
    ] {
        let owner = make(json!({"metadata": {"name": "owner"}})).await;
        let reference = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid().unwrap(),
            "blockOwnerDeletion": true,
        });
        make(json!({"metadata": {"name": "owned", "ownerReferences": [reference]}})).await;
        maps.delete("owner", &policy).await.unwrap();
        let gone = |it: Option<&ConfigMap>| it.is_none();
        in_time(await_condition(maps.clone(), "owner", gone)).await.unwrap();
        if stays {
            let owned = maps.get("owned").await.unwrap();
            assert_eq!(owned.metadata.owner_references, None);
        } else {
            in_time(await_condition(maps.clone(), "owned", gone)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_secret_is_written_as_text_and_read_encoded() {
    let server = Server::start();
    let secrets: Api<Secret> = Api::default_namespaced(server.client());
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "swordfish"}});
    let stored =
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    assert_eq!(stored.data.unwrap()["password"].0, b"swordfish");
    assert_eq!((stored.string_data, stored.type_.as_deref()), (None, Some("Opaque")));
}

#[tokio::test]
async fn kubes_watcher_follows_changes_across_a_compaction() {
    let server = Server::start();
    let client = server.client();
    let blogs = install_blogs(&client).await;
    blogs.create(&PostParams::default(), &blog("one", "https://example.com")).await.unwrap();
    let mut events = watcher(blogs.clone(), watcher::Config::default().streaming_lists()).boxed();
    let mut next = async || in_time(events.try_next()).await.unwrap().unwrap();
    assert!(matches!(next().await, watcher::Event::Init));
    assert!(matches!(next().await, watcher::Event::InitApply(it) if it.name_any() == "one"));
    assert!(matches!(next().await, watcher::Event::InitDone));
    server.compact();
    blogs.create(&PostParams::default(), &blog("two", "https://example.com")).await.unwrap();
    assert!(matches!(next().await, watcher::Event::Apply(it) if it.name_any() == "two"));
    blogs.delete("one", &DeleteParams::default()).await.unwrap();
    assert!(matches!(next().await, watcher::Event::Delete(it) if it.name_any() == "one"));
}

#[tokio::test]
async fn dropping_the_server_ends_its_watches() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let mut watch = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    drop(server);
    assert!(in_time(watch.try_next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_long_list_is_sent_whole() {
    let server = Server::start();
    let blogs = install_blogs(&server.client()).await;
    let url = format!("https://example.com/{}", "x".repeat(1000));
    for number in 0..700 {
        blogs.create(&PostParams::default(), &blog(&format!("blog-{number:03}"), &url)).await.unwrap();
    }
    let list = blogs.list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = list.iter().map(ResourceExt::name_any).collect();
    let expected: Vec<_> = (0..700).map(|number| format!("blog-{number:03}")).collect();
    assert_eq!(names, expected);
}

/// The ClusterRole `edit` aggregates the rules of other roles, including roles that are created later.
#[tokio::test]
async fn cluster_roles_are_aggregated() {
    let server = Server::start();
    let client = server.client();
    let post = |path: &str, body: Value| {
        let request = http::Request::post(path).header("content-type", "application/json");
        client.request::<Value>(request.body(body.to_string().into_bytes()).expect("a request"))
    };
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let binding = json!({
        "metadata": {"name": "jane"},
        "roleRef": {"kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    post(&format!("{base}/namespaces/default/rolebindings"), binding).await.unwrap();
    let allowed = async |verb: &str, group: &str, resource: &str| {
        let attributes = json!({"namespace": "default", "verb": verb, "group": group, "resource": resource});
        let review = json!({"spec": {"user": "jane", "resourceAttributes": attributes}});
        let answer = post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review).await.unwrap();
        answer["status"]["allowed"].clone()
    };
    assert_eq!(allowed("create", "", "configmaps").await, true);
    // This rule comes from `view`, which `edit` aggregates.
    assert_eq!(allowed("list", "apps", "deployments").await, true);
    assert_eq!(allowed("create", "rbac.authorization.k8s.io", "roles").await, false);
    assert_eq!(allowed("list", "web.helloworld", "blogs").await, false);
    let role = json!({
        "metadata": {"name": "blogs", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["web.helloworld"], "resources": ["blogs"], "verbs": ["list"]}],
    });
    post(&format!("{base}/clusterroles"), role).await.unwrap();
    assert_eq!(allowed("list", "web.helloworld", "blogs").await, true);
}
