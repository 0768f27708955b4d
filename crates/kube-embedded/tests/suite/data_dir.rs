//! A server that keeps its state in a folder: the data that survives a restart, the data that does not, and foreign
//! files. The end-to-end tests of `crdctl serve` check that an acknowledged write survives `kill -9`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, WatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube_embedded::{Error, Server};
use serde_json::json;

use super::support::{DEADLINE, client, code};

fn start(folder: &Path) -> Server {
    Server::builder().data_dir(folder).start().expect("the folder is good")
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": "b"}})).expect("a map")
}

async fn create(server: &Server, name: &str) -> ConfigMap {
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    maps.create(&PostParams::default(), &map(name)).await.expect("it is new")
}

fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).expect("a version")
}

#[tokio::test]
async fn a_restart_keeps_objects_and_continues_their_versions() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let first = create(&server, "first").await;
    let gone = create(&server, "gone").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    maps.delete("gone", &DeleteParams::default()).await.unwrap();
    let last = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    let last: u64 = last.unwrap().parse().unwrap();
    drop(server);

    // A client of the dropped server does not block the new one, and can still read.
    let server = start(folder.path());
    maps.get("first").await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    assert_eq!(maps.get("first").await.unwrap(), first);
    assert_eq!(code(&maps.get("gone").await.unwrap_err()), 404);
    assert!(version(&create(&server, "second").await) > last);
    assert!(last > version(&gone));
}

#[tokio::test]
async fn a_restart_serves_definitions_and_their_instances() {
    let folder = tempfile::tempdir().unwrap();
    let thing = ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
    };
    let server = start(folder.path());
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"size": {"type": "integer", "maximum": 3}},
                }},
            }],
        },
    }))
    .unwrap();
    let definition = Api::all(server.client()).create(&PostParams::default(), &definition).await.unwrap();
    let things: Api<DynamicObject> = Api::default_namespaced_with(server.client(), &thing);
    let object = |name: &str, size: i32| -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "size": size,
        }))
        .unwrap()
    };
    let one = things.create(&PostParams::default(), &object("one", 1)).await.unwrap();
    drop(server);

    let server = start(folder.path());
    let things: Api<DynamicObject> = Api::default_namespaced_with(server.client(), &thing);
    assert_eq!(things.get("one").await.unwrap(), one);
    let refused = things.create(&PostParams::default(), &object("two", 4)).await.unwrap_err();
    assert_eq!(code(&refused), 422, "the schema holds");

    // And it can be deleted, together with its instances.
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client());
    definitions.delete("things.example.com", &DeleteParams::default()).await.unwrap();
    drop(server);
    let server = start(folder.path());
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client());
    let uid = definition.uid().unwrap();
    let waited = await_condition(definitions, "things.example.com", conditions::is_deleted(&uid));
    tokio::time::timeout(DEADLINE, waited).await.expect("the controllers continue").unwrap();
}

#[tokio::test]
async fn history_from_before_a_restart_is_expired() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let old = version(&create(&server, "old").await);
    let now = version(&create(&server, "new").await);
    drop(server);
    let server = start(folder.path());
    let request = |path: String| http::Request::get(path).body(Vec::new()).unwrap();
    let maps = "/api/v1/namespaces/default/configmaps";
    let exact = format!("{maps}?resourceVersion={old}&resourceVersionMatch=Exact");
    assert_eq!(code(&server.client().request_text(request(exact)).await.unwrap_err()), 410);
    let text = server.client().request_text(request(format!("{maps}?watch=1&resourceVersion={old}"))).await;
    assert!(text.unwrap().contains("\"code\":410"));
    // A collection that has never had an object has no history either.
    let empty = format!("/api/v1/endpoints?resourceVersion={old}&resourceVersionMatch=Exact");
    assert_eq!(code(&server.client().request_text(request(empty)).await.unwrap_err()), 410);
    // A client that is up to date can continue its watch.
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let latest = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    assert!(latest.parse::<u64>().unwrap() >= now);
    drop(maps.watch(&WatchParams::default(), &latest).await.unwrap());
}

#[tokio::test]
async fn a_kubeconfig_stays_valid() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let address = endpoint.addr().to_string();
    let token = server.add_user("jane", &["devs"]);
    let (admin, jane) = (endpoint.kubeconfig(), endpoint.kubeconfig_with("jane", &token));
    endpoint.stop().await;
    drop(server);

    let server = start(folder.path());
    let _endpoint = server.listen(&address).await.unwrap();
    assert_eq!(server.add_user("jane", &["devs"]), token);
    let namespaces: Api<Namespace> = Api::all(client(admin).await);
    assert_eq!(namespaces.list(&ListParams::default()).await.unwrap().items.len(), 4);
    let namespaces: Api<Namespace> = Api::all(client(jane).await);
    assert_eq!(
        code(&namespaces.list(&ListParams::default()).await.unwrap_err()),
        403,
        "known, without rights"
    );
}

#[tokio::test]
async fn many_writers_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let names: Vec<String> = (0..200).map(|number| format!("map-{number}")).collect();
    join_all(names.iter().map(|name| create(&server, name))).await;
    drop(server);
    let server = start(folder.path());
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), names.len());
}

#[tokio::test]
async fn a_folder_has_only_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let error = Server::builder().data_dir(folder.path()).start().unwrap_err();
    assert!(matches!(error, Error::DataInUse { .. }), "{error}");
    let place = folder.path().display();
    assert_eq!(error.to_string(), format!("the data folder {place} is in use by another server"));
    drop(server);
    drop(start(folder.path()));
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    for foreign in [&b"#!/bin/sh\n"[..], &[0; 10_000], b"redb\x1a\x0a\xa9\x0d\x0a"] {
        std::fs::write(&file, foreign).unwrap();
        let error = Server::builder().data_dir(folder.path()).start().unwrap_err();
        assert!(matches!(error, Error::DataDamaged { .. }), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), foreign);
    }
    let error = Server::builder().data_dir(&file).start().unwrap_err();
    assert!(matches!(error, Error::Data { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    for number in 0..20 {
        create(&server, &format!("map-{number}")).await;
    }
    drop(server);
    let file = folder.path().join("store.redb");
    let whole = std::fs::read(&file).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 41) {
        let mut damaged = whole.clone();
        let end = (at + 300).min(damaged.len());
        damaged[at..end].fill(0xa5);
        std::fs::write(&file, &damaged).unwrap();
        match Server::builder().data_dir(folder.path()).start() {
            // Not every page is in use. If the damaged one is not, all objects are still there.
            Ok(server) => {
                let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
                assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 20, "at {at}");
            }
            Err(Error::DataDamaged { .. }) => refused += 1,
            Err(other) => panic!("at {at}: {other:?}"),
        }
    }
    assert!(refused > 0);
    std::fs::write(&file, &whole).unwrap();
    drop(start(folder.path()));
}

#[tokio::test]
async fn a_store_is_private_to_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new/data");
    drop(start(&data));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("store.redb")), 0o600);
}
