//! The sample operator, as a program: what it makes for a blog, what it reports, and who takes over when it is killed.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    crdctl::{Crdctl, Running},
    eventually,
    http::MERGE_PATCH,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    crdctl::{delete, install, patch},
    deploy::{self, NAMESPACE},
};

e2e::on_each_cluster! {
    conditions_follow_the_address, children_come_back, a_new_address_rolls_through,
    children_go_with_their_blog [Controllers], a_killed_leader_is_replaced, a_dry_run_writes_nothing,
    a_second_signal_ends_it_at_once,
    // It cares for the blogs of all namespaces.
    deployed [Nodes, Alone]
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Starts an operator for the blogs of the test's namespace.
async fn start(cluster: &Cluster, arguments: &str) -> Result<Running> {
    command(cluster, &cluster.kubeconfig_file()?, arguments).await?.start()
}

/// Prepares an operator for the blogs of the test's namespace.
pub(crate) async fn command(cluster: &Cluster, kubeconfig: &Path, arguments: &str) -> Result<Crdctl> {
    let arguments = format!("-n {} --check-private {arguments}", cluster.namespace());
    let operator = Crdctl::operator(cluster.folder()).await?;
    Ok(operator.env("KUBECONFIG", kubeconfig).args(&arguments))
}

/// Starts a server that answers with 200 until it is dropped.
pub(crate) async fn server() -> Result<(String, Server)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The checks do not read it to its end.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    Ok((url, Server(task)))
}

pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn at(cluster: &Cluster, group: &str, rest: &str) -> String {
    format!("/{group}/namespaces/{}/{rest}", cluster.namespace())
}

pub(crate) async fn create(cluster: &Cluster, name: &str, url: &str) -> Result<Value> {
    let blog = json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": name},
        "spec": {"url": url, "checkInterval": "5s"},
    });
    cluster.admin().post(&at(cluster, "apis/web.helloworld/v1", "blogs"), &blog).await?.code(201)
}

/// The paths of what a blog owns.
pub(crate) fn children(cluster: &Cluster, blog: &str) -> [String; 3] {
    [
        at(cluster, "api/v1", &format!("configmaps/blog-{blog}")),
        at(cluster, "api/v1", &format!("services/blog-{blog}")),
        at(cluster, "apis/apps/v1", &format!("deployments/blog-{blog}")),
    ]
}

/// Waits until an object is there and as it should be.
pub(crate) async fn becomes(
    cluster: &Cluster,
    path: &str,
    is_good: impl Fn(&Value) -> bool,
) -> Result<Value> {
    eventually(PATIENCE, || async {
        let object = cluster.admin().get(path).await?.code(200)?;
        ensure!(is_good(&object), "{object}");
        Ok(object)
    })
    .await
}

/// Waits until a condition of a blog has this status, for the present generation, and returns it.
pub(crate) async fn condition(cluster: &Cluster, blog: &str, type_: &str, status: &str) -> Result<Value> {
    let path = at(cluster, "apis/web.helloworld/v1", &format!("blogs/{blog}"));
    let find = |blog: &Value| {
        let conditions = blog["status"]["conditions"].as_array()?;
        conditions.iter().find(|it| it["type"] == type_ && it["status"] == status).cloned()
    };
    let is_current = |blog: &Value| blog["status"]["observedGeneration"] == blog["metadata"]["generation"];
    let blog = becomes(cluster, &path, |blog| is_current(blog) && find(blog).is_some()).await?;
    find(&blog).context("it was there")
}

async fn conditions_follow_the_address(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let _operator = start(&cluster, "").await?;
    let (url, server) = server().await?;
    create(&cluster, "one", &url).await?;
    let reachable = condition(&cluster, "one", "Reachable", "True").await?;
    assert_eq!(reachable["reason"], "Answered");
    drop(server);
    let unreachable = condition(&cluster, "one", "Reachable", "False").await?;
    assert_eq!(unreachable["reason"], "NotConnected");
    // Nothing makes pods available here.
    let deployment = &children(&cluster, "one")[2];
    let status = cluster.admin().get(deployment).await?.code(200)?["status"].clone();
    if status["availableReplicas"].is_null() {
        condition(&cluster, "one", "Ready", "False").await?;
    }

    // One Event for each change.
    let events = at(&cluster, "apis/events.k8s.io/v1", "events?fieldSelector=regarding.name=one");
    let found = becomes(&cluster, &events, |list| {
        let reasons: Vec<&Value> =
            list["items"].as_array().into_iter().flatten().map(|event| &event["reason"]).collect();
        ["RollingOut", "Answered", "NotConnected"].iter().all(|reason| reasons.contains(&&json!(reason)))
    })
    .await?;
    let answered = found["items"].as_array().into_iter().flatten().filter(|it| it["reason"] == "Answered");
    assert_eq!(answered.count(), 1, "{found}");
    Ok(())
}

