//! ResourceQuotas: what they count, and what they refuse.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{MERGE_PATCH, Reply},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

e2e::on_each_cluster! {
    counts [Controllers], needs_of_pods [Controllers], scopes [Controllers], services_and_claims [Controllers],
    at_the_same_time [Controllers], custom_resources [Controllers], finished_pods [Controllers]
}

/// The controller of a real cluster counts nothing while it waits for the objects of a type that has just vanished: up to 30 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// Creates a quota, and waits until it has counted what is there.
async fn limit(cluster: &Cluster, name: &str, spec: &Value) -> Result<()> {
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec});
    let quota = cluster.admin().post(&cluster.path("resourcequotas"), &quota).await?.code(201)?;
    assert_eq!(quota["status"], json!({}));
    eventually(PATIENCE, || async {
        let status = status(cluster, name).await?;
        ensure!(status["hard"] == spec["hard"] && status["used"].is_object(), "not yet: {status}");
        Ok(())
    })
    .await?;
    settle(cluster).await
}

/// Waits until kube-apiserver, whose cache of quotas may be behind, knows them as they are now: a quota that is written now has an
/// effect.
async fn settle(cluster: &Cluster) -> Result<()> {
    let name = format!("probe-{}", fastrand::u32(..));
    let hard = json!({"count/leases.coordination.k8s.io": "0"});
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard},
    });
    let quotas = cluster.path("resourcequotas");
    cluster.admin().post(&quotas, &quota).await?.code(201)?;
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases?dryRun=All", cluster.namespace());
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "probe"}});
    eventually(PATIENCE, || async {
        let tried = cluster.admin().post(&leases, &lease).await?;
        ensure!(tried.message().contains(&format!("exceeded quota: {name},")), "not yet: {}", tried.body);
        Ok(())
    })
    .await?;
    cluster.admin().delete(&format!("{quotas}/{name}")).await?.code(200)?;
    Ok(())
}

async fn status(cluster: &Cluster, name: &str) -> Result<Value> {
    let quota = format!("{}/{name}", cluster.path("resourcequotas"));
    Ok(cluster.admin().get(&quota).await?.code(200)?["status"].clone())
}

async fn used(cluster: &Cluster, name: &str) -> Result<Value> {
    Ok(status(cluster, name).await?["used"].clone())
}

/// Waits until a quota has counted so much.
async fn becomes(cluster: &Cluster, name: &str, expected: &Value) -> Result<()> {
    eventually(PATIENCE, || async {
        let used = used(cluster, name).await?;
        ensure!(used == *expected, "{used}");
        Ok(())
    })
    .await?;
    settle(cluster).await
}

async fn secret(cluster: &Cluster, name: &str, query: &str) -> Result<Reply> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    cluster.admin().post(&format!("{}{query}", cluster.path("secrets")), &secret).await
}

async fn pod(cluster: &Cluster, name: &str, spec: &Value) -> Result<Reply> {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    cluster.admin().post(&cluster.path("pods"), &pod).await
}

fn needs(requests: &Value, limits: &Value) -> Value {
    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": requests, "limits": limits}}]})
}

