//! What a test says that kubelets answer.

use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
#[cfg(feature = "streams")]
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
#[cfg(feature = "streams")]
use kube::api::{Api, AttachParams, AttachedProcess, LogParams, PostParams, TerminalSize};
#[cfg(not(feature = "streams"))]
use kube::api::{Api, LogParams, PostParams};
#[cfg(feature = "streams")]
use kube_embedded::kubelet::{Process, Stdin};
use kube_embedded::{ManualClock, Server};
#[cfg(feature = "streams")]
use serde_json::Value;
use serde_json::json;
#[cfg(feature = "streams")]
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
#[cfg(feature = "streams")]
use tokio::net::TcpListener;

#[cfg(feature = "streams")]
use crate::support;
use crate::support::{code, in_time};

/// Creates a Pod with these containers, on a node that does not exist.
async fn create(client: &Client, name: &str, containers: &[&str]) -> Api<Pod> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let containers: Vec<_> = containers.iter().map(|name| json!({"name": name, "image": "image"})).collect();
    let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": "node", "containers": containers}});
    let pod = serde_json::from_value(pod).expect("it is a Pod");
    pods.create(&PostParams::default(), &pod).await.expect("it can be created");
    pods
}

#[tokio::test]
async fn logs_are_what_the_test_has_put() {
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let server = Server::builder().clock(&clock).start().unwrap();
    let pods = create(&server.client(), "web", &["app", "proxy"]).await;
    let app = LogParams { container: Some("app".to_owned()), ..LogParams::default() };
    let refused = pods.logs("web", &app).await.unwrap_err();
    assert_eq!(code(&refused), 501);

    let log = server.kubelet().pod("default", "web").log();
    log.append("first");
    clock.advance(std::time::Duration::from_secs(60));
    log.append("second\nthird\n");
    assert_eq!(pods.logs("web", &app).await.unwrap(), "first\nsecond\nthird\n");
    let recent = LogParams { since_seconds: Some(10), timestamps: true, ..app.clone() };
    let lines = "2026-01-01T00:01:00.000000000Z second\n2026-01-01T00:01:00.000000000Z third\n";
    assert_eq!(pods.logs("web", &recent).await.unwrap(), lines);

    let previous = LogParams { previous: true, ..app.clone() };
    let refused = pods.logs("web", &previous).await.unwrap_err().to_string();
    let said = "previous terminated container \"app\" in pod \"web\" not found";
    assert!(refused.contains(said), "{refused}");
    server.kubelet().pod("default", "web").previous_log().append("killed");
    assert_eq!(pods.logs("web", &previous).await.unwrap(), "killed\n");

    // One container has its own.
    let own = server.kubelet().pod("default", "web").container("proxy").log();
    own.append("proxy");
    let proxy = LogParams { container: Some("proxy".to_owned()), ..LogParams::default() };
    assert_eq!(pods.logs("web", &proxy).await.unwrap(), "proxy\n");
    assert_eq!(pods.logs("web", &app).await.unwrap().lines().count(), 3);
    server.kubelet().clear();
    assert_eq!(code(&pods.logs("web", &app).await.unwrap_err()), 501);
}

#[tokio::test]
async fn followers_of_a_log_receive_lines_until_it_or_the_server_ends() {
    let server = Server::start();
    let pods = create(&server.client(), "web", &["app"]).await;
    let follow = LogParams { follow: true, tail_lines: Some(1), ..LogParams::default() };
    let log = server.kubelet().pod("default", "web").log();
    log.append("one\ntwo");
    let mut lines = pods.log_stream("web", &follow).await.unwrap().lines();
    assert_eq!(in_time(lines.try_next()).await.unwrap().unwrap(), "two");
    log.append("three");
    assert_eq!(in_time(lines.try_next()).await.unwrap().unwrap(), "three");
    log.end();
    assert_eq!(in_time(lines.try_next()).await.unwrap(), None);

    // Whoever removes or replaces a log ends it, although the test still has it.
    let kubelet = server.kubelet().pod("default", "web");
    let end: [&dyn Fn(); 2] = [&|| drop(kubelet.log()), &|| server.kubelet().clear()];
    for end in end {
        let log = kubelet.log();
        log.append("last");
        let mut lines = pods.log_stream("web", &follow).await.unwrap().lines();
        assert_eq!(in_time(lines.try_next()).await.unwrap().unwrap(), "last");
        end();
        assert_eq!(in_time(lines.try_next()).await.unwrap(), None);
    }

    server.kubelet().pod("default", "web").log().append("restarted");
    let mut lines = pods.log_stream("web", &follow).await.unwrap().lines();
    assert_eq!(in_time(lines.try_next()).await.unwrap().unwrap(), "restarted");
    drop(server);
    assert_eq!(in_time(lines.try_next()).await.unwrap(), None);
}

