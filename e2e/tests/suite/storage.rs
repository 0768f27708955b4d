//! Claims and volumes: the default class, the size of claims, and what is kept while it is in use.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, eventually, http::MERGE_PATCH};
use serde_json::{Value, json};

e2e::on_each_cluster! {
    claims_in_use [Controllers], volumes_in_use [Controllers, NoControllers], default_class [Alone, NoControllers],
    growth [NoControllers]
}

const PATIENCE: Duration = Duration::from_secs(30);
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

async fn claim(cluster: &Cluster, name: &str, spec: &Value) -> Result<Value> {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        claim["spec"][field] = value.clone();
    }
    cluster.admin().post(&cluster.path("persistentvolumeclaims"), &claim).await?.code(201)
}

async fn class(cluster: &Cluster, name: &str, more: &Value) -> Result<()> {
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.com/nobody",
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        match field.as_str() {
            "annotations" => class["metadata"][field] = value.clone(),
            _ => class[field] = value.clone(),
        }
    }
    cluster.admin().post(CLASSES, &class).await?.code(201)?;
    Ok(())
}

async fn claims_in_use(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    for name in ["used", "free"] {
        let claim = claim(&cluster, name, &json!({"storageClassName": ""})).await?;
        assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "nodeName": "nowhere", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}],
        },
    });
    admin.post(&cluster.path("pods"), &pod).await?.code(201)?;
    let claims = cluster.path("persistentvolumeclaims");
    for name in ["used", "free"] {
        admin.delete(&format!("{claims}/{name}")).await?.ok()?;
    }
    eventually(PATIENCE, || async { admin.get(&format!("{claims}/free")).await?.code(404) }).await?;
    let used = admin.get(&format!("{claims}/used")).await?.code(200)?;
    assert_eq!(used["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let gone = admin.delete(&format!("{}/p?gracePeriodSeconds=0", cluster.path("pods"))).await?;
    // On a cluster with nodes, a controller removes pods of nodes that do not exist.
    ensure!([200, 404].contains(&gone.code), "{gone:?}");
    eventually(PATIENCE, || async { admin.get(&format!("{claims}/used")).await?.code(404) }).await?;
    Ok(())
}

async fn volumes_in_use(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let volumes = "/api/v1/persistentvolumes";
    let (used, free) = (format!("used.{}", cluster.unique()), format!("free.{}", cluster.unique()));
    for name in [&used, &free] {
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}},
        });
        let volume = admin.post(volumes, &volume).await?.code(201)?;
        assert_eq!(volume["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
    }
    let phase = async |name: &str, phase: &str| {
        let status = format!("{volumes}/{name}/status");
        admin.patch(&status, MERGE_PATCH, &json!({"status": {"phase": phase}})).await?.code(200)
    };
    phase(&used, "Bound").await?;
    for name in [&used, &free] {
        admin.delete(&format!("{volumes}/{name}")).await?.ok()?;
    }
    eventually(PATIENCE, || async { admin.get(&format!("{volumes}/{free}")).await?.code(404) }).await?;
    admin.get(&format!("{volumes}/{used}")).await?.code(200)?;
    phase(&used, "Released").await?;
    eventually(PATIENCE, || async { admin.get(&format!("{volumes}/{used}")).await?.code(404) }).await?;
    Ok(())
}

/// Alone, because a default class is one for all.
async fn default_class(cluster: Cluster) -> Result<()> {
    let none = claim(&cluster, "none", &json!({})).await?;
    assert_eq!(none["spec"].get("storageClassName"), None);
    let marked = json!({"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}});
    class(&cluster, "b", &marked).await?;
    class(&cluster, "c", &json!({})).await?;
    let probe = async |query: &str| {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"generateName": "c-"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        let claims = format!("{}{query}", cluster.path("persistentvolumeclaims"));
        let claim = cluster.admin().post(&claims, &claim).await?.code(201)?;
        anyhow::Ok(claim["spec"]["storageClassName"].clone())
    };
    let becomes = async |expected: &str| {
        eventually(PATIENCE, || async {
            let class = probe("?dryRun=All").await?;
            ensure!(class == expected, "{class}");
            Ok(())
        })
        .await
    };
    becomes("b").await?;
    assert_eq!(probe("").await?, "b");
    // Of several of the same second, the first one by name.
    let now = cluster.admin().get(&format!("{CLASSES}/b")).await?.code(200)?["metadata"]["creationTimestamp"]
        .clone();
    class(&cluster, "a", &marked).await?;
    let later =
        cluster.admin().get(&format!("{CLASSES}/a")).await?.code(200)?["metadata"]["creationTimestamp"]
            .clone();
    assert!(later.as_str() >= now.as_str());
    becomes("a").await?;
    let chosen = claim(&cluster, "chosen", &json!({"storageClassName": "c"})).await?;
    assert_eq!(chosen["spec"]["storageClassName"], "c");
    let empty = claim(&cluster, "empty", &json!({"storageClassName": ""})).await?;
    assert_eq!(empty["spec"]["storageClassName"], "");
    for name in ["a", "b", "c"] {
        cluster.admin().delete(&format!("{CLASSES}/{name}")).await?.code(200)?;
    }
    Ok(())
}

async fn growth(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let claims = cluster.path("persistentvolumeclaims");
    let (fixed, grows) = (format!("fixed.{}", cluster.unique()), format!("grows.{}", cluster.unique()));
    class(&cluster, &fixed, &json!({})).await?;
    class(&cluster, &grows, &json!({"allowVolumeExpansion": true})).await?;
    let grow = async |name: &str| {
        let size = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        admin.patch(&format!("{claims}/{name}"), MERGE_PATCH, &size).await
    };
    let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    for (name, class) in [("fixed", &fixed), ("grows", &grows)] {
        claim(&cluster, name, &json!({"storageClassName": class, "volumeName": "v"})).await?;
        admin.patch(&format!("{claims}/{name}/status"), MERGE_PATCH, &bound).await?.code(200)?;
    }
    grow("fixed").await?.refused(
        403,
        "Forbidden",
        "persistentvolumeclaims \"fixed\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that \
         provisions the pvc must support resize",
    )?;
    eventually(PATIENCE, || async { grow("grows").await?.code(200) }).await?;
    for class in [&fixed, &grows] {
        admin.delete(&format!("{CLASSES}/{class}")).await?.code(200)?;
    }
    Ok(())
}
