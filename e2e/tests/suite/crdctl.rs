//! The real `crdctl`: its output, its exit codes, and its error messages.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    crdctl::{Crdctl, Running},
    eventually,
    http::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::widgets::{CRDS, NOT_ALL_CHECKED, widgets_of_group};

e2e::on_each_cluster! {
    crd_commands [Alone], crd_upgrade [Alone], invalid_blogs, watch_table, watch_json, relabelled, other_outputs, signals, second_signal, closed_pipe,
    health, health_without_a_type, thousands,
    restart [Restart], type_removed_and_back, any_resource, errors_of_the_cluster,
    errors_of_the_configuration, kubectls_flags, verbosity, kubeconfig_in_three_files, namespace_of_the_context,
    completion, version
}

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/blogs.web.helloworld";
const PATIENCE: Duration = Duration::from_secs(30);

/// Prepares a call of crdctl with the cluster's kubeconfig.
pub(crate) async fn crdctl(cluster: &Cluster, arguments: &str) -> Result<Crdctl> {
    let kubeconfig = cluster.kubeconfig_file()?;
    Ok(Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", kubeconfig).args(arguments))
}

/// Installs the CRD. For a second or two afterwards, a real server may respond to watches with 429, which crdctl handles.
pub(crate) async fn install(cluster: &Cluster) -> Result<()> {
    crdctl(cluster, "crd install").await?.run().await?.ok()?;
    Ok(())
}

fn blogs(cluster: &Cluster) -> String {
    format!("/apis/web.helloworld/v1/namespaces/{}/blogs", cluster.namespace())
}

pub(crate) async fn create(cluster: &Cluster, name: &str, labels: &Value) -> Result<Value> {
    let blog = json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": name, "labels": labels},
        "spec": {"url": format!("https://example.com/{name}")},
    });
    cluster.admin().post(&blogs(cluster), &blog).await?.code(201)
}

/// Patches a blog. A subresource or a query may follow its name.
pub(crate) async fn patch(cluster: &Cluster, name: &str, patch: &Value) -> Result<Value> {
    cluster.admin().patch(&format!("{}/{name}", blogs(cluster)), MERGE_PATCH, patch).await?.code(200)
}

pub(crate) async fn delete(cluster: &Cluster, name: &str) -> Result<Value> {
    cluster.admin().delete(&format!("{}/{name}", blogs(cluster))).await?.code(200)
}

/// Starts `crdctl watch` in the test's namespace.
pub(crate) async fn watch(cluster: &Cluster, arguments: &str) -> Result<Running> {
    crdctl(cluster, &format!("watch {arguments} -n {}", cluster.namespace())).await?.start()
}

/// Checks the next line. Words are separated by single spaces, the namespace is `NS`, and ages are `AGE`.
async fn expect(running: &mut Running, cluster: &Cluster, expected: &str) -> Result<()> {
    let line = running.line().await.with_context(|| format!("waiting for {expected}"))?;
    let is_age = |word: &str| word.strip_suffix('s').is_some_and(|age| age.parse::<u32>().is_ok());
    let word =
        |word: &str| if is_age(word) { "AGE".to_owned() } else { word.replace(cluster.namespace(), "NS") };
    let line: Vec<String> = line.split_whitespace().map(word).collect();
    ensure!(line.join(" ") == expected, "{line:?}, not {expected}");
    Ok(())
}

