//! The manifests in `deploy/`: the server accepts them, and on clusters with nodes they run with only the rights that they
//! name.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, MERGE_PATCH},
};
use serde_json::{Value, json};

use crate::crdctl::{create, delete, install};

e2e::on_each_cluster! {
    manifests [Kubectl], samples [Kubectl], watcher [Nodes], names_are_resolved_in_a_pod [Nodes],
    the_image_serves [Nodes]
}

/// Pods have to be scheduled, and images have to be unpacked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a kustomization of a part of `deploy` whose names no other test uses, and returns its folder.
fn overlay(cluster: &Cluster, part: &str) -> Result<String> {
    let folder = cluster.folder().join(format!("overlay-{part}"));
    fs::create_dir_all(&folder)?;
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(&folder.canonicalize()?, &deploy(part)?)],
        "namespace": cluster.namespace(),
        "namePrefix": format!("{}-", cluster.namespace()),
    });
    fs::write(folder.join("kustomization.yaml"), kustomization.to_string())?;
    Ok(folder.display().to_string())
}

fn deploy(part: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(part).canonicalize()?;
    Ok(folder.display().to_string())
}

/// Makes a path relative, because kustomize accepts no absolute paths.
fn relative(from: &Path, to: &str) -> String {
    let up = from.components().count() - 1;
    format!("{}{}", "../".repeat(up), to.trim_start_matches('/'))
}

async fn manifests(cluster: Cluster) -> Result<()> {
    let common = [
        "namespace/",
        "customresourcedefinition.apiextensions.k8s.io/blogs.web.helloworld",
        "serviceaccount/",
        "clusterrole.rbac.authorization.k8s.io/",
        "clusterrolebinding.rbac.authorization.k8s.io/",
        "deployment.apps/",
    ];
    let of_the_lease = ["role.rbac.authorization.k8s.io/", "rolebinding.rbac.authorization.k8s.io/"];
    for (part, more) in [("default", &[][..]), ("operator", &of_the_lease[..])] {
        let folder = overlay(&cluster, part)?;
        let said = cluster.kubectl(&["apply", "--dry-run=server", "--kustomize", &folder]).await?.ok()?;
        for object in common.iter().chain(more) {
            let line = said.lines().find(|line| line.starts_with(object));
            let line = line.with_context(|| format!("no {object} in {said}"))?;
            ensure!(line.ends_with("(server dry run)"), "{line}");
        }
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
    // The CRD is installed before the pod, which would otherwise restart repeatedly.
    install(&cluster).await?;
    let admin = cluster.admin();
    let objects = apply(&cluster, "default", &cluster.image()?).await?;
    rolled_out(&cluster).await?;
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let found = admin.get(&format!("{pods}?labelSelector=app.kubernetes.io/name=blog-watcher")).await?;
    let found = found.code(200)?;
    let pod = found["items"][0]["metadata"]["name"].as_str().context("no pod")?.to_owned();

    // The pod is ready only once it has synced. Its own endpoint reports that too.
    let ask = async |path: &str| admin.get(&format!("{pods}/{pod}:8080/proxy{path}")).await;
    assert_eq!(ask("/readyz").await?.code(200)?, "ok\n");
    ask("/healthz").await?.code(200)?;
    let metrics = ask("/metrics").await?.code(200)?;
    ensure!(metrics.as_str().is_some_and(|page| page.ends_with("# EOF\n")), "{metrics}");

    create(&cluster, "one", &json!({})).await?;
    let log = format!("{pods}/{pod}/log");
    logs(&cluster, &log, &["ADDED", cluster.namespace(), "one", "https://example.com/one"]).await?;
    delete(&cluster, "one").await?;
    logs(&cluster, &log, &["DELETED", cluster.namespace(), "one"]).await?;

    // The rights that it has in addition to those of another account of its namespace.
    let mut rights = rights(&cluster, "blog-watcher").await?;
    let of_all = self::rights(&cluster, "default").await?;
    rights.retain(|right| !of_all.contains(right));
    let expected =
        json!({"apiGroups": ["web.helloworld"], "resources": ["blogs"], "verbs": ["list", "watch"]});
    ensure!(rights == [expected], "{rights:?}");
    viewers_see_blogs(&cluster).await?;

    // A rollout asks the old pod to end, and it exits by itself and successfully.
    let mut watch = admin.watch(&format!("{pods}?watch=true&fieldSelector=metadata.name={pod}")).await?;
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"restarted": "once"}}}}});
    admin.patch(DEPLOYMENT, MERGE_PATCH, &restart).await?.code(200)?;
    rolled_out(&cluster).await?;
    let last = loop {
        let event = watch.next().await?;
        if event.kind == "DELETED" {
            break event.object;
        }
    };
    let state = &last["status"]["containerStatuses"][0]["state"]["terminated"];
    let ended = (&state["exitCode"], &state["reason"]);
    assert_eq!(ended, (&json!(0), &json!("Completed")), "{}", last["status"]);

    remove(&cluster, &objects).await
}