/// What a client of a process receives: stdout, stderr, and the status.
#[cfg(feature = "streams")]
async fn outcome(mut process: AttachedProcess) -> (String, String, Status) {
    async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
        let mut text = String::new();
        if let Some(mut stream) = stream {
            stream.read_to_string(&mut text).await.expect("the stream ends");
        }
        text
    }
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status().expect("it was not taken");
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), status);
    (stdout, stderr, status.expect("the process has ended"))
}

#[cfg(feature = "streams")]
#[tokio::test]
async fn commands_run_as_the_test_says() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let kubelet = server.kubelet().pod("default", "web");
    let outputs = AttachParams { stdin: false, ..AttachParams::default() };
    // With a socket, and without.
    for client in [support::client(endpoint.kubeconfig()).await, server.client()] {
        let name = "web";
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        if pods.get_opt(name).await.unwrap().is_none() {
            create(&client, name, &["app"]).await;
        }
        server.kubelet().clear();
        assert!(pods.exec(name, ["ls"], &outputs).await.is_err(), "there is nothing yet");

        let failing = kubelet.exec(Process::new().stdout("out").stderr("error").exit_code(3));
        let long = "long".repeat(100_000);
        kubelet.exec_command(&["cat", "/long"], Process::new().stdout(&*long));
        let (stdout, stderr, status) = outcome(pods.exec(name, ["ls", "-l"], &outputs).await.unwrap()).await;
        assert_eq!((&*stdout, &*stderr), ("out", "error"));
        assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
        let causes = status.details.unwrap().causes.unwrap();
        let cause = (causes[0].reason.as_deref(), causes[0].message.as_deref());
        assert_eq!(cause, (Some("ExitCode"), Some("3")));
        let runs = failing.wait_for(1).await;
        assert_eq!((&*runs[0].container, runs.len()), ("app", 1));
        assert_eq!(runs[0].command, ["ls", "-l"]);

        let (stdout, _, status) = outcome(pods.exec(name, ["cat", "/long"], &outputs).await.unwrap()).await;
        assert_eq!((stdout.len(), status.status.as_deref()), (long.len(), Some("Success")));

        // What is sent to stdin is echoed, and kept.
        let echo = kubelet.attach(Process::new().stdout("> ").stdin(Stdin::Echo));
        let both = AttachParams::default().stdin(true).stderr(false);
        let mut process = pods.attach(name, &both).await.unwrap();
        let mut stdin = process.stdin().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
        let (stdout, _, status) = in_time(outcome(process)).await;
        assert_eq!((&*stdout, status.status.as_deref()), ("> hello", Some("Success")));
        assert_eq!(echo.all()[0].stdin, b"hello");

        // A terminal has a size, and no stderr of its own.
        let terminal = AttachParams::interactive_tty();
        let shell = kubelet.exec(Process::new().stderr("$ ").stdin(Stdin::Read));
        let mut process = pods.exec(name, ["sh"], &terminal).await.unwrap();
        process.terminal_size().unwrap().try_send(TerminalSize { width: 80, height: 24 }).unwrap();
        let mut prompt = [0; 2];
        process.stdout().unwrap().read_exact(&mut prompt).await.unwrap();
        assert_eq!(&prompt, b"$ ");
        in_time(async {
            while shell.all()[0].sizes != [(80, 24)] {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // The client leaves.
        process.abort();
        drop(process);
        assert!(in_time(shell.wait_for(1)).await[0].tty);
    }

    // The server ends a process that never does.
    kubelet.exec(Process::new().stdin(Stdin::Hang));
    let pods: Api<Pod> = Api::default_namespaced(support::client(endpoint.kubeconfig()).await);
    let mut process = pods.exec("web", ["sleep", "infinity"], &outputs).await.unwrap();
    in_time(endpoint.stop()).await;
    assert!(in_time(process.take_status().unwrap()).await.is_none());
}

#[cfg(feature = "streams")]
#[tokio::test]
async fn ports_lead_to_the_tests_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&[b"re: ", &request[..]].concat()).await.unwrap();
        }
    });
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    for client in [support::client(endpoint.kubeconfig()).await, server.client()] {
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        if pods.get_opt("web").await.unwrap().is_none() {
            create(&client, "web", &["app"]).await;
        }
        server.kubelet().clear();
        assert!(pods.portforward("web", &[80]).await.is_err(), "there is nothing yet");
        server.kubelet().pod("default", "web").port_forward(80, address);
        let mut forwarder = pods.portforward("web", &[80, 81]).await.unwrap();
        let mut stream = forwarder.take_stream(80).unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = String::new();
        in_time(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "re: ping");
        let why = in_time(forwarder.take_error(81).unwrap()).await.unwrap();
        assert_eq!(why, "error forwarding port 81 to pod web, uid : connection refused");
    }
}

