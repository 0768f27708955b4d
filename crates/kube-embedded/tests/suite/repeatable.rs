//! Servers whose answers can be repeated: their time is tokio's, and their random numbers come from a seed.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube_embedded::faults::{Fault, Verb};
use kube_embedded::{Server, ServerBuilder};
use tokio::time::Instant;
use tower::ServiceExt;

const START: &str = "2026-01-01T00:00:00Z";

fn builder() -> ServerBuilder {
    Server::builder().tokio_clock(START.parse().expect("a time"))
}

async fn create(maps: &Api<ConfigMap>) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.generate_name = Some("map-".into());
    maps.create(&PostParams::default(), &map).await.expect("it is new")
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_real_in_tokios_time() {
    let real = std::time::Instant::now();
    let server = builder().start().unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let first = create(&maps).await;
    assert_eq!(first.creation_timestamp().unwrap().0.to_string(), START);

    // The client waits for an hour; the server sends a bookmark each minute, and forgets the history.
    let (old, new) = (first.resource_version().unwrap(), create(&maps).await.resource_version().unwrap());
    let mut watch = maps.watch(&WatchParams::default().timeout(200), &new).await.unwrap().boxed();
    let since = Instant::now();
    for minutes in 1..=3 {
        assert!(matches!(watch.try_next().await.unwrap(), Some(WatchEvent::Bookmark(_))));
        assert_eq!(since.elapsed().as_secs(), minutes * 60);
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let _slow = server.faults().on(Verb::Create, "configmaps").inject(Fault::Delay(Duration::from_secs(30)));
    let late = create(&maps).await.creation_timestamp().unwrap().0.to_string();
    assert_eq!(late, "2026-01-01T01:03:30Z");
    let mut expired = maps.watch(&WatchParams::default(), &old).await.unwrap().boxed();
    let event = expired.try_next().await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Error(ref status)) if status.code == 410), "{event:?}");
    assert!(real.elapsed() < Duration::from_secs(60), "the hour was not real");
}

/// All that a server with this seed answers, and what the controllers do meanwhile.
async fn everything(seed: u64) -> Vec<String> {
    let server = builder().seed(seed).start().expect("it has no data folder");
    let mut seen = vec![server.add_user("jane", &["devs"])];
    let mut send = async |method: &str, path: &str, body: &str| {
        let request = http::Request::builder().method(method).uri(path).body(body.as_bytes().to_vec().into());
        let request: http::Request<kube::client::Body> = request.expect("a request");
        let response = server.service().oneshot(request).await.expect("it never fails");
        let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
        seen.push(String::from_utf8(body.to_vec()).expect("JSON"));
    };
    let (configs, secrets) = ("/api/v1/namespaces/web/configmaps", "/api/v1/namespaces/web/secrets");
    send("POST", "/api/v1/namespaces", r#"{"metadata": {"name": "web"}}"#).await;
    for _ in 0..5 {
        send("POST", configs, r#"{"metadata": {"generateName": "a-"}}"#).await;
        send("POST", secrets, r#"{"metadata": {"generateName": "b-", "finalizers": ["x/y"]}}"#).await;
        send("POST", "/apis/apps/v1/namespaces/web/deployments", r#"{"metadata": {"name": "x"}}"#).await;
        send(
            "POST",
            "/api/v1/namespaces/web/events",
            r#"{"metadata": {"generateName": "e-", "namespace": "web"},
            "involvedObject": {"namespace": "web"}}"#,
        )
        .await;
    }
    // The namespace's contents are deleted by the controllers, and the last write of each is in its version.
    send("DELETE", "/api/v1/namespaces/web", "").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for path in ["/api/v1/namespaces", configs, secrets, "/api/v1/serviceaccounts", "/apis", "/api/v1"] {
        send("GET", path, "").await;
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_every_byte() {
    let first = everything(1).await;
    let again = everything(1).await;
    for (one, other) in first.iter().zip(&again) {
        assert_eq!(one, other);
    }
    let other = everything(2).await;
    assert_ne!(first[0], other[0], "the user's token");
    assert_ne!(first[1], other[1], "the namespace's uid");
    assert_ne!(first[2], other[2], "the generated name");
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_what_its_original_has_and_each_changes_alone() {
    let original = builder().start().unwrap();
    let token = original.add_user("jane", &["devs"]);
    let of = |server: &Server| -> Api<ConfigMap> { Api::default_namespaced(server.client()) };
    let names = async |server: &Server| -> Vec<String> {
        let list = of(server).list(&ListParams::default()).await.unwrap();
        list.iter().map(ConfigMap::name_any).filter(|name| name.starts_with("map-")).collect()
    };
    let before = create(&of(&original)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let copy = builder().start_copy(&original);
    assert_eq!(copy.add_user("jane", &["devs"]), token);
    assert_eq!(of(&copy).get(&before.name_any()).await.unwrap(), before);
    // A watch continues at the original's version, and what was before that is gone.
    let version = of(&copy).list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut watch = of(&copy).watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let mut expired = of(&copy).watch(&WatchParams::default(), "1").await.unwrap().boxed();
    let event = expired.try_next().await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Error(ref status)) if status.code == 410), "{event:?}");

    let of_the_copy = create(&of(&copy)).await.name_any();
    let event = watch.try_next().await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Added(ref map)) if map.name_any() == of_the_copy), "{event:?}");
    of(&original).delete(&before.name_any(), &DeleteParams::default()).await.unwrap();
    assert_eq!(names(&original).await, [""; 0]);
    assert_eq!(names(&copy).await.len(), 2);
}