async fn crd_commands(cluster: Cluster) -> Result<()> {
    let run = async |arguments: &str| crdctl(&cluster, arguments).await?.run().await;
    // On a shared cluster, other tests may have installed it.
    eventually(PATIENCE, || async {
        let gone = cluster.admin().delete(CRD).await?;
        ensure!(gone.code == 404, "{gone:?}");
        Ok(())
    })
    .await?;
    let absent = run("crd check").await?;
    ensure!(absent.code == Some(1) && absent.stderr.contains("is not installed"), "{absent:?}");
    let printed = run("crd print").await?.ok()?;
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crd/blogs.web.helloworld.yaml");
    // The file's first line says how it is generated.
    let committed = std::fs::read_to_string(committed)?;
    assert_eq!(committed.split_once('\n').map(|(_, crd)| crd), Some(&*printed));

    run("crd install").await?.ok()?;
    run("crd install").await?.ok()?;
    run("crd check").await?.ok()?;
    // The printed CRD equals the installed one.
    let headers = [("content-type", APPLY_PATCH)];
    let path = format!("{CRD}?fieldManager=other&dryRun=All");
    let same =
        cluster.admin().send(http::Method::PATCH, &path, &headers, printed.into_bytes()).await?.code(200)?;
    assert_eq!(same["metadata"]["generation"], 1);

    let change = json!([{"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns/0/name", "value": "Elsewhere"}]);
    cluster.admin().patch(CRD, JSON_PATCH, &change).await?.code(200)?;
    let differs = run("crd check").await?;
    assert_eq!(differs.code, Some(1));
    ensure!(differs.stdout.lines().any(|line| line.starts_with('-') || line.starts_with('+')), "{differs:?}");
    ensure!(differs.stdout.contains("Elsewhere"), "{differs:?}");
    let conflict = run("crd install").await?;
    ensure!(conflict.code == Some(1) && conflict.stderr.contains("--force-conflicts"), "{conflict:?}");
    run("crd install --force-conflicts").await?.ok()?;
    run("crd check").await?.ok()?;
    let forbidden = run("crd install --context nobody").await?;
    ensure!(
        forbidden.code == Some(1) && forbidden.stderr.contains("User \"nobody\" cannot"),
        "{forbidden:?}"
    );
    Ok(())
}

async fn crd_upgrade(cluster: Cluster) -> Result<()> {
    let run = async |arguments: &str| crdctl(&cluster, arguments).await?.run().await;
    // The CRD of an older crdctl had neither validation rules nor a column for the URL.
    let mut older: Value = serde_saphyr::from_str(&run("crd print").await?.ok()?)?;
    let version = &mut older["spec"]["versions"][0];
    version.as_object_mut().context("a version")?.remove("additionalPrinterColumns");
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["url"] =
        json!({"type": "string"});
    cluster.admin().delete(CRD).await?;
    eventually(PATIENCE, || async { cluster.admin().get(CRD).await?.code(404) }).await?;
    let path = format!("{CRD}?fieldManager=crdctl");
    cluster.admin().patch(&path, APPLY_PATCH, &older).await?.code(201)?;
    eventually(PATIENCE, || async { cluster.admin().get(&blogs(&cluster)).await?.code(200) }).await?;
    let bad = json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": "bad"}, "spec": {"url": "nowhere"},
    });
    cluster.admin().post(&blogs(&cluster), &bad).await?.code(201)?;
    let kept = create(&cluster, "kept", &json!({})).await?;
    let mut watching = watch(&cluster, "blogs -o name").await?;
    watching.line_with(&["blog.web.helloworld/kept"]).await?;

    ensure!(run("crd check").await?.code == Some(1), "an older CRD is reported as ours");
    run("crd install").await?.ok()?;
    run("crd check").await?.ok()?;
    let installed = cluster.admin().get(CRD).await?.code(200)?;
    assert_eq!(installed["metadata"]["generation"], 2);
    // Existing objects stay unchanged, even if the new rules would refuse them, and get the new columns. New objects have to
    // follow the new rules.
    assert_eq!(cluster.admin().get(&format!("{}/kept", blogs(&cluster))).await?.code(200)?, kept);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    eventually(PATIENCE, || async {
        let table = cluster.admin().get_as(&blogs(&cluster), accept).await?.code(200)?;
        let rows = table["rows"].as_array().context("rows")?;
        let cells: Vec<_> = rows.iter().map(|row| (&row["cells"][0], &row["cells"][1])).collect();
        let expected = [("bad", "nowhere"), ("kept", "https://example.com/kept")];
        ensure!(
            cells
                .iter()
                .map(|(name, url)| (name.as_str(), url.as_str()))
                .eq(expected.map(|(name, url)| (Some(name), Some(url)))),
            "{cells:?}"
        );
        Ok(())
    })
    .await?;
    let mut worse = bad;
    worse["metadata"]["name"] = json!("worse");
    eventually(PATIENCE, || async { cluster.admin().post(&blogs(&cluster), &worse).await?.code(422) })
        .await?;
    // A client that was watching sees new objects without any action of its own.
    create(&cluster, "new", &json!({})).await?;
    watching.line_with(&["blog.web.helloworld/new"]).await?;
    Ok(())
}