/// Applies a part of `deploy` with this image. Returns its objects. This is what kubectl does, but it does not need kubectl, so
/// that it runs wherever there are nodes.
pub(crate) async fn apply(cluster: &Cluster, part: &str, image: &str) -> Result<Vec<Value>> {
    let mut objects = objects(&deploy(part)?)?;
    for object in &mut objects {
        if object["kind"] == "Deployment" {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        }
        let path = format!("{}?fieldManager=deploy&force=true", path(object)?);
        cluster.admin().patch(&path, APPLY_PATCH, object).await?.ok()?;
    }
    Ok(objects)
}

/// Deletes what [`apply`] applied, and waits until it is gone: a test that applies it again would have its namespace taken away.
/// The CRD stays, because other tests rely on it.
pub(crate) async fn remove(cluster: &Cluster, objects: &[Value]) -> Result<()> {
    let admin = cluster.admin();
    for object in objects.iter().rev().filter(|object| object["kind"] != "CustomResourceDefinition") {
        let path = path(object)?;
        admin.delete(&path).await?.ok()?;
        eventually(PATIENCE, || async { admin.get(&path).await?.code(404) }).await?;
    }
    Ok(())
}

pub(crate) const NAMESPACE: &str = "blog-system";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/blog-system/deployments/blog-watcher";

/// Returns the objects of a kustomization and of the kustomizations that it includes, in order.
fn objects(folder: &str) -> Result<Vec<Value>> {
    let read = |path: &Path| -> Result<Value> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
    };
    let folder = Path::new(folder);
    let kustomization = read(&folder.join("kustomization.yaml"))?;
    let mut objects = Vec::new();
    for resource in kustomization["resources"].as_array().context("no resources")? {
        let path = folder.join(resource.as_str().context("a resource is a path")?);
        if path.is_dir() {
            objects.extend(self::objects(&path.display().to_string())?);
        } else {
            objects.push(read(&path)?);
        }
    }
    // As with kustomize, a namespace comes before its objects.
    objects.sort_by_key(|object| object["kind"] != "Namespace");
    Ok(objects)
}

fn path(object: &Value) -> Result<String> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().context("an object without a name")?;
    let kind = object["kind"].as_str().context("an object without a kind")?;
    let version = object["apiVersion"].as_str().context("an object without a version")?;
    let group = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let namespace = metadata["namespace"].as_str();
    let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    Ok(format!("{group}{namespace}/{}s/{name}", kind.to_lowercase()))
}

/// Waits until the Deployment's only pod has the current template, and is ready.
async fn rolled_out(cluster: &Cluster) -> Result<()> {
    eventually(PATIENCE, || async {
        let deployment = cluster.admin().get(DEPLOYMENT).await?.code(200)?;
        let status = &deployment["status"];
        ensure!(status["observedGeneration"] == deployment["metadata"]["generation"], "{status}");
        for count in ["replicas", "updatedReplicas", "availableReplicas"] {
            ensure!(status[count] == 1, "{count}: {status}");
        }
        Ok(())
    })
    .await
}

