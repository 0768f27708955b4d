//! What is in `deploy/`: the server takes it, and where there are nodes it runs with the rights that it names.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually};
use serde_json::{Value, json};

use crate::crdctl::{create, delete, install};

e2e::on_each_cluster! {
    manifests [Kubectl], samples [Kubectl], watcher [Nodes, Kubectl], names_are_resolved_in_a_pod [Nodes]
}

/// Pods have to be scheduled, and images to be unpacked.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kustomization of `deploy/default` that shares no name with another test's; its folder.
fn overlay(cluster: &Cluster, image: &str) -> Result<String> {
    let folder = cluster.folder().join("overlay");
    fs::create_dir_all(&folder)?;
    let (name, tag) = image.rsplit_once(':').context("an image without a tag")?;
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(&folder.canonicalize()?, &deploy("default")?)],
        "namespace": cluster.namespace(),
        "namePrefix": format!("{}-", cluster.namespace()),
        "images": [{"name": "crdctl", "newName": name, "newTag": tag}],
    });
    fs::write(folder.join("kustomization.yaml"), kustomization.to_string())?;
    Ok(folder.display().to_string())
}

fn deploy(part: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(part).canonicalize()?;
    Ok(folder.display().to_string())
}

/// kustomize takes no absolute path.
fn relative(from: &Path, to: &str) -> String {
    let up = from.components().count() - 1;
    format!("{}{}", "../".repeat(up), to.trim_start_matches('/'))
}

async fn manifests(cluster: Cluster) -> Result<()> {
    let folder = overlay(&cluster, "crdctl:dev")?;
    let said = cluster.kubectl(&["apply", "--dry-run=server", "--kustomize", &folder]).await?.ok()?;
    for object in [
        "namespace/",
        "customresourcedefinition.apiextensions.k8s.io/blogs.web.helloworld",
        "serviceaccount/",
        "clusterrole.rbac.authorization.k8s.io/",
        "clusterrolebinding.rbac.authorization.k8s.io/",
        "deployment.apps/",
    ] {
        let line = said.lines().find(|line| line.starts_with(object));
        let line = line.with_context(|| format!("no {object} in {said}"))?;
        ensure!(line.ends_with("(server dry run)"), "{line}");
    }
    Ok(())
}

async fn samples(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let samples = deploy("samples")?;
    let said = cluster.kubectl(&["apply", "--dry-run=server", "--kustomize", &samples]).await?.ok()?;
    assert_eq!(said, "blog.web.helloworld/blog-sample created (server dry run)\n");
    Ok(())
}

async fn watcher(cluster: Cluster) -> Result<()> {
    // The CRD is there before the pod, which would start again and again without it.
    install(&cluster).await?;
    let folder = overlay(&cluster, &cluster.image()?)?;
    cluster.kubectl(&["apply", "--kustomize", &folder]).await?.ok()?;
    let deployment = format!("deployment/{}-blog-watcher", cluster.namespace());
    let rolled_out =
        async || cluster.kubectl(&["rollout", "status", &deployment, "--timeout=50s"]).await?.ok().map(drop);
    rolled_out().await?;
    let pod = pod(&cluster).await?;

    // Ready only once synced, and by its own account.
    let ask = async |path: &str| {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy{path}", cluster.namespace());
        cluster.admin().get(&path).await
    };
    assert_eq!(ask("/readyz").await?.code(200)?, "ok\n");
    ask("/healthz").await?.code(200)?;

    create(&cluster, "one", &json!({})).await?;
    logs(&cluster, &pod, &["ADDED", cluster.namespace(), "one", "https://example.com/one"]).await?;
    delete(&cluster, "one").await?;
    logs(&cluster, &pod, &["DELETED", cluster.namespace(), "one"]).await?;

    // What it may, and nothing else.
    let account = format!("--as=system:serviceaccount:{0}:{0}-blog-watcher", cluster.namespace());
    for (verb, resource, answer) in [
        ("list", "blogs.web.helloworld", "yes\n"),
        ("watch", "blogs.web.helloworld", "yes\n"),
        ("get", "blogs.web.helloworld", "no\n"),
        ("delete", "blogs.web.helloworld", "no\n"),
        ("list", "secrets", "no\n"),
        ("list", "pods", "no\n"),
        ("list", "customresourcedefinitions.apiextensions.k8s.io", "no\n"),
    ] {
        let said = cluster.kubectl(&["auth", "can-i", verb, resource, &account]).await?;
        assert_eq!(said.stdout, answer, "{verb} {resource}");
    }

    // A rollout asks the old pod to end, and it does, by itself and with success.
    let pods = format!("/api/v1/namespaces/{}/pods", cluster.namespace());
    let mut watch =
        cluster.admin().watch(&format!("{pods}?watch=true&fieldSelector=metadata.name={pod}")).await?;
    cluster.kubectl(&["rollout", "restart", &deployment]).await?.ok()?;
    rolled_out().await?;
    let last = loop {
        let event = watch.next().await?;
        if event.kind == "DELETED" {
            break event.object;
        }
    };
    let state = &last["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&state["exitCode"], &state["reason"]),
        (&json!(0), &json!("Completed")),
        "{}",
        last["status"]
    );
    remove_cluster_objects(&cluster).await
}