async fn invalid_blogs(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let post = async |name: &str, spec: Value| {
        let blog = json!({
            "apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": name}, "spec": spec,
        });
        cluster.admin().post(&blogs(&cluster), &blog).await
    };
    let refused = |problem: &str| format!("Blog.web.helloworld \"bad\" is invalid: {problem}");
    let rule = "must be an absolute http or https URL, such as https://example.com/blog";
    for url in ["nowhere", "ftp://example.com", "https://", ""] {
        let message = refused(&format!("spec.url: Invalid value: \"{url}\": {rule}"));
        post("bad", json!({"url": url})).await?.refused(422, "Invalid", &message)?;
    }
    let long = format!("https://example.com/{}", "x".repeat(2048));
    for (spec, problem) in
        [(json!({}), "Required value"), (json!({"url": long}), "Too long: may not be more than 2048 bytes")]
    {
        let message = refused(&format!("[spec.url: {problem}, {NOT_ALL_CHECKED}]"));
        post("bad", spec).await?.refused(422, "Invalid", &message)?;
    }
    cluster.admin().get(&format!("{}/bad", blogs(&cluster))).await?.code(404)?;
    post("good", json!({"url": "HTTPS://user@[::1]:8080/?q#f"})).await?.code(201)?;
    Ok(())
}

async fn watch_table(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "blog-sample", &json!({})).await?;
    let mut watch = watch(&cluster, "blogs --every 1s").await?;
    expect(&mut watch, &cluster, "EVENT NAMESPACE NAME URL READY AGE").await?;
    expect(&mut watch, &cluster, "ADDED NS blog-sample https://example.com/blog-sample AGE").await?;
    expect(&mut watch, &cluster, "CACHED 1 blog-sample").await?;
    create(&cluster, "second", &json!({})).await?;
    let line = watch.line_with(&["ADDED", "second"]).await?;
    assert!(line.contains("https://example.com/second"), "{line}");
    assert_eq!(watch.line_with(&["CACHED"]).await?, "CACHED  2  blog-sample, second");
    patch(&cluster, "second", &json!({"spec": {"url": "https://example.org"}})).await?;
    let line = watch.line_with(&["MODIFIED", "second"]).await?;
    assert!(line.contains("https://example.org"), "{line}");
    delete(&cluster, "blog-sample").await?;
    watch.line_with(&["DELETED", "blog-sample"]).await?;
    assert_eq!(watch.line_with(&["CACHED"]).await?, "CACHED  1  second");
    delete(&cluster, "second").await?;
    watch.line_with(&["DELETED", "second"]).await?;
    assert_eq!(watch.line_with(&["CACHED"]).await?, "CACHED  0  (empty)");
    Ok(())
}

