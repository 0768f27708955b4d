//! LimitRanges: what containers get, and what Pods and PersistentVolumeClaims must keep to.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{MERGE_PATCH, Reply},
};
use serde_json::{Value, json};

e2e::on_each_cluster! { defaults, bounds_of_containers, bounds_of_pods, bounds_of_claims, several }

const PATIENCE: Duration = Duration::from_secs(30);

/// Creates a LimitRange, and waits until it has an effect on Pods.
async fn limit(cluster: &Cluster, name: &str, limits: &Value) -> Result<()> {
    // Containers that say nothing get something by which it is recognized.
    let mark = format!("example.com/{name}");
    let mut limits = limits.as_array().cloned().unwrap_or_default();
    let is_of_containers = |limit: &Value| limit["type"] == "Container";
    if !limits.iter().any(is_of_containers) {
        limits.push(json!({"type": "Container"}));
    }
    for limit in limits.iter_mut().filter(|limit| is_of_containers(limit)) {
        limit["default"][&mark] = "1".into();
        limit["defaultRequest"][&mark] = "1".into();
    }
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name}, "spec": {"limits": limits},
    });
    cluster.admin().post(&cluster.path("limitranges"), &range).await?.code(201)?;
    eventually(PATIENCE, || async {
        // It is refused if the limits are such.
        let tried = format!("{}?dryRun=All", cluster.path("pods"));
        let tried = cluster.admin().post(&tried, &pod("probe", &[json!({"name": "a"})])).await?;
        let is_set = tried.body.to_string().contains(&mark);
        let is_refused = ["usage per", "ratio per"].iter().any(|why| tried.message().contains(why));
        ensure!(is_set || is_refused, "no limits yet: {}", tried.body);
        Ok(())
    })
    .await
}

fn pod(name: &str, containers: &[Value]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .cloned()
        .map(|mut container| {
            container["image"] = "i".into();
            container
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": containers},
    })
}