async fn counts(cluster: Cluster) -> Result<()> {
    secret(&cluster, "before", "").await?.code(201)?;
    limit(&cluster, "q", &json!({"hard": {"count/secrets": "2", "secrets": "5"}})).await?;
    assert_eq!(used(&cluster, "q").await?, json!({"count/secrets": "1", "secrets": "1"}));
    // What is only tried is not counted.
    secret(&cluster, "second", "?dryRun=All").await?.code(201)?;
    secret(&cluster, "second", "").await?.code(201)?;
    assert_eq!(used(&cluster, "q").await?, json!({"count/secrets": "2", "secrets": "2"}));
    let message = "secrets \"third\" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=2, limited: count/secrets=2";
    for query in ["", "?dryRun=All"] {
        secret(&cluster, "third", query).await?.refused(403, "Forbidden", message)?;
    }
    // An update counts nothing.
    let before = format!("{}/before", cluster.path("secrets"));
    cluster
        .admin()
        .patch(&before, MERGE_PATCH, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await?
        .code(200)?;
    cluster.admin().delete(&before).await?.code(200)?;
    becomes(&cluster, "q", &json!({"count/secrets": "1", "secrets": "1"})).await?;
    secret(&cluster, "third", "").await?.code(201)?;
    // The rest is counted anew if the quota changes.
    let quota = format!("{}/q", cluster.path("resourcequotas"));
    let change = json!({"spec": {"hard": {"count/secrets": null, "pods": "1"}}});
    cluster.admin().patch(&quota, MERGE_PATCH, &change).await?.code(200)?;
    becomes(&cluster, "q", &json!({"pods": "0", "secrets": "2"})).await
}

async fn needs_of_pods(cluster: Cluster) -> Result<()> {
    let hard = json!({"pods": "3", "requests.cpu": "1", "limits.memory": "1Gi"});
    limit(&cluster, "q", &json!({"hard": hard})).await?;
    let two = json!({"containers": [
        {"name": "b", "image": "i"}, {"name": "a", "image": "i", "resources": {"requests": {"cpu": "1m"}}},
    ]});
    pod(&cluster, "p", &two).await?.refused(
        403,
        "Forbidden",
        "pods \"p\" is forbidden: failed quota: q: must specify limits.memory for: a,b; requests.cpu for: b",
    )?;
    let fits = needs(&json!({"cpu": "600m"}), &json!({"memory": "512Mi"}));
    pod(&cluster, "p", &fits).await?.code(201)?;
    assert_eq!(
        used(&cluster, "q").await?,
        json!({"limits.memory": "512Mi", "pods": "1", "requests.cpu": "600m"})
    );
    pod(&cluster, "r", &fits).await?.refused(
        403,
        "Forbidden",
        "pods \"r\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1",
    )?;
    let larger = needs(&json!({"cpu": "0.5"}), &json!({"memory": "768Mi"}));
    pod(&cluster, "r", &larger).await?.refused(
        403,
        "Forbidden",
        "pods \"r\" is forbidden: exceeded quota: q, requested: limits.memory=768Mi,requests.cpu=500m, \
         used: limits.memory=512Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1",
    )?;
    Ok(())
}

async fn scopes(cluster: Cluster) -> Result<()> {
    limit(&cluster, "best-effort", &json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})).await?;
    let terminating = json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [
        {"scopeName": "Terminating", "operator": "Exists"},
    ]}});
    limit(&cluster, "terminating", &terminating).await?;
    let message = |name: &str, quota: &str| {
        format!(
            "pods {name:?} is forbidden: exceeded quota: {quota}, requested: pods=1, used: pods=1, limited: pods=1"
        )
    };
    pod(&cluster, "a", &json!({})).await?.code(201)?;
    pod(&cluster, "b", &json!({})).await?.refused(403, "Forbidden", &message("b", "best-effort"))?;
    let burstable = needs(&json!({"cpu": "1m"}), &json!({}));
    pod(&cluster, "b", &burstable).await?.code(201)?;
    pod(&cluster, "c", &burstable).await?.code(201)?;
    let mut short = burstable.clone();
    short["activeDeadlineSeconds"] = 100.into();
    pod(&cluster, "d", &short).await?.code(201)?;
    pod(&cluster, "e", &short).await?.refused(403, "Forbidden", &message("e", "terminating"))?;
    // A pod that gets a deadline comes into the scope.
    let deadline = json!({"spec": {"activeDeadlineSeconds": 100}});
    let changed =
        cluster.admin().patch(&format!("{}/b", cluster.path("pods")), MERGE_PATCH, &deadline).await?;
    changed.refused(403, "Forbidden", &message("b", "terminating"))?;
    for quota in ["best-effort", "terminating"] {
        assert_eq!(used(&cluster, quota).await?, json!({"pods": "1"}));
    }
    // And it leaves the opposite one.
    limit(&cluster, "lasting", &json!({"hard": {"pods": "9"}, "scopes": ["NotTerminating"]})).await?;
    assert_eq!(used(&cluster, "lasting").await?, json!({"pods": "3"}));
    cluster.admin().delete(&format!("{}/d", cluster.path("pods"))).await?.code(200)?;
    becomes(&cluster, "terminating", &json!({"pods": "0"})).await?;
    cluster.admin().patch(&format!("{}/b", cluster.path("pods")), MERGE_PATCH, &deadline).await?.code(200)?;
    becomes(&cluster, "lasting", &json!({"pods": "2"})).await
}