async fn watch_json(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let mut one = create(&cluster, "one", &json!({})).await?;
    let mut watch = watch(&cluster, "bl -o json").await?;
    let mut next = async || {
        let line = watch.line().await?;
        serde_json::from_str::<Value>(&line).context(line)
    };
    one["metadata"].as_object_mut().context("metadata")?.remove("managedFields");
    let added = next().await?;
    assert_eq!(added, json!({"type": "ADDED", "time": added["time"], "object": one}));
    let synced = next().await?;
    assert_eq!((&synced["type"], &synced["count"]), (&json!("SYNCED"), &json!(1)));
    assert!(synced["resourceVersion"].is_string(), "{synced}");
    patch(&cluster, "one", &json!({"spec": {"url": "https://example.org"}})).await?;
    let modified = next().await?;
    assert_eq!((&modified["type"], &modified["old"]), (&json!("MODIFIED"), &one));
    assert_eq!(modified["object"]["spec"]["url"], "https://example.org");
    let change = json!({"path": "spec.url", "old": "https://example.com/one", "new": "https://example.org"});
    assert_eq!(modified["changes"], json!([change]));
    delete(&cluster, "one").await?;
    let deleted = next().await?;
    assert_eq!(
        (&deleted["type"], &deleted["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("one"))
    );
    Ok(())
}

async fn relabelled(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({"app": "x"})).await?;
    let mut watch = watch(&cluster, "blogs -l app=x --no-headers").await?;
    watch.line_with(&["ADDED", "one"]).await?;
    patch(&cluster, "one", &json!({"metadata": {"labels": {"app": "y"}}})).await?;
    watch.line_with(&["DELETED", "one"]).await?;
    patch(&cluster, "one", &json!({"metadata": {"labels": {"app": "x"}}})).await?;
    watch.line_with(&["ADDED", "one"]).await?;
    Ok(())
}

async fn other_outputs(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut names = watch(&cluster, "blogs -o name").await?;
    assert_eq!(names.line().await?, "blog.web.helloworld/one");
    let mut only_changes = watch(&cluster, "blog/one --watch-only -o name --every 100ms").await?;
    // Lines that are not names are comments; the existing object is not printed.
    let first = only_changes.line().await?;
    assert!(first.starts_with("# CACHED"), "{first}");
    patch(&cluster, "one", &json!({"metadata": {"annotations": {"a": "b"}}})).await?;
    assert_eq!(names.line().await?, "blog.web.helloworld/one");
    only_changes.line_with(&["blog.web.helloworld/one"]).await?;
    delete(&cluster, "one").await?;
    assert_eq!(names.line().await?, "blog.web.helloworld/one deleted");
    only_changes.line_with(&["blog.web.helloworld/one", "deleted"]).await?;
    Ok(())
}

async fn signals(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    for signal in ["INT", "TERM"] {
        let mut running = watch(&cluster, "blogs").await?;
        running.line_with(&["ADDED", "one"]).await?;
        running.signal(signal).await?;
        let (status, said) = running.ends_within(Duration::from_secs(5)).await?;
        ensure!(status.code() == Some(0), "{signal}: {status}");
        ensure!(said.contains(&format!("received SIG{signal}")), "{said}");
    }
    Ok(())
}

async fn second_signal(cluster: Cluster) -> Result<()> {
    // The output exceeds the capacity of a pipe, so that crdctl blocks on its reader.
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    for name in ["a", "b", "c"] {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "x".repeat(500_000)},
        });
        cluster.admin().post(&maps, &map).await?.code(201)?;
    }
    let mut running = watch(&cluster, "configmaps -o json").await?;
    running.line().await?;
    running.signal("INT").await?;
    running.complaint("received SIGINT, stopping").await?;
    running.signal("TERM").await?;
    let (status, said) = running.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(143) && said.contains("received SIGTERM again"), "{status}: {said}");
    Ok(())
}

/// Requests a path from the address of `--health-addr`, and returns the code and the body.
pub(crate) async fn ask(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| answer.clone())?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code, body.to_owned()))
}

/// Returns an address with a port that is currently free.
pub(crate) fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn health(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let address = free_address()?;
    let mut running = watch(&cluster, &format!("blogs --health-addr {address}")).await?;
    running.line_with(&["ADDED", "one"]).await?;
    assert_eq!(ask(&address, "/healthz").await?, (200, "ok\n".to_owned()));
    assert_eq!(ask(&address, "/readyz").await?, (200, "ok\n".to_owned()));
    // A second crdctl cannot use the same port.
    let second = crdctl(&cluster, &format!("watch blogs --health-addr {address}")).await?;
    fails(second, 1, &["--health-addr", &address]).await?;
    fails(crdctl(&cluster, "watch blogs --health-addr 8080").await?, 2, &["8080"]).await
}

