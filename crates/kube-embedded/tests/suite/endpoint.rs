//! The server on a socket: TLS, users, restarts, and clients that misbehave.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams, PostParams, WatchParams};
use kube::config::Kubeconfig;
use kube_embedded::faults::{Fault, Verb};
use kube_embedded::{Endpoint, Error, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::{DEADLINE, client};

/// Opens a TLS connection without HTTP, for clients that misbehave.
async fn connect(endpoint: &Endpoint) -> TlsStream<TcpStream> {
    let kubeconfig = endpoint.kubeconfig();
    let cluster = kubeconfig.clusters[0].cluster.as_ref().expect("a cluster");
    let pem = cluster.certificate_authority_data.as_ref().expect("an authority");
    let pem = base64::prelude::BASE64_STANDARD.decode(pem).expect("base64");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(endpoint.addr()).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
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
    assert!(TcpStream::connect(&address).await.is_err(), "the port is closed");

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
async fn impersonation_requires_permission() {
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
async fn garbage_on_the_port_is_harmless() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    // A client that sends nothing during the whole test.
    let _silent = TcpStream::connect(endpoint.addr()).await.unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(endpoint.addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The server may also reset the connection.
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection ends");
    }
    client(endpoint.kubeconfig()).await.apiserver_version().await.unwrap();
}

/// Request smuggling: parsers may disagree on where such a request ends, so the bytes that follow it must not be read as a
/// second request.
#[tokio::test]
async fn no_request_is_smuggled() {
    const SHAPES: [&str; 14] = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 60\r\n\r\nhello",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: 5, 6\r\n\r\nhello",
        "Content-Length: 0x5\r\n\r\nhello",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        "Host: y\r\nContent-Length: 5\r\n\r\nhello",
    ];
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let token = server.add_user("one", &["system:masters"]);
    for shape in SHAPES {
        let mut stream = connect(&endpoint).await;
        let request = format!(
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{shape}GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It does not matter how the connection is closed.
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400"), "{shape:?}: {answer}");
        assert!(!answer.contains("gitVersion"), "{shape:?}: {answer}");
    }
}

#[tokio::test]
async fn slow_clients_do_not_block_others() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let token = server.add_user("slow", &["system:masters"]);
    let mut held = (Vec::new(), Vec::new());
    for _ in 0..50 {
        // Half a handshake, half a head, half a body.
        let mut stream = TcpStream::connect(endpoint.addr()).await.unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
        held.0.push(stream);
        let body = format!(
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n{{"
        );
        for part in ["GET /version HTTP/1.1\r\nX-", &body] {
            let mut stream = connect(&endpoint).await;
            stream.write_all(part.as_bytes()).await.unwrap();
            held.1.push(stream);
        }
    }
    let maps: Api<ConfigMap> = Api::default_namespaced(client(endpoint.kubeconfig()).await);
    let map = serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap();
    let written = async { maps.create(&PostParams::default(), &map).await };
    tokio::time::timeout(DEADLINE, written).await.expect("an answer").unwrap();
}

#[tokio::test]
async fn a_client_certificate_authenticates_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().data_dir(folder.path()).start().unwrap();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let address = endpoint.addr().to_string();
    let review = async |kubeconfig: Kubeconfig| {
        let reviews: Api<SelfSubjectReview> = Api::all(client(kubeconfig).await);
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let user = review.status.unwrap_or_default().user_info.unwrap_or_default();
        Ok::<_, kube::Error>((user.username.unwrap_or_default(), user.groups.unwrap_or_default()))
    };
    let jane = endpoint.kubeconfig_with_certificate("jane", &["devs", "ops"]).unwrap();
    let expected = ("jane".to_owned(), ["devs", "ops", "system:authenticated"].map(str::to_owned).to_vec());
    assert_eq!(review(jane.clone()).await.unwrap(), expected);
    let root = endpoint.kubeconfig_with_certificate("root", &["system:masters"]).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(root).await);
    maps.list(&ListParams::default()).await.unwrap();

    // Certificates of another server are not accepted.
    let other = Server::start();
    let elsewhere = other.listen("127.0.0.1:0").await.unwrap();
    let mut stranger = jane.clone();
    stranger.auth_infos = elsewhere.kubeconfig_with_certificate("jane", &[]).unwrap().auth_infos;
    assert!(review(stranger).await.is_err());

    // The certificate is still valid after a restart.
    endpoint.stop().await;
    drop(server);
    let server = Server::builder().data_dir(folder.path()).start().unwrap();
    let _endpoint = server.listen(&address).await.unwrap();
    assert_eq!(review(jane).await.unwrap(), expected);
}

#[tokio::test]
async fn stopping_ends_watches_and_lets_requests_finish() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(endpoint.kubeconfig()).await);
    let mut watch = maps.watch(&WatchParams::default().timeout(290), "0").await.unwrap().boxed();
    let slow = server.faults().on(Verb::List, "configmaps").inject(Fault::Delay(Duration::from_millis(100)));
    let listed = tokio::spawn({
        let maps = maps.clone();
        async move { maps.list(&ListParams::default()).await }
    });
    tokio::time::timeout(DEADLINE, slow.wait_for_hits(1)).await.unwrap();
    endpoint.stop().await;
    listed.await.unwrap().expect("it was in flight");
    let end = tokio::time::timeout(DEADLINE, watch.try_next()).await.unwrap();
    assert!(matches!(end, Ok(None)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_disconnected() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let ends = async |mut stream: TlsStream<TcpStream>| {
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(200), stream.read_to_end(&mut answer)).await.map(|_| answer)
    };
    // No request at all, half a head, half a body.
    ends(connect(&endpoint).await).await.expect("a connection without a request ends");
    let mut stream = connect(&endpoint).await;
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    ends(stream).await.expect("a head has 30 s");
    let mut stream = connect(&endpoint).await;
    let token = server.add_user("slow", &["system:masters"]);
    let head = format!(
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = ends(stream).await.expect("a body has 60 s");
    assert!(answer.starts_with(b"HTTP/1.1 504"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn bodies_that_expand_when_parsed_are_refused() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let client = client(endpoint.kubeconfig()).await;
    let send = async |method: &str, path: &str, kind: &str, body: String| {
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body.into_bytes()).unwrap();
        let sent = tokio::time::timeout(DEADLINE, client.request::<serde_json::Value>(request));
        status(sent.await.expect("an answer").unwrap_err()).0
    };
    let maps = "/api/v1/namespaces/default/configmaps";
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert_eq!(send("POST", maps, "application/yaml", bomb.clone()).await, 400);
    let apply = format!("{maps}/m?fieldManager=test");
    assert_eq!(send("PATCH", &apply, "application/apply-patch+yaml", bomb).await, 400);
    let deep = format!("a: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(send("POST", maps, "application/yaml", deep).await, 400);
    client.apiserver_version().await.unwrap();
}

/// A client that is still sending gets the answer, and the connection is closed rather than reset.
#[tokio::test]
async fn requests_with_large_heads_are_answered() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let token = server.add_user("one", &["system:masters"]);
    for (line, header, expected) in [
        (String::new(), "a".repeat(1_000_000), "HTTP/1.1 200"),
        (String::new(), "a".repeat(2_000_000), "HTTP/1.1 431"),
        ("a".repeat(100_000), String::new(), "HTTP/1.1 414"),
        ("a".repeat(2_000_000), String::new(), "HTTP/1.1 431"),
    ] {
        let mut stream = connect(&endpoint).await;
        let request = format!(
            "GET /version?{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-Large: {header}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(ended.is_ok() && answer.starts_with(expected), "{expected}: {ended:?} {answer}");
    }
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

#[tokio::test]
async fn a_lost_answer_has_no_first_byte() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let token = server.add_user("one", &["system:masters"]);
    let lost = server.faults().on(Verb::List, "configmaps").inject(Fault::AnswerLost);
    let mut stream = connect(&endpoint).await;
    let request =
        format!("GET /api/v1/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // It does not matter how the connection is closed.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert_eq!(lost.hits(), 1);
}
