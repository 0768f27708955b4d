//! What kube-apiserver decides before it asks a kubelet, on either server; and what kubectl makes of what a test puts in a
//! kubelet's place, on the embedded one.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    crdctl::{Crdctl, Running},
    eventually,
    http::Http,
    program::{self, Output},
};
use http::Method;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

e2e::on_each_cluster! {
    containers, options_of_logs, what_is_not_supported, permission_to_create,
}

const PATIENCE: Duration = Duration::from_secs(20);

fn pods(cluster: &Cluster) -> String {
    format!("/api/v1/namespaces/{}/pods", cluster.namespace())
}

async fn create(cluster: &Cluster, name: &str, containers: &[&str]) -> Result<()> {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
    let spec = json!({
        "schedulerName": "nobody", "initContainers": [{"name": "init", "image": "i"}], "containers": containers,
    });
    cluster
        .admin()
        .post(&pods(cluster), &json!({"metadata": {"name": name}, "spec": spec}))
        .await?
        .code(201)?;
    Ok(())
}

async fn containers(cluster: Cluster) -> Result<()> {
    create(&cluster, "one", &["app"]).await?;
    create(&cluster, "two", &["app", "side"]).await?;
    let get = async |path: &str| cluster.admin().get(&format!("{}/{path}", pods(&cluster))).await;
    for subresource in ["log", "exec", "attach"] {
        let missing = get(&format!("nothing/{subresource}")).await?;
        missing.refused(404, "NotFound", "pods \"nothing\" not found")?;
        for (path, message) in [
            ("two", "a container name must be specified for pod two, choose one of: [init app side]"),
            ("one?container=side", "container side is not valid for pod one"),
        ] {
            let (pod, query) = path.split_once('?').unwrap_or((path, ""));
            get(&format!("{pod}/{subresource}?{query}")).await?.refused(400, "BadRequest", message)?;
        }
        for path in [format!("one/{subresource}"), format!("two/{subresource}?container=init")] {
            let reply = get(&path).await?;
            match subresource {
                "log" => assert_eq!((reply.code, &*reply.text), (204, "")),
                _ => {
                    let pod = &path[..3];
                    let message = format!("pod {pod} does not have a host assigned");
                    reply.refused(400, "BadRequest", &message)?;
                }
            }
        }
    }
    let message = "pod two does not have a host assigned";
    get("two/portforward?ports=80").await?.refused(400, "BadRequest", message)?;
    get("nothing/portforward").await?.refused(404, "NotFound", "pods \"nothing\" not found")?;
    Ok(())
}