async fn health_without_a_type(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let address = free_address()?;
    let mut running = watch(&cluster, &format!("widgets.{group} --health-addr {address}")).await?;
    running.line_with(&["ADDED", "one"]).await?;
    assert_eq!(ask(&address, "/readyz").await?.0, 200);
    widgets.http.delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    eventually(PATIENCE, || async {
        let (code, body) = ask(&address, "/readyz").await?;
        ensure!((code, &*body) == (503, "not ready: the server does not serve the type\n"), "{code}: {body}");
        Ok(())
    })
    .await?;
    assert_eq!(ask(&address, "/healthz").await?.0, 200);
    Ok(())
}

async fn thousands(cluster: Cluster) -> Result<()> {
    const COUNT: usize = 5_000;
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let create = |index: usize| {
        let (http, path) = (cluster.admin(), maps.clone());
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{index:04}")}});
        async move { http.post(&path, &map).await?.code(201).map(drop) }
    };
    let creations = stream::iter((0..COUNT).map(create)).buffer_unordered(32);
    creations.try_for_each(async |()| Ok(())).await?;
    let mut running =
        watch(&cluster, "configmaps -o json --field-selector metadata.name!=kube-root-ca.crt").await?;
    let mut names = Vec::new();
    let count = loop {
        let line: Value = serde_json::from_str(&running.line().await?)?;
        match line["type"].as_str() {
            Some("ADDED") => {
                names.push(line["object"]["metadata"]["name"].as_str().context("a name")?.to_owned());
            }
            _ => break line["count"].clone(),
        }
    };
    assert_eq!((count, names.len()), (json!(COUNT), COUNT));
    ensure!(names.is_sorted() && names.first().is_some_and(|name| name == "m0000"), "{:?}", names.first());
    // These are separate requests: a loaded server may not delete all objects within the time limit of one request.
    let delete = |name: String| {
        let (http, path) = (cluster.admin(), format!("{maps}/{name}"));
        async move { http.delete(&path).await?.code(200).map(drop) }
    };
    let deletions = stream::iter(names.into_iter().map(delete)).buffer_unordered(32);
    deletions.try_for_each(async |()| Ok(())).await?;
    for _ in 0..COUNT {
        let line: Value = serde_json::from_str(&running.line().await?)?;
        assert_eq!(line["type"], "DELETED");
    }
    Ok(())
}

async fn closed_pipe(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut running = watch(&cluster, "blogs --every 100ms").await?;
    running.line_with(&["ADDED", "one"]).await?;
    let status = running.close_stdout().ends().await?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

async fn restart(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut running = watch(&cluster, "blogs").await?;
    running.line_with(&["ADDED", "one"]).await?;
    cluster.stop().await?;
    // It reports that it has lost the server, retries, and continues.
    running.complaint("-- ").await?;
    cluster.resume().await?;
    eventually(PATIENCE, || async { create(&cluster, "two", &json!({})).await }).await?;
    running.line_with(&["ADDED", "two"]).await?;
    delete(&cluster, "one").await?;
    running.line_with(&["DELETED", "one"]).await?;
    Ok(())
}

async fn type_removed_and_back(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let resource = format!("widgets.{group}");
    let watched = format!("{}?watch=true&timeoutSeconds=1", widgets.path);
    eventually(PATIENCE, || async { cluster.admin().watch(&watched).await }).await?;
    let mut running = watch(&cluster, &resource).await?;
    running.line_with(&["ADDED", "one", "small"]).await?;
    let crd = format!("{CRDS}/{resource}");
    widgets.http.delete(&crd).await?.code(200)?;
    running.line_with(&["DELETED", "one"]).await?;
    eventually(PATIENCE, || async { widgets.http.get(&crd).await?.code(404) }).await?;
    running.complaint("the server no longer has this type").await?;
    widgets_of_group(&cluster, &group).await?.create("two").await?;
    running.line_with(&["ADDED", "two"]).await?;
    Ok(())
}

async fn any_resource(cluster: Cluster) -> Result<()> {
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}});
    cluster.admin().post(&maps, &map).await?.code(201)?;
    for resource in ["configmaps", "cm", "ConfigMap", "configmaps.v1.", "cm/settings", "configmap settings"] {
        let mut running = watch(&cluster, resource).await?;
        expect(&mut running, &cluster, "EVENT NAMESPACE NAME DATA AGE").await?;
        running.line_with(&["ADDED", "settings"]).await?;
    }
    // For a cluster-scoped type, the namespace is ignored.
    let mut running = watch(&cluster, &format!("namespace/{}", cluster.namespace())).await?;
    running.line_with(&["ADDED", cluster.namespace()]).await?;
    Ok(())
}