async fn children_come_back(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let _operator = start(&cluster, "").await?;
    let blog = create(&cluster, "one", "https://example.com/?a&b").await?;
    let paths = children(&cluster, "one");
    for path in &paths {
        let child = becomes(&cluster, path, |_| true).await?;
        let owner = &child["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["uid"], &owner["controller"]), (&blog["metadata"]["uid"], &json!(true)));

        // Deleted, and back with another uid.
        cluster.admin().delete(path).await?.ok()?;
        becomes(&cluster, path, |new| {
            new["metadata"]["uid"] != child["metadata"]["uid"]
                && new["metadata"]["deletionTimestamp"].is_null()
        })
        .await?;
    }
    // Changed, and as it was.
    let page = |object: &Value| object["data"]["index.html"].as_str().unwrap_or_default().to_owned();
    cluster
        .admin()
        .patch(&paths[0], MERGE_PATCH, &json!({"data": {"index.html": "mine"}}))
        .await?
        .code(200)?;
    becomes(&cluster, &paths[0], |map| page(map).contains("0; url=https://example.com/?a&amp;b")).await?;
    // Also a label by which the operator finds it.
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    cluster.admin().patch(&paths[1], MERGE_PATCH, &label).await?.code(200)?;
    becomes(&cluster, &paths[1], |service| {
        service["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "blog-operator"
    })
    .await?;
    Ok(())
}

async fn a_new_address_rolls_through(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let _operator = start(&cluster, "").await?;
    create(&cluster, "one", "https://example.com/old").await?;
    let [map, _, deployment] = children(&cluster, "one");
    becomes(&cluster, &map, |_| true).await?;
    patch(&cluster, "one", &json!({"spec": {"url": "https://example.com/new"}})).await?;
    becomes(&cluster, &map, |map| map["data"].to_string().contains("https://example.com/new")).await?;
    becomes(&cluster, &deployment, |deployment| {
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        annotations["web.helloworld/url"] == "https://example.com/new"
    })
    .await?;
    Ok(())
}

async fn children_go_with_their_blog(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let _operator = start(&cluster, "").await?;
    create(&cluster, "one", "https://example.com").await?;
    for path in children(&cluster, "one") {
        becomes(&cluster, &path, |_| true).await?;
    }
    // There is no finalizer that could hold it up.
    delete(&cluster, "one").await?;
    for path in children(&cluster, "one") {
        eventually(Duration::from_secs(120), || async { cluster.admin().get(&path).await?.code(404) })
            .await?;
    }
    Ok(())
}

/// The lease's default duration, and the 2 s that a candidate may need, or more on a busy machine.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(22);

/// The path of the Lease of the operators that [`start`] starts.
fn lease(cluster: &Cluster) -> String {
    at(cluster, "apis/coordination.k8s.io/v1", "leases/blog-operator")
}

/// Returns who holds a Lease. Empty if nobody does.
pub(crate) fn holder(lease: &Value) -> String {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn held(lease: &Value) -> bool {
    !holder(lease).is_empty()
}

async fn a_killed_leader_is_replaced(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let lease = lease(&cluster);
    let leader = start(&cluster, "--leader-elect").await?;
    let first = becomes(&cluster, &lease, held).await?["spec"]["holderIdentity"].clone();
    let _standby = start(&cluster, "--leader-elect").await?;
    create(&cluster, "one", "https://example.com").await?;
    becomes(&cluster, &children(&cluster, "one")[2], |_| true).await?;

    leader.signal("KILL").await?;
    let killed = Instant::now();
    create(&cluster, "two", "https://example.com").await?;
    becomes(&cluster, &children(&cluster, "two")[2], |_| true).await?;
    let took = killed.elapsed();
    ensure!(took <= TAKEOVER, "the standby took over after {took:?}");
    let second = becomes(&cluster, &lease, held).await?["spec"]["holderIdentity"].clone();
    assert_ne!(first, second);
    Ok(())
}

async fn a_dry_run_writes_nothing(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let mut operator = start(&cluster, "--dry-run").await?;
    create(&cluster, "one", "https://example.com").await?;
    operator.complaint("blog-one").await?;
    for path in children(&cluster, "one") {
        cluster.admin().get(&path).await?.code(404)?;
    }
    operator.signal("TERM").await?;
    let (status, said) = operator.ends_within(PATIENCE).await?;
    ensure!(status.success(), "{status}: {said}");
    Ok(())
}

async fn a_second_signal_ends_it_at_once(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    // A check of it takes as long as it may, and the run with it.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let mut operator = start(&cluster, "--leader-elect").await?;
    create(&cluster, "one", &format!("http://{}", silent.local_addr()?)).await?;
    let _checking = timeout(PATIENCE, silent.accept()).await??;
    operator.signal("TERM").await?;
    operator.complaint("stopped by SIGTERM").await?;
    operator.signal("INT").await?;
    let (status, said) = operator.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(1) && said.contains("SIGINT again"), "{status}: {said}");
    let lease = cluster.admin().get(&lease(&cluster)).await?.code(200)?;
    ensure!(held(&lease), "the run was not finished, but the Lease was released: {lease}");
    Ok(())
}

async fn deployed(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let admin = cluster.admin();
    let objects = deploy::apply(&cluster, "operator", &cluster.operator_image()?).await?;
    let deployment = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/blog-operator");
    eventually(PODS, || async {
        let status = admin.get(&deployment).await?.code(200)?["status"].clone();
        // The standby is ready, too.
        ensure!(status["availableReplicas"] == 2, "{status}");
        Ok(())
    })
    .await?;
    assert_eq!(rights(&cluster).await?, expected_rights());

    create(&cluster, "one", "https://example.com").await?;
    becomes(&cluster, &children(&cluster, "one")[2], |_| true).await?;
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/blog-operator");
    let first = holder(&admin.get(&lease).await?.code(200)?);
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let list =
        admin.get(&format!("{pods}?labelSelector=app.kubernetes.io/name=blog-operator")).await?.code(200)?;
    let names =
        list["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str());
    let leader = names.into_iter().find(|name| first.contains(name)).context("the Lease names no pod")?;

    admin.delete(&format!("{pods}/{leader}?gracePeriodSeconds=0")).await?.ok()?;
    // Its containers may outlive the object by seconds.
    eventually(TAKEOVER, || async {
        let lease = admin.get(&lease).await?.code(200)?;
        ensure!(!["", &first].contains(&&*holder(&lease)), "{lease}");
        Ok(())
    })
    .await?;
    create(&cluster, "two", "https://example.com").await?;
    becomes(&cluster, &children(&cluster, "two")[2], |_| true).await?;

    deploy::remove(&cluster, &objects).await
}

/// Pods have to be scheduled, and images have to be unpacked.
const PODS: Duration = Duration::from_secs(90);

/// The rights that the operator has in addition to those of another account of its namespace.
async fn rights(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let of_all = deploy::rights(cluster, "default").await?;
    let own = deploy::rights(cluster, "blog-operator").await?;
    let mut rights = BTreeSet::new();
    for rule in own.iter().filter(|rule| !of_all.contains(rule)) {
        let words = |field: &str| -> Vec<String> {
            let words = rule[field].as_array().into_iter().flatten();
            words.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        for resource in words("resources") {
            for verb in words("verbs") {
                rights.insert(
                    format!("{verb} {resource} {}", words("resourceNames").join(" ")).trim().to_owned(),
                );
            }
        }
    }
    Ok(rights)
}

fn expected_rights() -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for (resource, verbs) in [
        ("blogs", "get list watch"),
        ("blogs/status", "patch"),
        ("blogs/finalizers", "update"),
        ("configmaps", "create list patch watch"),
        ("services", "create list patch watch"),
        ("deployments", "create list patch watch"),
        ("events", "create patch"),
        ("leases", "create"),
        ("leases blog-operator", "get update"),
    ] {
        let (resource, name) = resource.split_once(' ').unwrap_or((resource, ""));
        rights.extend(verbs.split(' ').map(|verb| format!("{verb} {resource} {name}").trim().to_owned()));
    }
    rights
}