async fn options_of_logs(cluster: Cluster) -> Result<()> {
    create(&cluster, "one", &["app"]).await?;
    let get = async |query: &str| cluster.admin().get(&format!("{}/one/log?{query}", pods(&cluster))).await;
    for (query, message) in [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        (
            "limitBytes=0&sinceSeconds=0",
            "[limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]",
        ),
        (
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        ("stream=Stdout", "stream: Forbidden: may not be specified"),
    ] {
        let message = format!("PodLogOptions \"one\" is invalid: {message}");
        get(query).await?.refused(422, "Invalid", &message)?;
    }
    for (query, message) in [
        ("tailLines=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("limitBytes=", "strconv.ParseInt: parsing \"\": invalid syntax"),
        (
            "sinceTime=x",
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"",
        ),
    ] {
        get(query).await?.refused(400, "BadRequest", message)?;
    }
    get("tailLines=0&limitBytes=1&sinceSeconds=1&follow=true&previous=true&timestamps=true")
        .await?
        .code(204)?;
    Ok(())
}

async fn what_is_not_supported(cluster: Cluster) -> Result<()> {
    create(&cluster, "one", &["app"]).await?;
    let send = async |method: Method, path: &str| {
        cluster.admin().send(method, &format!("{}/one/{path}", pods(&cluster)), &[], Vec::new()).await
    };
    let method = "the server does not allow this method on the requested resource";
    for (not_allowed, subresource) in [
        (Method::POST, "log"),
        (Method::PUT, "exec"),
        (Method::DELETE, "attach"),
        (Method::PATCH, "portforward"),
    ] {
        send(not_allowed, subresource).await?.refused(405, "MethodNotAllowed", method)?;
    }
    for (path, message) in [
        ("exec?dryRun=All", "dryRun is not supported"),
        (
            "portforward?ports=x",
            "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "portforward?ports=1,70000",
            "cannot convert to []int32: strconv.ParseUint: parsing \"70000\": value out of range",
        ),
    ] {
        send(Method::GET, path).await?.refused(400, "BadRequest", message)?;
    }
    Ok(())
}

/// A WebSocket is a GET, but running a process needs more than the permission to read.
async fn permission_to_create(cluster: Cluster) -> Result<()> {
    create(&cluster, "one", &["app"]).await?;
    let roles = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", cluster.namespace());
    let resources = json!(["pods/log", "pods/exec", "pods/attach", "pods/portforward"]);
    let role = json!({
        "metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["get"]}],
    });
    let nobody = cluster.nobody();
    let get = async |subresource: &str| nobody.get(&format!("{}/one/{subresource}", pods(&cluster))).await;
    let message = |what: &str| {
        let namespace = cluster.namespace();
        format!(
            "pods \"one\" is forbidden: User \"nobody\" cannot get resource \"pods/{what}\" in API group \"\" in the \
             namespace \"{namespace}\""
        )
    };
    for subresource in ["log", "exec"] {
        get(subresource).await?.refused(403, "Forbidden", &message(subresource))?;
    }
    cluster.admin().post(&format!("{roles}/roles"), &role).await?.code(201)?;
    let binding = json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    cluster.admin().post(&format!("{roles}/rolebindings"), &binding).await?.code(201)?;
    eventually(PATIENCE, || async { get("log").await?.code(204) }).await?;
    for subresource in ["exec", "attach", "portforward"] {
        get(subresource).await?.refused(403, "Forbidden", "pods \"one\" is forbidden: ")?;
    }
    Ok(())
}

/// A server in whose Pod `web` a test puts things.
struct Served {
    folder: tempfile::TempDir,
    kubeconfig: std::path::PathBuf,
    http: Http,
    _server: Running,
}

impl Served {
    async fn start() -> Result<Served> {
        let folder = tempfile::tempdir()?;
        let mut server = Crdctl::new(folder.path()).await?.args("serve --port 0 --kubelet").start()?;
        let line = server.complaint("kubeconfig: ").await?;
        let kubeconfig = folder.path().join(line.split_once("kubeconfig: ").context("a path")?.1.trim());
        let read = Kubeconfig::read_from(&kubeconfig)?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let http = Http::new(Client::try_from(config)?);
        let pod = json!({
            "metadata": {"name": "web"},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "i"}]},
            "status": {"phase": "Running"},
        });
        let pods = "/api/v1/namespaces/default/pods";
        http.post(pods, &pod).await?.code(201)?;
        // kubectl forwards ports only of Pods that run.
        http.put(&format!("{pods}/web/status"), &pod).await?.code(200)?;
        Ok(Served { folder, kubeconfig, http, _server: server })
    }

    /// Puts something into the Pod.
    async fn put(&self, kind: &str, what: Value) -> Result<Value> {
        let mut put = json!({"namespace": "default", "pod": "web"});
        put[kind] = what;
        self.http.post("/kube-embedded/kubelet", &put).await?.code(201)
    }

    fn kubectl(&self, arguments: &[&str]) -> Option<tokio::process::Command> {
        let mut command = program::kubectl_for(&self.kubeconfig)?;
        // Before the arguments, which may end with a command of their own.
        command.arg("--cache-dir").arg(self.folder.path().join("cache")).args(arguments);
        Some(command)
    }

    /// Runs kubectl with a stdin. `None`: there is no kubectl.
    async fn run(&self, input: &str, arguments: &[&str]) -> Result<Option<Output>> {
        match self.kubectl(arguments) {
            Some(command) => program::run(command, input).await.map(Some),
            None => Ok(None),
        }
    }
}

