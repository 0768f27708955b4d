//! The client's requests, as a real TLS server receives them.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Request, StatusCode};
use kube::client::Body;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::sandbox::{Sandbox, one, text};
use crate::server::{Answer, Ca, Proxy, Seen, Server, base64, only};

const V1: &str = "client.authentication.k8s.io/v1";
const LONG_AGO: &str = "2001-01-01T00:00:00Z";
const FAR_AWAY: &str = "2999-01-01T00:00:00Z";

pub(crate) fn client(sandbox: &Sandbox, cluster: &str, user: &str) -> kube::Client {
    sandbox.write("home/.kube/config", one(cluster, user));
    sandbox.load().unwrap().client().unwrap()
}

pub(crate) async fn get(client: &kube::Client) -> Result<StatusCode, kube::Error> {
    send(client, Request::get("/version").body(Body::empty()).unwrap()).await
}

async fn send(client: &kube::Client, request: Request<Body>) -> Result<StatusCode, kube::Error> {
    let response = client.send(request).await?;
    let status = response.status();
    response.into_body().collect().await.unwrap();
    Ok(status)
}

fn bearer(token: &str) -> Option<String> {
    Some(format!("Bearer {token}"))
}

fn exec(command: &str) -> String {
    format!("exec: {{apiVersion: {V1}, interactiveMode: Never, command: '{command}'}}")
}

fn credential(status: &str) -> String {
    format!("{{\"kind\":\"ExecCredential\",\"apiVersion\":\"{V1}\",\"status\":{{{status}}}}}")
}

/// A script body that responds with this status.
fn answering(status: &str) -> String {
    format!("cat <<'END'\n{}\nEND", credential(status))
}

fn ok(_: &Seen) -> StatusCode {
    StatusCode::OK
}

/// Joins all causes of a failed request.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        all = format!("{all}: {error}");
        next = error.source();
    }
    all
}

#[tokio::test]
async fn a_token_and_the_impersonation_are_sent() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let user = "token: t, as: boss, as-uid: '7', as-groups: [a, b], as-user-extra: {'Acme/Reason': [x, z]}";
    assert_eq!(get(&client(&sandbox, &server.cluster(), user)).await.unwrap(), StatusCode::OK);
    let seen = &server.seen()[0];
    assert_eq!((seen.path.as_str(), seen.header("authorization")), ("/version", Some("Bearer t")));
    assert_eq!(seen.header("impersonate-user"), Some("boss"));
    assert_eq!(seen.header("impersonate-uid"), Some("7"));
    let all =
        |name| seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("impersonate-group"), ["a", "b"]);
    assert_eq!(all("impersonate-extra-acme%2freason"), ["x", "z"]);
}

#[tokio::test]
async fn a_user_name_and_password_are_sent() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    get(&client(&sandbox, &server.cluster(), "username: me, password: 'p:w'")).await.unwrap();
    assert_eq!(server.authorizations(), [Some(format!("Basic {}", base64("me:p:w")))]);
}

#[tokio::test]
async fn a_request_with_its_own_authorization_keeps_it() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let plugin = sandbox.script("plugin", "exit 1");
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    let request = Request::get("/").header("authorization", "Bearer own").body(Body::empty()).unwrap();
    send(&client, request).await.unwrap();
    assert_eq!(server.authorizations(), [bearer("own")]);
    assert_eq!(sandbox.calls("plugin"), 0);
}

#[tokio::test]
async fn a_path_in_the_servers_address_is_prepended() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let cluster = server.cluster().replace(&server.url(), &format!("{}/k8s/c-1", server.url()));
    get(&client(&sandbox, &cluster, "")).await.unwrap();
    assert_eq!(server.seen()[0].path, "/k8s/c-1/version");
}