async fn names_are_resolved_in_a_pod(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let admin = cluster.admin();
    let namespace = cluster.namespace();
    // In-cluster configuration has an address; this has a name, which only the cluster's DNS knows.
    let mounted = "/var/run/secrets/kubernetes.io/serviceaccount";
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": "https://kubernetes.default.svc", "certificate-authority": format!("{mounted}/ca.crt"),
        }}],
        "users": [{"name": "u", "user": {"tokenFile": format!("{mounted}/token")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeconfig"},
        "data": {"config": kubeconfig.to_string()},
    });
    admin.post(&format!("/api/v1/namespaces/{namespace}/configmaps"), &map).await?.code(201)?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    });
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    admin.post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-name"},
        "spec": {
            "restartPolicy": "OnFailure",
            "containers": [{
                "name": "crdctl", "image": cluster.image()?, "imagePullPolicy": "Never",
                "args": ["watch", "configmaps", "--kubeconfig=/kubeconfig/config", "--request-timeout=20s"],
                "volumeMounts": [{"name": "kubeconfig", "mountPath": "/kubeconfig"}],
            }],
            "volumes": [{"name": "kubeconfig", "configMap": {"name": "kubeconfig"}}],
        },
    });
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    // The ServiceAccount comes a moment after its namespace.
    eventually(PATIENCE, || async { admin.post(&pods, &pod).await?.code(201) }).await?;
    logs(&cluster, "by-name", &["ADDED", namespace, "kubeconfig"]).await
}

/// The Deployment's one pod.
async fn pod(cluster: &Cluster) -> Result<String> {
    let path = format!(
        "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io/name=blog-watcher",
        cluster.namespace()
    );
    let pods = cluster.admin().get(&path).await?.code(200)?;
    let name = pods["items"][0]["metadata"]["name"].as_str();
    Ok(name.with_context(|| format!("no pod: {pods}"))?.to_owned())
}

/// Waits until a pod has logged a line that has these words.
async fn logs(cluster: &Cluster, pod: &str, words: &[&str]) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/log", cluster.namespace());
    eventually(PATIENCE, || async {
        let log = cluster.admin().get(&path).await?.ok()?;
        let Value::String(log) = log else { anyhow::bail!("no log: {log}") };
        let has = |line: &str| words.iter().all(|word| line.split_whitespace().any(|found| found == *word));
        ensure!(log.lines().any(has), "no line of {words:?} in\n{log}");
        Ok(())
    })
    .await
}

/// What does not go with the namespace.
async fn remove_cluster_objects(cluster: &Cluster) -> Result<()> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let named = |name: &str| format!("{}-{name}", cluster.namespace());
    cluster.admin().delete(&format!("{rbac}/clusterrolebindings/{}", named("blog-watcher"))).await?.ok()?;
    for role in ["blog-watcher", "blog-viewer", "blog-editor"] {
        cluster.admin().delete(&format!("{rbac}/clusterroles/{}", named(role))).await?.ok()?;
    }
    Ok(())
}
