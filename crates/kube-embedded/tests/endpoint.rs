//! The server on a socket: TLS, users, restarts, and clients that misbehave.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Client, Config};
use kube_embedded::{Error, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(20);

async fn client(kubeconfig: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    Client::try_from(config.expect("the kubeconfig is whole")).expect("its certificates are good")
}

fn status(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_kubeconfig_outlives_a_restart() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let (address, kubeconfig) = (endpoint.addr().to_string(), endpoint.kubeconfig());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(kubeconfig.clone()).await);
    let map = serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    endpoint.stop().await;
    assert!(TcpStream::connect(&address).await.is_err(), "nobody listens any more");

    let _endpoint = server.listen(&address).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(kubeconfig).await);
    maps.get("m").await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let address = endpoint.addr().to_string();
    let error = server.listen(&address).await.unwrap_err();
    assert!(matches!(error, Error::Taken { .. }));
    assert_eq!(error.to_string(), format!("cannot listen on {address}: the port is taken"));
}

#[tokio::test]
async fn each_request_has_a_user() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let list = async |kubeconfig: Kubeconfig| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client(kubeconfig).await);
        maps.list(&ListParams::default()).await.map(|list| list.items.len())
    };
    let wrong = list(endpoint.kubeconfig_with("jane", "wrong")).await.unwrap_err();
    assert_eq!(status(wrong), (401, "Unauthorized".to_owned()));

    let token = server.add_user("jane", &["devs"]);
    let jane = endpoint.kubeconfig_with("jane", &token);
    let refused = list(jane.clone()).await.unwrap_err();
    let message = "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!(status(refused), (403, message.to_owned()));

    let (roles, bindings): (Api<Role>, Api<RoleBinding>) =
        (Api::default_namespaced(server.client()), Api::default_namespaced(server.client()));
    let role = json!({
        "metadata": {"name": "readers"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
    });
    let binding = json!({
        "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "readers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}],
    });
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    assert_eq!(list(jane).await.unwrap(), 0);
}

#[tokio::test]
async fn only_who_may_speaks_for_others() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let list = async |mut kubeconfig: Kubeconfig| {
        let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
        user.impersonate = Some("bob".to_owned());
        let maps: Api<ConfigMap> = Api::default_namespaced(client(kubeconfig).await);
        status(maps.list(&ListParams::default()).await.unwrap_err())
    };
    let (code, message) = list(endpoint.kubeconfig()).await;
    assert_eq!(code, 403);
    assert!(message.starts_with("configmaps is forbidden: User \"bob\" cannot list"), "{message}");
    let jane = endpoint.kubeconfig_with("jane", &server.add_user("jane", &[]));
    let (code, message) = list(jane).await;
    assert_eq!(code, 403);
    assert!(message.starts_with("users \"bob\" is forbidden: User \"jane\" cannot impersonate"), "{message}");
}

#[tokio::test]
async fn garbage_on_the_port_hurts_nobody() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    // One that says nothing, for as long as the test takes.
    let _silent = TcpStream::connect(endpoint.addr()).await.unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(endpoint.addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The server may reset the connection: that too is an end.
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection ends");
    }
    client(endpoint.kubeconfig()).await.apiserver_version().await.unwrap();
}

#[tokio::test]
async fn bodies_are_bounded() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let client = client(endpoint.kubeconfig()).await;
    let send = async |body: Vec<u8>| {
        let request = http::Request::post("/api/v1/namespaces/default/configmaps")
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        client.request::<ConfigMap>(request).await.map(|_| ())
    };
    let large = json!({"metadata": {"name": "m"}, "data": {"x": "y".repeat(4 * 1024 * 1024)}});
    assert_eq!(status(send(large.to_string().into_bytes()).await.unwrap_err()).0, 413);
    let deep = format!("{{\"metadata\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(status(send(deep.into_bytes()).await.unwrap_err()).0, 400);
    assert_eq!(status(send(b"{".to_vec()).await.unwrap_err()).0, 400);
    assert_eq!(status(send(vec![0xff; 100]).await.unwrap_err()).0, 400);
}