#[tokio::test]
async fn no_credential_is_sent_without_tls() {
    let (sandbox, server) = (Sandbox::new(), Server::start_plain().await);
    let plugin = sandbox.script("plugin", &answering(r#""token":"t""#));
    let url = format!("server: '{}'", server.address);
    for user in ["token: t", "username: me, password: p", &exec(&text(&plugin)), "auth-provider: {name: gcp}"]
    {
        get(&client(&sandbox, &url, user)).await.unwrap();
    }
    assert_eq!(server.authorizations(), [None, None, None, None]);
    assert_eq!(sandbox.calls("plugin"), 0);
}

#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let other = format!("server: '{}', certificate-authority-data: {}", server.url(), base64(&Ca::new().pem));
    let error = get(&client(&sandbox, &other, "token: t")).await.unwrap_err();
    assert!(causes(&error).contains("certificate"), "{}", causes(&error));
    let insecure = format!("server: '{}', insecure-skip-tls-verify: true", server.url());
    assert_eq!(get(&client(&sandbox, &insecure, "token: t")).await.unwrap(), StatusCode::OK);
    assert_eq!(server.authorizations(), [bearer("t")]);
}

#[tokio::test]
async fn an_authority_in_a_file_is_trusted() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    sandbox.write("home/.kube/pki/ca.pem", &server.ca.pem);
    let cluster = format!("server: '{}', certificate-authority: pki/ca.pem", server.url());
    assert_eq!(get(&client(&sandbox, &cluster, "")).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn the_server_is_checked_against_tls_server_name() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let cluster = |name| format!("{}, tls-server-name: {name}", server.cluster());
    assert_eq!(get(&client(&sandbox, &cluster("api.test"), "")).await.unwrap(), StatusCode::OK);
    get(&client(&sandbox, &cluster("other.test"), "")).await.unwrap_err();
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let (certificate, key) = server.ca.issue(&["me"]);
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap().to_vec();
    sandbox.write("home/.kube/me.crt", &certificate);
    sandbox.write("home/.kube/me.key", &key);
    let data =
        format!("client-certificate-data: {}, client-key-data: {}", base64(&certificate), base64(&key));
    for user in ["client-certificate: me.crt, client-key: me.key", &data] {
        get(&client(&sandbox, &server.cluster(), user)).await.unwrap();
    }
    let shown: Vec<_> = server.seen().into_iter().map(|seen| seen.certificate).collect();
    assert_eq!(shown, [Some(der.clone()), Some(der)]);
}

#[tokio::test]
async fn a_client_certificate_is_used_with_a_token_and_instead_of_a_plugin() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let (certificate, key) = server.ca.issue(&["me"]);
    let plugin = sandbox.script("plugin", "exit 1");
    let user =
        format!("client-certificate-data: {}, client-key-data: {}", base64(&certificate), base64(&key));
    get(&client(&sandbox, &server.cluster(), &format!("{user}, token: t"))).await.unwrap();
    get(&client(&sandbox, &server.cluster(), &format!("{user}, {}", exec(&text(&plugin))))).await.unwrap();
    assert_eq!(server.authorizations(), [bearer("t"), None]);
    assert!(server.seen().iter().all(|seen| seen.certificate.is_some()));
    assert_eq!(sandbox.calls("plugin"), 0);
}