#[cfg(feature = "streams")]
#[tokio::test]
async fn content_is_put_over_http() {
    const KUBELET: &str = "/kube-embedded/kubelet";
    let server = Server::builder().kubelet_over_http().start().unwrap();
    let client = server.client();
    let send = async |method: &str, path: &str, body: Value| {
        let request = http::Request::builder().method(method).uri(path);
        client.request::<Value>(request.body(body.to_string().into_bytes()).unwrap()).await
    };
    let pods = create(&client, "web", &["app"]).await;
    let put = |what: Value| {
        let mut put = json!({"namespace": "default", "pod": "web"});
        put.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        put
    };
    let lines = json!(["one", {"time": "2026-01-01T00:00:00Z", "text": "two"}]);
    let log = send("POST", KUBELET, put(json!({"log": {"lines": lines}}))).await.unwrap();
    let one = format!("{KUBELET}/{}", log["id"]);
    let more = send("POST", &one, json!({"lines": ["three"], "ended": true})).await.unwrap();
    assert_eq!(more, json!({"id": log["id"]}));
    assert_eq!(pods.logs("web", &LogParams::default()).await.unwrap(), "one\ntwo\nthree\n");
    let shown = send("GET", &one, Value::Null).await.unwrap();
    assert_eq!((&shown["log"]["lines"][1], &shown["log"]["ended"]), (&lines[1], &json!(true)));
    send("DELETE", &one, Value::Null).await.unwrap();
    assert_eq!(code(&pods.logs("web", &LogParams::default()).await.unwrap_err()), 501);

    let exec = put(json!({"container": "app", "exec": {
        "command": ["tee"], "stdout": "a", "stderr": "b", "exitCode": 1, "stdin": "echo",
    }}));
    let made = send("POST", KUBELET, exec.clone()).await.unwrap();
    let mut process = pods.exec("web", ["tee"], &AttachParams::default().stdin(true)).await.unwrap();
    process.stdin().unwrap().shutdown().await.unwrap();
    let (stdout, stderr, _) = in_time(outcome(process)).await;
    assert_eq!((&*stdout, &*stderr), ("a", "b"));
    let mut expected = exec;
    expected["id"] = made["id"].clone();
    expected["runs"] = json!([
        {"container": "app", "command": ["tee"], "tty": false, "stdin": "", "sizes": [], "over": true}
    ]);
    let one = format!("{KUBELET}/{}", made["id"]);
    assert_eq!(send("GET", &one, Value::Null).await.unwrap(), expected);
    // What may be much is shown only of one.
    expected["runs"][0].as_object_mut().unwrap().remove("stdin");
    assert_eq!(send("GET", KUBELET, Value::Null).await.unwrap(), json!({"items": [expected]}));
    for other in [
        json!({"attach": {"stdout": "", "stderr": "", "exitCode": 0, "stdin": "hang"}}),
        json!({"portForward": {"port": 80, "address": "127.0.0.1:8080"}}),
    ] {
        let made = send("POST", KUBELET, put(other.clone())).await.unwrap();
        let (kind, value) = other.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&made[kind], value);
    }
    let no_id = send("DELETE", &format!("{KUBELET}/"), Value::Null).await.unwrap_err();
    assert_eq!(code(&no_id), 404);
    assert_eq!(send("GET", KUBELET, Value::Null).await.unwrap()["items"].as_array().unwrap().len(), 3);
    send("DELETE", KUBELET, Value::Null).await.unwrap();
    assert_eq!(send("GET", KUBELET, Value::Null).await.unwrap(), json!({"items": []}));

    let nothing = send("POST", KUBELET, put(json!({}))).await.unwrap_err();
    let unknown = send("POST", KUBELET, put(json!({"log": {}, "nonsense": 1}))).await.unwrap_err();
    assert_eq!((code(&nothing), code(&unknown)), (400, 400));
    let missing = send("GET", &format!("{KUBELET}/9"), Value::Null).await.unwrap_err();
    assert_eq!(code(&missing), 404);
    // Only administrators may do it.
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let dev = endpoint.kubeconfig_with("dev", &server.add_user("dev", &[]));
    let dev = support::client(dev).await;
    for method in ["GET", "POST", "DELETE"] {
        let request = http::Request::builder().method(method).uri(KUBELET).body(Vec::new()).unwrap();
        assert_eq!(code(&dev.request::<Value>(request).await.unwrap_err()), 403, "{method}");
    }
    let request = http::Request::get(KUBELET).body(Vec::new()).unwrap();
    let off = Server::start().client().request::<Value>(request).await.unwrap_err();
    assert_eq!(code(&off), 404, "it is off by default");
}