/// Checks that the command fails with one line on stderr that contains all of `parts`, and prints nothing on stdout.
async fn fails(command: Crdctl, code: i32, parts: &[&str]) -> Result<()> {
    let output = command.run().await?;
    ensure!(output.code == Some(code) && output.stdout.is_empty(), "{output:?}");
    ensure!(output.stderr.lines().count() == 1 && output.stderr.starts_with("error: "), "{output:?}");
    for part in parts {
        ensure!(output.stderr.contains(part), "no {part:?} in {}", output.stderr);
    }
    Ok(())
}

async fn errors_of_the_cluster(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
        change(&mut kubeconfig);
        let path = cluster.folder().join("changed");
        std::fs::write(&path, kubeconfig.to_string())?;
        anyhow::Ok(path)
    };
    let with = async |path: &Path, arguments: &str| {
        anyhow::Ok(Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", path).args(arguments))
    };
    let server =
        changed(&|config| config["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1"))?;
    fails(with(&server, "watch blogs").await?, 1, &["https://127.0.0.1:1", "cannot be reached"]).await?;
    let token = changed(&|config| {
        for user in config["users"].as_array_mut().into_iter().flatten() {
            // The token must be the only credential, because a client certificate would take precedence.
            user["user"] = json!({"token": "not-a-token"});
        }
    })?;
    fails(with(&token, "watch blogs").await?, 1, &["401", "Unauthorized"]).await?;
    let other_ca = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?.cert.pem();
    let other_ca = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other_ca);
    let trust =
        changed(&|config| config["clusters"][0]["cluster"]["certificate-authority-data"] = json!(other_ca))?;
    fails(with(&trust, "watch blogs").await?, 1, &["not issued by a trusted authority"]).await?;

    let watch = async |arguments: &str| crdctl(&cluster, &format!("watch {arguments}")).await;
    let here = format!("in the namespace \"{}\"", cluster.namespace());
    let forbidden = ["User \"nobody\" cannot", "resource \"blogs\"", "\"web.helloworld\"", &here];
    fails(watch(&format!("blogs --context nobody -n {}", cluster.namespace())).await?, 1, &forbidden).await?;
    fails(watch("blogz").await?, 1, &["resource type \"blogz\"", "did you mean blogs"]).await?;
    fails(watch("whatever").await?, 1, &["resource type \"whatever\""]).await?;
    Ok(())
}

async fn errors_of_the_configuration(cluster: Cluster) -> Result<()> {
    let new = async || Crdctl::new(cluster.folder()).await;
    // These errors occur before any connection: the environment has no cluster.
    fails(new().await?.args("watch blogs -l a=b=c"), 2, &["a=b=c"]).await?;
    fails(new().await?.args("watch"), 2, &["RESOURCE"]).await?;
    fails(new().await?.args("watch blogs --every never"), 2, &["never"]).await?;
    fails(new().await?.args("watch blogs"), 1, &["no configuration found", ".kube/config", "crdctl demo"])
        .await?;

    let malformed = cluster.folder().join("malformed");
    std::fs::write(&malformed, "clusters: {")?;
    let path = malformed.display().to_string();
    fails(new().await?.env("KUBECONFIG", &malformed).args("watch blogs"), 1, &[&path, "malformed"]).await?;
    let kubeconfig = cluster.kubeconfig_file()?;
    let unknown = new().await?.env("KUBECONFIG", &kubeconfig).args("watch blogs --context nope");
    fails(unknown, 1, &["context \"nope\"", "is not defined"]).await?;
    let dangling = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "nowhere", "user": "somebody"}}],
    });
    let path = cluster.folder().join("dangling");
    std::fs::write(&path, dangling.to_string())?;
    let output = new().await?.env("KUBECONFIG", &path).args("watch blogs").run().await?;
    ensure!(output.code == Some(1) && !output.stderr.contains("localhost:8080"), "{output:?}");
    ensure!(output.stderr.contains("nowhere") || output.stderr.contains("somebody"), "{output:?}");
    Ok(())
}