/// Returns the rights of a ServiceAccount in the Deployment's namespace, according to the server.
pub(crate) async fn rights(cluster: &Cluster, account: &str) -> Result<Vec<Value>> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": NAMESPACE},
    });
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let of_namespace = format!("system:serviceaccounts:{NAMESPACE}");
    let headers = [
        ("content-type", "application/json"),
        ("impersonate-user", &user),
        ("impersonate-group", "system:serviceaccounts"),
        ("impersonate-group", &of_namespace),
        ("impersonate-group", "system:authenticated"),
    ];
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let reply = cluster.admin().send(http::Method::POST, path, &headers, review.to_string().into()).await?;
    let mut status = reply.code(201)?["status"].take();
    ensure!(status["incomplete"] == false, "{status}");
    let mut rights = Vec::new();
    for rules in ["resourceRules", "nonResourceRules"] {
        rights.extend(status[rules].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    Ok(rights)
}

/// A user with the ClusterRole `view` in a namespace can list its blogs, once the controller has aggregated the roles.
async fn viewers_see_blogs(cluster: &Cluster) -> Result<()> {
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", cluster.namespace());
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    cluster.admin().post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;
    let blogs = format!("/apis/web.helloworld/v1/namespaces/{}/blogs", cluster.namespace());
    eventually(PATIENCE, || async { cluster.nobody().get(&blogs).await?.code(200) }).await?;
    cluster.nobody().delete(&blogs).await?.code(403)?;
    Ok(())
}

async fn names_are_resolved_in_a_pod(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let admin = cluster.admin();
    let namespace = cluster.namespace();
    // In-cluster configuration contains an address. This kubeconfig has a name that only the cluster's DNS resolves.
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
    // The ServiceAccount is created a moment after its namespace.
    eventually(PATIENCE, || async { admin.post(&pods, &pod).await?.code(201) }).await?;
    logs(&cluster, &format!("{pods}/by-name/log"), &["ADDED", namespace, "kubeconfig"]).await
}

/// The image is also a test API server: `docs/testing-with-kube-embedded.md`.
async fn the_image_serves(cluster: Cluster) -> Result<()> {
    let namespace = cluster.namespace();
    let admin = cluster.admin();
    let image = cluster.image()?;
    let container = |name: &str, args: &[&str]| {
        json!({
            "name": name, "image": image, "imagePullPolicy": "Never", "args": args,
            "volumeMounts": [{"name": "kubeconfig", "mountPath": "/kubeconfig"}],
            "securityContext": {"readOnlyRootFilesystem": true, "runAsNonRoot": true},
        })
    };
    let mut server = container(
        "server",
        &["serve", "--bind-address=0.0.0.0", "--tls-san=server.test", "--kubeconfig-out=/kubeconfig/config"],
    );
    // Runs beside the other containers, and before them.
    server["restartPolicy"] = "Always".into();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "served"},
        "spec": {
            "restartPolicy": "OnFailure",
            "initContainers": [server],
            "containers": [
                container("install", &["crd", "install", "--kubeconfig=/kubeconfig/config"]),
                container("wait", &[
                    "wait", "crd/blogs.web.helloworld", "--for=condition=Established", "--server=https://server.test:6443",
                    "--kubeconfig=/kubeconfig/config",
                ]),
            ],
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["server.test"]}],
            "volumes": [{"name": "kubeconfig", "emptyDir": {}}],
        },
    });
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    eventually(PATIENCE, || async { admin.post(&pods, &pod).await?.code(201) }).await?;
    eventually(PATIENCE, || async {
        let status = admin.get(&format!("{pods}/served")).await?.ok()?["status"].take();
        ensure!(status["phase"] == "Succeeded", "{status}");
        Ok(())
    })
    .await
}

/// Waits until a pod has logged a line with these words.
async fn logs(cluster: &Cluster, path: &str, words: &[&str]) -> Result<()> {
    eventually(PATIENCE, || async {
        let log = cluster.admin().get(path).await?.ok()?;
        let Value::String(log) = log else { anyhow::bail!("no log: {log}") };
        let has = |line: &str| words.iter().all(|word| line.split_whitespace().any(|found| found == *word));
        ensure!(log.lines().any(has), "no line of {words:?} in\n{log}");
        Ok(())
    })
    .await
}