async fn services_and_claims(cluster: Cluster) -> Result<()> {
    let hard = json!({
        "services": "2", "services.nodeports": "1", "persistentvolumeclaims": "3", "requests.storage": "2Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    });
    limit(&cluster, "q", &json!({"hard": hard})).await?;
    let service = async |name: &str, kind: &str| {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": kind, "ports": [{"port": 80}]},
        });
        cluster.admin().post(&cluster.path("services"), &service).await
    };
    service("a", "NodePort").await?.code(201)?;
    let more = "requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    let refused = format!("services \"b\" is forbidden: exceeded quota: q, {more}");
    service("b", "NodePort").await?.refused(403, "Forbidden", &refused)?;
    service("b", "ClusterIP").await?.code(201)?;
    let changed = json!({"spec": {"type": "NodePort"}});
    let changed =
        cluster.admin().patch(&format!("{}/b", cluster.path("services")), MERGE_PATCH, &changed).await?;
    changed.refused(403, "Forbidden", &refused)?;

    let claim = async |name: &str, class: &str, storage: &str| {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": storage}},
            },
        });
        cluster.admin().post(&cluster.path("persistentvolumeclaims"), &claim).await
    };
    claim("a", "gold", "1Gi").await?.code(201)?;
    claim("b", "gold", "1Mi").await?.refused(
        403,
        "Forbidden",
        "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, \
         requested: gold.storageclass.storage.k8s.io/requests.storage=1Mi, \
         used: gold.storageclass.storage.k8s.io/requests.storage=1Gi, \
         limited: gold.storageclass.storage.k8s.io/requests.storage=1Gi",
    )?;
    claim("b", "", "1Gi").await?.code(201)?;
    claim("c", "", "1.5").await?.refused(
        403,
        "Forbidden",
        "persistentvolumeclaims \"c\" is forbidden: exceeded quota: q, requested: requests.storage=2, \
         used: requests.storage=2Gi, limited: requests.storage=2Gi",
    )?;
    assert_eq!(
        used(&cluster, "q").await?,
        json!({
            "services": "2", "services.nodeports": "1", "persistentvolumeclaims": "2", "requests.storage": "2Gi",
            "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        })
    );
    Ok(())
}

async fn at_the_same_time(cluster: Cluster) -> Result<()> {
    limit(&cluster, "q", &json!({"hard": {"secrets": "3"}})).await?;
    let names: Vec<_> = (0..10).map(|index| format!("s{index}")).collect();
    let replies = join_all(names.iter().map(|name| secret(&cluster, name, ""))).await;
    let codes = replies.into_iter().map(|reply| Ok(reply?.code)).collect::<Result<Vec<_>>>()?;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 3, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 7, "{codes:?}");
    becomes(&cluster, "q", &json!({"secrets": "3"})).await
}

async fn custom_resources(cluster: Cluster) -> Result<()> {
    let widgets = crate::widgets::widgets(&cluster).await?;
    let count = format!("count/widgets.{}", crate::widgets::GROUP);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {&count: "1"}},
    });
    cluster.admin().post(&cluster.path("resourcequotas"), &quota).await?.code(201)?;
    let quota = format!("{}/q", cluster.path("resourcequotas"));
    // kube-controller-manager looks for new resources every 30 seconds, and counts them when a quota is changed then.
    eventually(Duration::from_secs(90), || async {
        let change = json!({"spec": {"hard": {"pods": fastrand::u16(..).to_string()}}});
        cluster.admin().patch(&quota, MERGE_PATCH, &change).await?.code(200)?;
        let used = used(&cluster, "q").await?;
        ensure!(used[&count] == "0", "{used}");
        Ok(())
    })
    .await?;
    settle(&cluster).await?;
    widgets.create("a").await?;
    let message = format!(
        "widgets.{} \"b\" is forbidden: exceeded quota: q, requested: {count}=1, used: {count}=1, limited: {count}=1",
        crate::widgets::GROUP
    );
    widgets.post("b", &json!({"size": "small"})).await?.refused(403, "Forbidden", &message)?;
    Ok(())
}

async fn finished_pods(cluster: Cluster) -> Result<()> {
    limit(&cluster, "q", &json!({"hard": {"pods": "1", "count/pods": "5"}})).await?;
    pod(&cluster, "a", &json!({})).await?.code(201)?;
    let finished = json!({"status": {"phase": "Succeeded"}});
    let status = format!("{}/a/status", cluster.path("pods"));
    cluster.admin().patch(&status, MERGE_PATCH, &finished).await?.code(200)?;
    becomes(&cluster, "q", &json!({"pods": "0", "count/pods": "1"})).await?;
    pod(&cluster, "b", &json!({})).await?.code(201)?;
    assert_eq!(used(&cluster, "q").await?, json!({"pods": "1", "count/pods": "2"}));
    Ok(())
}