#[tokio::test]
async fn row_16_a_plugin_runs_once_for_many_requests_and_clients() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let plugin =
        sandbox.script("plugin", &answering(&format!(r#""token":"t","expirationTimestamp":"{FAR_AWAY}""#)));
    sandbox.write("home/.kube/config", one(&server.cluster(), &exec(&text(&plugin))));
    let loaded = sandbox.load().unwrap();
    let (first, second) = (loaded.client().unwrap(), loaded.client().unwrap());
    assert_eq!(sandbox.calls("plugin"), 0, "it runs when a request needs it");
    let all = tokio::join!(get(&first), get(&first), get(&second), get(&second));
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
    get(&first).await.unwrap();
    assert_eq!(sandbox.calls("plugin"), 1);
    assert_eq!(server.authorizations(), vec![bearer("t"); 5]);
}

#[tokio::test]
async fn a_plugin_runs_again_when_its_credential_has_expired() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let plugin =
        sandbox.script("plugin", &answering(&format!(r#""token":"t","expirationTimestamp":"{LONG_AGO}""#)));
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    get(&client).await.unwrap();
    get(&client).await.unwrap();
    assert_eq!(sandbox.calls("plugin"), 2);
}

#[tokio::test]
async fn a_refused_credential_is_replaced_and_the_request_sent_again() {
    let (sandbox, server) = (Sandbox::new(), Server::start(only("token-2")).await);
    let count = "n=$(wc -l < \"$0.calls\" | tr -d ' ')\n";
    let answer = format!("{count}cat <<END\n{}\nEND", credential(r#""token":"token-$n""#));
    let plugin = sandbox.script("plugin", &answer);
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    let request = Request::post("/api").body(Body::from(b"content".to_vec())).unwrap();
    assert_eq!(send(&client, request).await.unwrap(), StatusCode::OK);
    assert_eq!(get(&client).await.unwrap(), StatusCode::OK);
    assert_eq!(server.authorizations(), [bearer("token-1"), bearer("token-2"), bearer("token-2")]);
    assert!(server.seen()[..2].iter().all(|seen| seen.body == "content"));
    assert_eq!(sandbox.calls("plugin"), 2);
}

#[tokio::test]
async fn a_permanently_refused_credential_is_renewed_once_per_request() {
    let (sandbox, server) = (Sandbox::new(), Server::start(only("never")).await);
    let plugin = sandbox.script("plugin", &answering(r#""token":"t""#));
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    assert_eq!(get(&client).await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(sandbox.calls("plugin"), 2);
    assert_eq!(server.seen().len(), 1, "the same credential is not tried again");
}

#[tokio::test]
async fn a_plugin_may_provide_a_client_certificate_and_replace_it() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let issued = [server.ca.issue(&["one"]), server.ca.issue(&["two"])];
    for (index, (certificate, key)) in issued.iter().enumerate() {
        let status = serde_json::json!({
            "clientCertificateData": certificate, "clientKeyData": key, "expirationTimestamp": LONG_AGO
        });
        let status = status.to_string();
        sandbox.write(&format!("answer-{}", index + 1), credential(status.trim_matches(['{', '}'])));
    }
    let root = text(&sandbox.path(""));
    let plugin = sandbox.script("plugin", &format!("cat {root}answer-$(wc -l < \"$0.calls\" | tr -d ' ')"));
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    get(&client).await.unwrap();
    get(&client).await.unwrap();
    let want: Vec<_> = issued
        .iter()
        .map(|(pem, _)| Some(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()))
        .collect();
    let shown: Vec<_> = server.seen().into_iter().map(|seen| seen.certificate).collect();
    assert_eq!(shown, want, "the second request goes over a new connection");
}

#[tokio::test]
async fn a_plugin_gets_its_arguments_its_environment_and_the_cluster() {
    let (mut sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    sandbox.set("OUTER", "from-outside");
    let root = text(&sandbox.path(""));
    let answer = answering(r#""token":"t""#);
    let plugin = sandbox.script(
        "bin/plugin",
        &format!(
            "echo \"$1,$2,$OUTER,$INNER\" > {root}got\necho \"$KUBERNETES_EXEC_INFO\" > {root}info\n{answer}"
        ),
    );
    // Found in PATH, as a bare name.
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", &format!("{}:{path}", text(plugin.parent().unwrap())));
    let cluster = format!(
        "{}, tls-server-name: api.test, extensions: [{{name: client.authentication.k8s.io/exec, extension: {{audience: a}}}}]",
        server.cluster()
    );
    let user = format!(
        "exec: {{apiVersion: {V1}, interactiveMode: IfAvailable, command: plugin, args: [a, 'b c'], \
         env: [{{name: INNER, value: from-config}}], provideClusterInfo: true}}"
    );
    get(&client(&sandbox, &cluster, &user)).await.unwrap();
    assert_eq!(sandbox.read("got"), "a,b c,from-outside,from-config\n");
    let info: serde_json::Value = serde_json::from_str(&sandbox.read("info")).unwrap();
    assert_eq!((&info["kind"], &info["apiVersion"]), (&"ExecCredential".into(), &V1.into()));
    assert_eq!(info["spec"]["interactive"], false);
    assert_eq!(
        info["spec"]["cluster"],
        serde_json::json!({
            "server": server.url(), "tls-server-name": "api.test",
            "certificate-authority-data": server.ca_data(), "config": {"audience": "a"},
        })
    );
}

#[tokio::test]
async fn a_plugin_gets_no_cluster_unless_it_asks() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let root = text(&sandbox.path(""));
    let plugin = sandbox.script(
        "plugin",
        &format!("echo \"$KUBERNETES_EXEC_INFO\" > {root}info\n{}", answering(r#""token":"t""#)),
    );
    get(&client(&sandbox, &server.cluster(), &exec(&text(&plugin)))).await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&sandbox.read("info")).unwrap();
    assert_eq!(info["spec"], serde_json::json!({"interactive": false}));
}

#[tokio::test]
async fn a_plugin_that_takes_its_time_is_noticed() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let root = text(&sandbox.path(""));
    let wait = format!("while ! test -e {root}go; do sleep 0.01; done\n");
    let plugin = sandbox.script("plugin", &format!("{wait}{}", answering(r#""token":"t""#)));
    sandbox.write("home/.kube/config", one(&server.cluster(), &exec(&text(&plugin))));
    let resolved = sandbox.load().unwrap();
    let handle = resolved.exec_plugin().unwrap();
    let (notice, mut noticed) = tokio::sync::mpsc::unbounded_channel();
    handle.on_wait(Duration::ZERO, move || notice.send(()).unwrap());
    let client = resolved.client().unwrap();
    handle.ended().await;
    let request = tokio::spawn(async move { get(&client).await });
    handle.started().await;
    noticed.recv().await.unwrap();
    assert!(server.seen().is_empty());
    sandbox.write("go", "");
    assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
    handle.ended().await;
    assert_eq!(sandbox.calls("plugin"), 1);
}

#[tokio::test]
async fn a_failing_plugin_fails_the_request_and_runs_again() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let plugin = sandbox.script("plugin", "exit 7");
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    for calls in 1..=2 {
        let error = get(&client).await.unwrap_err();
        let all = causes(&error);
        assert!(all.contains(&text(&plugin)) && all.contains("exit status: 7"), "{all}");
        assert_eq!(sandbox.calls("plugin"), calls);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_plugin_that_is_not_installed_is_named_with_the_hint() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let user = format!(
        "exec: {{apiVersion: {V1}, interactiveMode: Never, command: no-such-plugin, installHint: 'brew install it'}}"
    );
    let error = get(&client(&sandbox, &server.cluster(), &user)).await.unwrap_err();
    let all = causes(&error);
    assert!(all.contains("exec plugin no-such-plugin is not installed: brew install it"), "{all}");
}

#[tokio::test]
async fn a_plugin_that_must_ask_the_user_needs_a_terminal() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let plugin = sandbox.script("plugin", &answering(r#""token":"t""#));
    let user = exec(&text(&plugin)).replace("Never", "Always");
    let error = get(&client(&sandbox, &server.cluster(), &user)).await.unwrap_err();
    assert!(causes(&error).contains("requires a terminal"), "{}", causes(&error));
    assert_eq!(sandbox.calls("plugin"), 0);
}

// Only on systems where /proc shows whether a process is alive.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cancelled_request_ends_its_plugin() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let root = text(&sandbox.path(""));
    let plugin = sandbox
        .script("plugin", &format!("echo $$ > {root}pid.tmp; mv {root}pid.tmp {root}pid; exec sleep 60"));
    let client = client(&sandbox, &server.cluster(), &exec(&text(&plugin)));
    let request = tokio::spawn(async move { get(&client).await.map(drop) });
    until(|| !sandbox.read("pid").is_empty()).await;
    let pid: u32 = sandbox.read("pid").trim().parse().unwrap();
    request.abort();
    // A process that has ended but was not waited for is a zombie, which counts as ended.
    until(|| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_file_is_read_again_at_once() {
    let (sandbox, server) = (Sandbox::new(), Server::start(only("two")).await);
    let file = sandbox.write("token", "one\n");
    let client = client(&sandbox, &server.cluster(), &format!("tokenFile: '{}'", text(&file)));
    assert_eq!(get(&client).await.unwrap(), StatusCode::UNAUTHORIZED);
    sandbox.write("token", "two\n");
    assert_eq!(get(&client).await.unwrap(), StatusCode::OK);
    assert_eq!(server.authorizations(), [bearer("one"), bearer("one"), bearer("two")]);
}

#[tokio::test]
async fn a_pod_talks_to_its_cluster() {
    let (mut sandbox, server) = (Sandbox::new(), Server::start(only("pod-token")).await);
    sandbox.pod("127.0.0.1", server.address.port());
    sandbox.write("serviceaccount/ca.crt", &server.ca.pem);
    sandbox.write("serviceaccount/namespace", "team");
    let client = sandbox.load().unwrap().client().unwrap();
    assert_eq!(client.default_namespace(), "team");
    assert_eq!(get(&client).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn requests_go_through_the_http_proxy() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let proxy = Proxy::http(server.address).await;
    let cluster = format!(
        "server: 'https://api.test:6443', certificate-authority-data: {}, proxy-url: 'http://me:p%40ss@{}'",
        server.ca_data(),
        proxy.address
    );
    assert_eq!(get(&client(&sandbox, &cluster, "token: t")).await.unwrap(), StatusCode::OK);
    let asked = &proxy.asked()[0];
    assert!(asked.starts_with("CONNECT api.test:6443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("proxy-authorization: basic"), "{asked}");
    assert!(asked.contains(&base64("me:p@ss")), "{asked}");
    assert!(!asked.contains("Bearer"), "the proxy does not learn the token");
    assert_eq!(server.authorizations(), [bearer("t")]);
}

#[tokio::test]
async fn an_https_proxy_learns_neither_token_nor_certificate() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let proxy = Proxy::https(server.address, &server.ca).await;
    let (certificate, key) = server.ca.issue(&["me"]);
    // The proxy must not be asked for the name of the API server either.
    let cluster = format!(
        "server: 'https://10.1.2.3:6443', tls-server-name: api.test, certificate-authority-data: {}, \
         proxy-url: 'https://{}'",
        server.ca_data(),
        proxy.address
    );
    let user = format!(
        "token: t, client-certificate-data: {}, client-key-data: {}",
        base64(&certificate),
        base64(&key)
    );
    assert_eq!(get(&client(&sandbox, &cluster, &user)).await.unwrap(), StatusCode::OK);
    assert!(proxy.asked()[0].starts_with("CONNECT 10.1.2.3:6443") && !proxy.asked()[0].contains("Bearer"));
    assert!(server.seen()[0].certificate.is_some());
}

#[tokio::test]
async fn requests_go_through_the_socks_proxy_which_resolves_the_name() {
    let (sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let proxy = Proxy::socks(server.address).await;
    let cluster = format!(
        "server: 'https://api.test:6443', certificate-authority-data: {}, proxy-url: 'socks5://{}'",
        server.ca_data(),
        proxy.address
    );
    assert_eq!(get(&client(&sandbox, &cluster, "")).await.unwrap(), StatusCode::OK);
    assert_eq!(proxy.asked(), ["api.test:6443"]);
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_the_environment_names() {
    let (mut sandbox, server) = (Sandbox::new(), Server::start(ok).await);
    let proxy = Proxy::http(server.address).await;
    sandbox.set("HTTPS_PROXY", &proxy.address.to_string());
    // The proxy's own address is not a reason to bypass it.
    sandbox.set("NO_PROXY", "127.0.0.1,127.0.0.0/8");
    let cluster = format!("server: 'https://api.test', certificate-authority-data: {}", server.ca_data());
    assert_eq!(get(&client(&sandbox, &cluster, "")).await.unwrap(), StatusCode::OK);
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed_with_the_credential() {
    let answer = |seen: &Seen| match seen.path.as_str() {
        "/version" => Answer::from((StatusCode::TEMPORARY_REDIRECT, "/k8s/version?a=b")),
        _ => Answer::from(StatusCode::OK),
    };
    let (sandbox, server) = (Sandbox::new(), Server::start(answer).await);
    let client = client(&sandbox, &server.cluster(), "token: t");
    let request = Request::post("/version").body(Body::from(b"content".to_vec())).unwrap();
    assert_eq!(send(&client, request).await.unwrap(), StatusCode::OK);
    let seen: Vec<_> = server.seen().into_iter().map(|seen| (seen.path, seen.body)).collect();
    assert_eq!(seen, [("/version".into(), "content".into()), ("/k8s/version?a=b".into(), "content".into())]);
    assert_eq!(server.authorizations(), [bearer("t"), bearer("t")]);
}

#[tokio::test]
async fn a_redirect_to_another_server_is_an_error_that_names_it() {
    let (sandbox, other) = (Sandbox::new(), Server::start(ok).await);
    let login = format!("{}/login?state=hunter2", other.url());
    let server = Server::start(move |_| Answer::from((StatusCode::FOUND, login.as_str()))).await;
    let error = get(&client(&sandbox, &server.cluster(), "token: t")).await.unwrap_err();
    let all = causes(&error);
    assert!(all.contains(&format!("{}/version redirects to {}/login,", server.url(), other.url())), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let (sandbox, server) = (Sandbox::new(), Server::start(|_| (StatusCode::FOUND, "/version")).await);
    let error = get(&client(&sandbox, &server.cluster(), "")).await.unwrap_err();
    assert!(causes(&error).contains("redirects too often"), "{}", causes(&error));
    assert_eq!(server.seen().len(), 10, "as with Go's client");
}

#[tokio::test]
async fn a_connection_that_is_not_established_times_out() {
    let sandbox = Sandbox::new();
    // Accepts connections, but never starts TLS.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("server: 'https://{}', insecure-skip-tls-verify: true", silent.local_addr().unwrap());
    sandbox.write("home/.kube/config", one(&url, ""));
    let loaded = sandbox.options().connect_timeout(Duration::from_millis(50)).load().unwrap();
    let client = loaded.client().unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(30), get(&client));
    let error = waiting.await.expect("the connection had no bound").unwrap_err();
    assert!(
        causes(&error).contains("timed out") || causes(&error).contains("deadline"),
        "{}",
        causes(&error)
    );
}

#[cfg(target_os = "linux")]
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it never happened");
}