#[tokio::test]
async fn kubectl_logs() -> Result<()> {
    let served = Served::start().await?;
    let log = served.put("log", json!({"lines": ["one", "two"]})).await?;
    let Some(output) = served.run("", &["logs", "web", "--tail=1"]).await? else { return Ok(()) };
    assert_eq!(output.ok()?, "two\n");
    let Some(mut command) = served.kubectl(&["logs", "web", "--follow"]) else { return Ok(()) };
    let mut following = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(following.stdout.take().context("a stdout")?).lines();
    for line in ["one", "two"] {
        assert_eq!(timeout(PATIENCE, lines.next_line()).await??.as_deref(), Some(line));
    }
    let more = json!({"lines": ["three"], "ended": true});
    served.http.post(&format!("/kube-embedded/kubelet/{}", log["id"]), &more).await?.code(200)?;
    assert_eq!(timeout(PATIENCE, lines.next_line()).await??.as_deref(), Some("three"));
    ensure!(timeout(PATIENCE, following.wait()).await??.success());
    Ok(())
}

/// kubectl speaks WebSocket, or SPDY if it is told so.
#[tokio::test]
async fn kubectl_exec_and_attach() -> Result<()> {
    let served = Served::start().await?;
    let failing = json!({"stdout": "out\n", "stderr": "error\n", "exitCode": 3});
    served.put("exec", failing).await?;
    let cat = served.put("exec", json!({"command": ["cat"], "stdin": "echo"})).await?;
    served.put("attach", json!({"stdout": "hello\n", "stdin": "read"})).await?;
    for (number, websockets) in ["true", "false"].into_iter().enumerate() {
        let run = async |input: &str, arguments: &[&str]| -> Result<Option<Output>> {
            let Some(mut command) = served.kubectl(arguments) else { return Ok(None) };
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
            program::run(command, input).await.map(Some)
        };
        let Some(output) = run("", &["exec", "web", "--", "ls"]).await? else { return Ok(()) };
        assert_eq!((output.code, &*output.stdout), (Some(3), "out\n"), "{output:?}");
        assert_eq!(output.stderr, "error\ncommand terminated with exit code 3\n");
        // More than the buffers on the way hold.
        let input = "0123456789abcdef".repeat(20_000);
        let Some(output) = run(&input, &["exec", "-i", "web", "--", "cat"]).await? else { return Ok(()) };
        ensure!(
            output.code == Some(0) && output.stdout == input,
            "{} {:?}",
            output.stdout.len(),
            output.stderr
        );
        let one = served.http.get(&format!("/kube-embedded/kubelet/{}", cat["id"])).await?.code(200)?;
        ensure!(one["runs"][number]["stdin"] == *input && one["runs"][number]["over"] == true);
        let Some(output) = run("bye", &["attach", "-i", "web"]).await? else { return Ok(()) };
        assert_eq!((output.code, &*output.stdout), (Some(0), "hello\n"), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_port_forward() -> Result<()> {
    let served = Served::start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                // The client may be gone.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    served.put("portForward", json!({"port": 80, "address": address})).await?;
    for websockets in ["true", "false"] {
        let Some(mut command) = served.kubectl(&["port-forward", "web", ":80"]) else { return Ok(()) };
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        let mut forwarding = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(forwarding.stdout.take().context("a stdout")?).lines();
        let line = timeout(PATIENCE, lines.next_line()).await??.context("kubectl has ended")?;
        let local = line.split(' ').nth(2).context("Forwarding from ADDRESS -> 80")?.to_owned();
        // Several connections, one after the other and at once.
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(&local).await?;
            let sent = vec![7; 300_000];
            let (mut from, mut to) = stream.split();
            let mut received = vec![0; sent.len()];
            let both = async { tokio::try_join!(to.write_all(&sent), from.read_exact(&mut received)) };
            timeout(PATIENCE, both).await??;
            ensure!(received == sent);
            open.push(stream);
        }
        drop(open);
        let mut last = TcpStream::connect(&local).await?;
        last.write_all(b"last").await?;
        last.shutdown().await?;
        let mut received = String::new();
        timeout(PATIENCE, last.read_to_string(&mut received)).await??;
        assert_eq!(received, "last");
    }
    Ok(())
}