async fn kubectls_flags(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    // Only what the flags replace makes this file usable.
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().context("a server")?.to_owned();
    kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    let path = cluster.folder().join("elsewhere");
    std::fs::write(&path, kubeconfig.to_string())?;
    let new = async |arguments: &str| {
        let arguments = format!("crd check --server {server} {arguments}");
        anyhow::Ok(Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", &path).args(&arguments))
    };
    new("").await?.run().await?.ok()?;
    new("--kubeconfig= --context= --as= --request-timeout= --certificate-authority=")
        .await?
        .run()
        .await?
        .ok()?;
    fails(new("--as jane").await?, 1, &["User \"jane\" cannot"]).await?;
    fails(
        new("--as jane --as-group team --as-uid 7 --as-user-extra k=v").await?,
        1,
        &["User \"jane\" cannot"],
    )
    .await?;
    new("--as jane --as-group=team --as-group system:masters").await?.run().await?.ok()?;
    fails(new("--as-group system:masters").await?, 1, &["without as"]).await?;
    fails(new("--user nobody").await?, 1, &["User \"nobody\" cannot"]).await?;
    fails(new("--user missing").await?, 1, &["user \"missing\" is not defined"]).await?;
    fails(new("--tls-server-name wrong.test").await?, 1, &["cannot read"]).await?;
    new("--tls-server-name wrong.test --insecure-skip-tls-verify").await?.run().await?.ok()?;
    fails(new("--as-user-extra v --as jane").await?, 2, &["KEY=VALUE"]).await?;
    // Neither a file nor a context is needed.
    let alone = format!("crd check --server {server} --insecure-skip-tls-verify --token wrong");
    fails(Crdctl::new(cluster.folder()).await?.args(&alone), 1, &["401"]).await
}

async fn verbosity(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    for (level, shows_requests) in [("0", false), ("5", false), ("6", true), ("9", true)] {
        let output = crdctl(&cluster, &format!("crd check --token hunter2 -v {level}")).await?.run().await?;
        let is_shown = output.stderr.contains("method=GET") && output.stderr.contains("status=");
        ensure!(is_shown == shows_requests && !output.stderr.contains("hunter2"), "{level}: {output:?}");
    }
    // RUST_LOG takes precedence.
    let quiet = crdctl(&cluster, "crd check -v 9").await?.env("RUST_LOG", "off").run().await?;
    ensure!(quiet.stderr.is_empty(), "{quiet:?}");
    Ok(())
}

async fn kubeconfig_in_three_files(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let whole = cluster.kubeconfig();
    let servers = Kubeconfig { clusters: whole.clusters.clone(), ..Kubeconfig::default() };
    let users = Kubeconfig {
        auth_infos: whole.auth_infos.clone(),
        contexts: whole.contexts.clone(),
        current_context: whole.current_context.clone(),
        ..Kubeconfig::default()
    };
    let (first, last) = (cluster.folder().join("servers"), cluster.folder().join("users"));
    std::fs::write(&first, serde_json::to_vec(&servers)?)?;
    std::fs::write(&last, serde_json::to_vec(&users)?)?;
    let missing = cluster.folder().join("missing");
    let list = std::env::join_paths([&first, &missing, &last])?;
    let mut running = Crdctl::new(cluster.folder())
        .await?
        .env("KUBECONFIG", &list)
        .args(&format!("watch blogs -n {}", cluster.namespace()))
        .start()?;
    running.line_with(&["ADDED", "one"]).await?;
    let reported =
        Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", &list).args("config").run().await?.ok()?;
    for path in [&first, &missing, &last] {
        ensure!(reported.contains(&path.display().to_string()), "{} is not in {reported}", path.display());
    }
    ensure!(reported.contains("missing") && !reported.contains("-token"), "{reported}");
    Ok(())
}

async fn namespace_of_the_context(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    kubeconfig["contexts"][0]["context"]["namespace"] = json!(cluster.namespace());
    let path = cluster.folder().join("with-namespace");
    std::fs::write(&path, kubeconfig.to_string())?;
    let new = async || anyhow::Ok(Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", &path));
    new().await?.args("watch blogs").start()?.line_with(&["ADDED", "one"]).await?;
    new().await?.args("watch blogs -A").start()?.line_with(&["ADDED", cluster.namespace(), "one"]).await?;
    // The variable takes precedence over the context.
    let mut elsewhere =
        new().await?.env("NAMESPACE", "default").args("watch configmaps --every 100ms").start()?;
    elsewhere.line_with(&["CACHED"]).await?;
    let mut here = crdctl(&cluster, "watch blogs").await?.env("NAMESPACE", cluster.namespace()).start()?;
    here.line_with(&["ADDED", "one"]).await?;
    Ok(())
}

/// Completes the line's next word, and returns the candidates without their descriptions. Uses zsh's protocol, in which a
/// word that is not there is empty.
async fn completed(cluster: &Cluster, line: &str) -> Result<Vec<String>> {
    let last = line.split(' ').count() - 1;
    let request = crdctl(cluster, &format!("-- {line}")).await?;
    let request = request.env("CRDCTL_COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", last.to_string());
    let output = request.run().await?;
    ensure!(output.code == Some(0) && output.stderr.is_empty(), "{output:?}");
    Ok(output.stdout.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect())
}

async fn completion(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "alpha", &json!({})).await?;
    create(&cluster, "beta", &json!({})).await?;
    let namespace = cluster.namespace();
    let offers = async |line: &str, expected: &[&str]| {
        // The server serves a new type a moment after its CRD is established.
        eventually(PATIENCE, || async {
            let found = completed(&cluster, line).await?;
            ensure!(found == expected, "{line}: {found:?}");
            Ok(())
        })
        .await
    };
    offers("crdctl watch blo", &["blogs"]).await?;
    // A short name, unless another group has the same.
    offers("crdctl watch even", &["events", "events.events.k8s.io"]).await?;
    offers("crdctl watch blogs.w", &["blogs.web.helloworld"]).await?;
    offers(&format!("crdctl watch blogs -n {namespace} "), &["alpha", "beta"]).await?;
    offers(&format!("crdctl --namespace {namespace} watch blogs "), &["alpha", "beta"]).await?;
    offers(&format!("crdctl watch --namespace={namespace} bl al"), &["alpha"]).await?;
    offers(&format!("crdctl watch -n {namespace} blog/b"), &["blog/beta"]).await?;
    offers(&format!("crdctl watch -n {namespace} blog/alpha blog/b"), &["blog/beta"]).await?;
    offers(&format!("crdctl wait -n {namespace} blog/b"), &["blog/beta"]).await?;
    offers(&format!("crdctl blame -n {namespace} blog b"), &["beta"]).await?;
    offers("crdctl watch configmaps,blo", &["configmaps,blogs"]).await?;
    offers(&format!("crdctl watch blogs -n {namespace}"), &[namespace]).await?;
    offers("crdctl watch blogs --context nob", &["nobody"]).await?;
    // Silence, if the server refuses, and if it has no such type.
    offers("crdctl watch blogs --context nobody -n ", &[]).await?;
    offers("crdctl watch nonsense ", &[]).await?;
    Ok(())
}

async fn version(cluster: Cluster) -> Result<()> {
    let run = async |arguments: &str| crdctl(&cluster, arguments).await?.run().await?.ok();
    let server = cluster.admin().get("/version").await?.code(200)?;
    let data: Value = serde_json::from_str(&run("version -o json").await?)?;
    assert_eq!(data["serverVersion"], server);
    let client = data["clientVersion"]["gitVersion"].as_str().context("the client's version")?;
    let server = server["gitVersion"].as_str().context("the server's version")?;
    assert_eq!(run("version").await?, format!("Client Version: {client}\nServer Version: {server}\n"));
    assert_eq!(run("version --client").await?, format!("Client Version: {client}\n"));
    Ok(())
}