fn needs(name: &str, requests: &Value, limits: &Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

async fn post(cluster: &Cluster, containers: &[Value]) -> Result<Reply> {
    cluster.admin().post(&cluster.path("pods"), &pod("p", containers)).await
}

async fn defaults(cluster: Cluster) -> Result<()> {
    let item = json!({
        "type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "0.25"},
    });
    limit(&cluster, "a", &json!([item])).await?;
    let mut pod = pod("p", &[json!({"name": "a"}), needs("b", &json!({}), &json!({"cpu": "1"}))]);
    pod["spec"]["initContainers"] = json!([{"name": "c", "image": "i"}]);
    let created = cluster.admin().post(&cluster.path("pods"), &pod).await?.code(201)?;
    let (mark, all) = ("example.com/a", "cpu, example.com/a, memory");
    assert_eq!(
        created["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        format!(
            "LimitRanger plugin set: {all} request for container a; {all} limit for container a; {mark}, memory request for \
             container b; {mark}, memory limit for container b; {all} request for init container c; {all} limit for init \
             container c"
        )
    );
    let full = json!({
        "requests": {"cpu": "250m", mark: "1", "memory": "1Gi"}, "limits": {"cpu": "500m", mark: "1", "memory": "1Gi"},
    });
    assert_eq!(created["spec"]["containers"][0]["resources"], full);
    assert_eq!(created["spec"]["initContainers"][0]["resources"], full);
    let own = json!({
        "requests": {"cpu": "1", mark: "1", "memory": "1Gi"}, "limits": {"cpu": "1", mark: "1", "memory": "1Gi"},
    });
    assert_eq!(created["spec"]["containers"][1]["resources"], own);
    assert_eq!(created["status"]["qosClass"], "Burstable");
    // A pod without init containers gets none, and can be changed.
    pod["metadata"]["name"] = "q".into();
    pod["spec"].as_object_mut().context("a spec")?.remove("initContainers");
    let created = cluster.admin().post(&cluster.path("pods"), &pod).await?.code(201)?;
    assert_eq!(created["spec"].get("initContainers"), None);
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    cluster.admin().patch(&format!("{}/q", cluster.path("pods")), MERGE_PATCH, &change).await?.code(200)?;
    Ok(())
}

async fn bounds_of_containers(cluster: Cluster) -> Result<()> {
    let item = json!({
        "type": "Container", "min": {"cpu": "100m"}, "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "2"},
    });
    limit(&cluster, "a", &json!([item])).await?;
    for (requests, limits, why) in [
        (
            json!({"cpu": "50m"}),
            json!({"cpu": "50m"}),
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            json!({"cpu": "100m", "memory": "1Gi"}),
            json!({"cpu": "100m", "memory": "1.5Gi"}),
            "maximum memory usage per Container is 1Gi, but limit is 1536Mi",
        ),
        (
            json!({"cpu": "100m"}),
            json!({"cpu": "0.25"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
        ),
        (
            json!({"cpu": "50m"}),
            json!({"cpu": "1", "memory": "2Gi"}),
            "[minimum cpu usage per Container is 100m, but request is 50m, maximum memory usage per Container is 1Gi, but limit is \
             2Gi, cpu max limit to request ratio per Container is 2, but provided ratio is 20.000000]",
        ),
        (
            json!({"cpu": "100m"}),
            json!({}),
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
    ] {
        let message = format!("pods \"p\" is forbidden: {why}");
        post(&cluster, &[needs("c", &requests, &limits)]).await?.refused(403, "Forbidden", &message)?;
    }
    post(&cluster, &[needs("c", &json!({"cpu": "100m"}), &json!({"cpu": "200m"}))]).await?.code(201)?;
    Ok(())
}

async fn bounds_of_pods(cluster: Cluster) -> Result<()> {
    let item = json!({"type": "Pod", "min": {"memory": "1Mi"}, "max": {"cpu": "1"}});
    limit(&cluster, "a", &json!([item])).await?;
    let one = |name: &str, cpu: &str| needs(name, &json!({"memory": "1Mi"}), &json!({"cpu": cpu}));
    let refused = |why: &str| format!("pods \"p\" is forbidden: {why}");
    post(&cluster, &[one("a", "600m"), one("b", "600m")]).await?.refused(
        403,
        "Forbidden",
        &refused("maximum cpu usage per Pod is 1, but limit is 1200m"),
    )?;
    post(&cluster, &[json!({"name": "a"})]).await?.refused(
        403,
        "Forbidden",
        &refused(
            "[minimum memory usage per Pod is 1Mi.  No request is specified, maximum cpu usage per Pod is 1.  No limit is \
             specified]",
        ),
    )?;
    // The name is generated before.
    let mut generated = pod("", &[one("a", "2")]);
    generated["metadata"] = json!({"generateName": "g-"});
    let reply = cluster.admin().post(&cluster.path("pods"), &generated).await?;
    let message = reply.message();
    assert!(message.starts_with("pods \"g-") && !message.starts_with("pods \"g-\""), "{message}");
    post(&cluster, &[one("a", "600m"), one("b", "400m")]).await?.code(201)?;
    Ok(())
}

async fn bounds_of_claims(cluster: Cluster) -> Result<()> {
    let item = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
    limit(&cluster, "a", &json!([item])).await?;
    let post = async |storage: &str| {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "resources": {"requests": {"storage": storage}},
            },
        });
        cluster.admin().post(&cluster.path("persistentvolumeclaims"), &claim).await
    };
    for (storage, why) in [
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("3Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
    ] {
        let message = format!("persistentvolumeclaims \"c\" is forbidden: {why}");
        post(storage).await?.refused(403, "Forbidden", &message)?;
    }
    post("1Gi").await?.code(201)?;
    Ok(())
}

async fn several(cluster: Cluster) -> Result<()> {
    limit(&cluster, "a", &json!([{"type": "Container", "max": {"cpu": "2"}}])).await?;
    limit(&cluster, "b", &json!([{"type": "Container", "max": {"cpu": "1"}}])).await?;
    let message = "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 1500m";
    let of = |cpu: &str| needs("c", &json!({}), &json!({"cpu": cpu}));
    eventually(PATIENCE, || async {
        post(&cluster, &[of("1500m")]).await?.refused(403, "Forbidden", message).map(drop)
    })
    .await?;
    post(&cluster, &[of("1")]).await?.code(201)?;
    Ok(())
}
