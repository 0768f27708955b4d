//! Admission plugins that are on by default and have no topic of their own.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, eventually};
use serde_json::{Value, json};

e2e::on_each_cluster! {
    runtime_classes [Alone, NoControllers], nodes [Alone, NoControllers], ingress_classes [Alone, NoControllers],
    certificates [Alone, NoControllers], ending_namespaces [Controllers]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A request for a certificate of `jane` in the group `system:masters`.
const REQUEST: &str = concat!(
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIa01JR0tBZ0VBTUNneEZ6QVZCZ05WQkFvTURuTjVjM1JsYlRwdFlYTjBaWE",
    "p6TVEwd0N3WURWUVFEREFScQpZVzVsTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFcVN0Zk1OWXhzRjZBL3ZNZGNwcDJZZmFv",
    "CnFEUTJIdHpWNmZCZzkraTlaZ2QzRnJJdTFGcDJNL21sU1BQbGxBcnFRa3VmeVQ4Q2w5ditxS2V6Z3VHTDlLQUEKTUFvR0NDcUdTTTQ5QkFNQ0",
    "Ewa0FNRVlDSVFEcXV2bUZiQkc4VURORUt4VWo5SWJFVEYyYXB0ZThDOTM3S0VDYwpjdnIzN2dJaEFMVG9QdTRLUGxocThXcUtkRWtaTDZ0SnNo",
    "c3hEbENUYXA2UlBLNnhoOVdtCi0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=",
);

/// The certificate of an authority.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBgjCCASigAwIBAgITXP+0jEN6NrF+OTT3O2fm++EG3TAKBggqhkjOPQQDAjAW\n\
    MRQwEgYDVQQDDAtleGFtcGxlLmNvbTAgFw0yNjExMzAwNDIxMjJaGA8yMTI2MTEw\n\
    NjA0MjEyMlowFjEUMBIGA1UEAwwLZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggq\n\
    hkjOPQMBBwNCAAS79y+aG2ovsmVtWYDfcvIbqxmCMuwrCrrtyKbCsJgC1MaB5c+1\n\
    gueFnBbBs1du1pNbE1ZYdcVpD1dKnUpsOTrKo1MwUTAdBgNVHQ4EFgQU8hrwbyfO\n\
    EqRPVy/Tx5v4aoCTPWswHwYDVR0jBBgwFoAU8hrwbyfOEqRPVy/Tx5v4aoCTPWsw\n\
    DwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAyPRdE0iCNoGMb8OD\n\
    ruMD5XaukfS+oIzpWeG5qS/av8ICICqHEPpPPi8k43vde86DP8/MVRANGblltOxj\n\
    kp7CrFUr\n\
    -----END CERTIFICATE-----\n";

fn pod(spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

async fn runtime_classes(cluster: Cluster) -> Result<()> {
    let (admin, pods) = (cluster.admin(), cluster.path("pods?dryRun=All"));
    let class = json!({
        "metadata": {"name": "sandbox"}, "handler": "sandbox", "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}]},
    });
    admin.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await?.code(201)?;
    eventually(PATIENCE, || async {
        let created = admin.post(&pods, &pod(&json!({"runtimeClassName": "sandbox"}))).await?.code(201)?;
        let spec = &created["spec"];
        assert_eq!(spec["overhead"], json!({"cpu": "100m"}));
        assert_eq!(spec["nodeSelector"], json!({"a": "b"}));
        ensure!(spec["tolerations"][2] == json!({"key": "k", "operator": "Exists"}), "{spec}");
        Ok(())
    })
    .await?;
    for (spec, why) in [
        (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
        (
            json!({"runtimeClassName": "sandbox", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "sandbox", "nodeSelector": {"a": "c"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c",
        ),
    ] {
        let refused = admin.post(&pods, &pod(&spec)).await?;
        refused.refused(403, "Forbidden", &format!("pods \"p\" is forbidden: {why}"))?;
    }
    Ok(())
}

async fn nodes(cluster: Cluster) -> Result<()> {
    let (admin, pods) = (cluster.admin(), cluster.path("pods"));
    let node = json!({"metadata": {"name": "n", "labels": {
        "topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "example.com/rack": "1",
    }}});
    let created = admin.post("/api/v1/nodes", &node).await?.code(201)?;
    let not_ready = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    assert_eq!(created["spec"]["taints"], not_ready);
    let labels = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    eventually(PATIENCE, || async {
        let reply = admin.post(&format!("{pods}?dryRun=All"), &pod(&json!({"nodeName": "n"}))).await?;
        let created = reply.code(201)?;
        ensure!(created["metadata"]["labels"] == labels, "{created}");
        Ok(())
    })
    .await?;
    admin.post(&pods, &pod(&json!({}))).await?.code(201)?;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    admin.post(&format!("{pods}/p/binding"), &binding).await?.code(201)?;
    let bound = admin.get(&format!("{pods}/p")).await?.code(200)?;
    assert_eq!(bound["metadata"]["labels"], labels);
    Ok(())
}

async fn ingress_classes(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let class = json!({
        "metadata": {"name": "c", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "example.com/c"},
    });
    admin.post("/apis/networking.k8s.io/v1/ingressclasses", &class).await?.code(201)?;
    let namespace = cluster.namespace();
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?dryRun=All");
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let mut ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}});
    eventually(PATIENCE, || async {
        let created = admin.post(&path, &ingress).await?.code(201)?;
        ensure!(created["spec"]["ingressClassName"] == "c", "{created}");
        Ok(())
    })
    .await?;
    ingress["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "old"});
    let created = admin.post(&path, &ingress).await?.code(201)?;
    assert_eq!(created["spec"]["ingressClassName"], Value::Null);
    Ok(())
}

async fn certificates(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let request = |signer: &str| {
        let spec = json!({"request": REQUEST, "signerName": signer, "usages": ["client auth"]});
        json!({"metadata": {"name": "r"}, "spec": spec})
    };
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All";
    admin.post(path, &request("example.com/signer")).await?.code(201)?;
    admin.post(path, &request("kubernetes.io/kube-apiserver-client")).await?.refused(
        403,
        "Forbidden",
        "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with \
         system:masters group is not allowed",
    )?;

    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{
        "apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["create"],
    }]);
    let role = json!({"metadata": {"name": "bundler"}, "rules": rules});
    admin.post(&format!("{rbac}/clusterroles"), &role).await?.code(201)?;
    let binding = json!({
        "metadata": {"name": "bundler"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bundler"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    admin.post(&format!("{rbac}/clusterrolebindings"), &binding).await?.code(201)?;
    let path = "/apis/certificates.k8s.io/v1/clustertrustbundles?dryRun=All";
    let bundle = json!({
        "metadata": {"name": "example.com:signer:b"},
        "spec": {"signerName": "example.com/signer", "trustBundle": CERTIFICATE},
    });
    eventually(PATIENCE, || async {
        cluster.nobody().post(path, &bundle).await?.refused(
            403,
            "Forbidden",
            "clustertrustbundles.certificates.k8s.io \"example.com:signer:b\" is forbidden: user not permitted to attest for \
             signerName \"example.com/signer\"",
        )?;
        Ok(())
    })
    .await?;
    admin.post(path, &bundle).await?.code(201)?;
    Ok(())
}

/// A subresource is new content, too.
async fn ending_namespaces(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let name = cluster.unique().replace('.', "-");
    admin.post("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await?.code(201)?;
    let pods = format!("/api/v1/namespaces/{name}/pods");
    let mut kept = pod(&json!({}));
    kept["metadata"]["finalizers"] = json!(["example.com/kept"]);
    // On a whole cluster, it needs the ServiceAccount, which is created a moment after its namespace.
    eventually(PATIENCE, || async { admin.post(&pods, &kept).await?.code(201) }).await?;
    admin.delete(&format!("/api/v1/namespaces/{name}")).await?.ok()?;
    let refused = eventually(PATIENCE, || async {
        let evicted = admin.post(&format!("{pods}/p/eviction"), &json!({"metadata": {"name": "p"}})).await?;
        let why = format!(
            "pods \"p\" is forbidden: unable to create new content in namespace {name} because it is being terminated"
        );
        evicted.refused(403, "Forbidden", &why)?;
        Ok(())
    })
    .await;
    let released = json!({"metadata": {"finalizers": null}});
    admin.patch(&format!("{pods}/p"), e2e::http::MERGE_PATCH, &released).await?.ok()?;
    refused
}
