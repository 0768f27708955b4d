//! Pod Security Standards: what the labels of a namespace refuse, and what they warn of.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{MERGE_PATCH, Reply},
};
use serde_json::{Value, json};

e2e::on_each_cluster! { baseline, restricted, versions, warnings, labels, stricter_labels, updates, annotations }

const PATIENCE: Duration = Duration::from_secs(30);

fn pods(cluster: &Cluster) -> String {
    format!("/api/v1/namespaces/{}/pods", cluster.namespace())
}

/// Gives the test's namespace labels of the standards. The others stay.
async fn label(cluster: &Cluster, labels: &Value) -> Result<Reply> {
    let labels = labels.as_object().into_iter().flatten();
    let labels: serde_json::Map<_, _> =
        labels.map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), value.clone())).collect();
    let namespace = format!("/api/v1/namespaces/{}", cluster.namespace());
    cluster.admin().patch(&namespace, MERGE_PATCH, &json!({"metadata": {"labels": labels}})).await
}

/// Sets the standard that is enforced, and waits until it has an effect.
async fn enforce(cluster: &Cluster, standard: &str, version: &str) -> Result<()> {
    label(cluster, &json!({"enforce": standard, "enforce-version": version})).await?.code(200)?;
    eventually(PATIENCE, || async {
        let tried = json!({"hostPID": true, "containers": [{"name": "c", "image": "i"}]});
        let tried = create(cluster, "?dryRun=All", "probe", &tried).await?;
        let standard = format!("violates PodSecurity \"{standard}:{version}\"");
        ensure!(tried.message().contains(&standard), "not yet: {}", tried.body);
        Ok(())
    })
    .await
}

async fn create(cluster: &Cluster, query: &str, name: &str, spec: &Value) -> Result<Reply> {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    pod["spec"]["schedulerName"] = "nobody".into();
    cluster.admin().post(&format!("{}{query}", pods(cluster)), &pod).await
}

/// The spec of a Pod whose container has more fields.
fn with(container: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    for (field, value) in container.as_object().into_iter().flatten() {
        spec["containers"][0][field] = value.clone();
    }
    spec
}

async fn baseline(cluster: Cluster) -> Result<()> {
    enforce(&cluster, "baseline", "latest").await?;
    let context = |context: Value| with(&json!({"securityContext": context}));
    let both = json!({
        "hostNetwork": true, "hostIPC": true,
        "initContainers": [{"name": "a", "image": "i", "securityContext": {"privileged": true}}],
        "containers": [{"name": "b", "image": "i", "securityContext": {"privileged": true}}],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {"path": "/"}}],
    });
    for (spec, why) in [
        (
            both,
            "host namespaces (hostNetwork=true, hostIPC=true), hostPath volumes (volumes \"v\", \"w\"), privileged (containers \
             \"a\", \"b\" must not set securityContext.privileged=true)",
        ),
        (
            context(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}})),
            "non-default capabilities (container \"c\" must not include \"NET_RAW\", \"SYS_ADMIN\" in \
             securityContext.capabilities.add)",
        ),
        (
            with(
                &json!({"ports": [{"containerPort": 90, "hostPort": 90}, {"containerPort": 80, "hostPort": 8080}]}),
            ),
            "hostPort (container \"c\" uses hostPorts 8080, 90)",
        ),
        (
            with(&json!({"livenessProbe": {"httpGet": {"port": 80, "host": "example.com"}}})),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"example.com\")",
        ),
        (
            context(json!({"seLinuxOptions": {"type": "spc_t", "user": "u"}})),
            "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            context(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            json!({
                "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
                "containers": [{"name": "c", "image": "i"}],
            }),
            "forbidden sysctls (kernel.msgmax)",
        ),
    ] {
        let refused = create(&cluster, "", "p", &spec).await?;
        let why = format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {why}");
        refused.refused(403, "Forbidden", &why)?;
    }
    let created = create(&cluster, "", "p", &with(&json!({}))).await?;
    assert_eq!(created.warnings(), Vec::<String>::new());
    created.code(201)?;
    Ok(())
}

async fn restricted(cluster: Cluster) -> Result<()> {
    enforce(&cluster, "restricted", "latest").await?;
    let refused = async |spec: &Value, why: &str| {
        let why = format!("pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": {why}");
        create(&cluster, "", "p", spec).await?.refused(403, "Forbidden", &why).map(drop)
    };
    let nothing = "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
                   unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != \
                   true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" \
                   must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
    refused(&with(&json!({})), nothing).await?;
    let good = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let mut bad = with(&json!({"securityContext": good}));
    bad["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["CHOWN", "NET_BIND_SERVICE"]);
    bad["securityContext"] = json!({"runAsUser": 0, "runAsNonRoot": false});
    bad["volumes"] = json!([
        {"name": "v", "nfs": {"server": "s", "path": "/"}}, {"name": "w", "emptyDir": {}},
        {"name": "x", "hostPath": {"path": "/"}},
    ]);
    refused(
        &bad,
        "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add), restricted \
         volume types (volumes \"v\", \"x\" use restricted volume types \"hostPath\", \"nfs\"), runAsNonRoot != true (pod must not \
         set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)",
    )
    .await?;
    create(&cluster, "", "p", &with(&json!({"securityContext": good}))).await?.code(201)?;
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "g-"}, "spec": with(&json!({})),
    });
    pod["spec"]["hostPID"] = true.into();
    let refused = cluster.admin().post(&pods(&cluster), &pod).await?;
    let message = refused.message();
    assert!(
        message.contains(" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces"),
        "{message}"
    );
    Ok(())
}

async fn versions(cluster: Cluster) -> Result<()> {
    // Before 1.34, probes of other hosts were allowed.
    enforce(&cluster, "baseline", "v1.33").await?;
    let probe = with(&json!({"livenessProbe": {"httpGet": {"port": 80, "host": "example.com"}}}));
    create(&cluster, "", "p", &probe).await?.code(201)?;
    // Before 1.35, it did not matter whose users are in a Pod.
    let mut unmasked = with(&json!({"securityContext": {"procMount": "Unmasked"}}));
    unmasked["hostUsers"] = false.into();
    create(&cluster, "", "q", &unmasked).await?.refused(
        403,
        "Forbidden",
        "pods \"q\" is forbidden: violates PodSecurity \"baseline:v1.33\": procMount (container \"c\" must not set \
         securityContext.procMount to \"Unmasked\")",
    )?;
    enforce(&cluster, "baseline", "v1.99").await?;
    create(&cluster, "?dryRun=All", "q", &unmasked).await?.code(201)?;
    let refused = create(&cluster, "", "q", &probe).await?.code(403)?;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("violates PodSecurity \"baseline:v1.99\": probe or lifecycle host"),
        "{message}"
    );
    Ok(())
}

async fn warnings(cluster: Cluster) -> Result<()> {
    label(&cluster, &json!({"enforce": "baseline", "warn": "restricted", "warn-version": "v1.7"}))
        .await?
        .code(200)?;
    let why = "would violate PodSecurity \"restricted:v1.7\": runAsNonRoot != true (pod or container \"c\" must set \
               securityContext.runAsNonRoot=true)";
    eventually(PATIENCE, || async {
        let tried = create(&cluster, "?dryRun=All", "p", &with(&json!({}))).await?;
        ensure!(tried.warnings() == [why], "{:?}", tried.warnings());
        tried.code(201).map(drop)
    })
    .await?;
    // What creates Pods is not refused.
    let mut template = json!({"metadata": {"labels": {"a": "b"}}, "spec": with(&json!({}))});
    template["spec"]["hostPID"] = true.into();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", cluster.namespace());
    let created = cluster.admin().post(&deployments, &deployment).await?;
    let with_host =
        why.replace("runAsNonRoot != true", "host namespaces (hostPID=true), runAsNonRoot != true");
    assert_eq!(created.warnings(), [with_host]);
    created.code(201)?;
    Ok(())
}

async fn labels(cluster: Cluster) -> Result<()> {
    let wrong =
        label(&cluster, &json!({"warn": "strict", "enforce": "none", "enforce-version": "1.30"})).await?;
    let path = "metadata.labels[pod-security.kubernetes.io/";
    wrong.refused(
        422,
        "Invalid",
        &format!(
            "Namespace \"{}\" is invalid: [{path}enforce]: Invalid value: \"none\": must be one of privileged, baseline, restricted, \
             {path}enforce-version]: Invalid value: \"1.30\": must be \"latest\" or \"v1.x\", {path}warn]: Invalid value: \"strict\": \
             must be one of privileged, baseline, restricted]",
            cluster.namespace()
        ),
    )?;
    Ok(())
}

async fn stricter_labels(cluster: Cluster) -> Result<()> {
    for name in ["b", "a"] {
        create(&cluster, "", name, &json!({"hostPID": true, "containers": [{"name": "c", "image": "i"}]}))
            .await?
            .code(201)?;
    }
    create(&cluster, "", "c", &with(&json!({"securityContext": {"privileged": true}}))).await?.code(201)?;
    create(&cluster, "", "d", &with(&json!({}))).await?.code(201)?;
    let expected = [
        format!(
            "existing pods in namespace {:?} violate the new PodSecurity enforce level \"baseline:latest\"",
            cluster.namespace()
        ),
        "a (and 1 other pod): host namespaces".to_owned(),
        "c: privileged".to_owned(),
    ];
    // A real server has to see the Pods first.
    eventually(PATIENCE, || async {
        label(&cluster, &json!({"enforce": null})).await?.code(200)?;
        let labelled = label(&cluster, &json!({"enforce": "baseline"})).await?;
        ensure!(labelled.warnings() == expected, "{:?}", labelled.warnings());
        labelled.code(200).map(drop)
    })
    .await?;
    let weaker = label(&cluster, &json!({"enforce": "privileged"})).await?;
    assert_eq!(weaker.warnings(), Vec::<String>::new());
    Ok(())
}

async fn updates(cluster: Cluster) -> Result<()> {
    create(&cluster, "", "p", &with(&json!({"securityContext": {"privileged": true}}))).await?.code(201)?;
    enforce(&cluster, "baseline", "latest").await?;
    let path = format!("{}/p", pods(&cluster));
    // An update that changes no image is not looked at.
    cluster
        .admin()
        .patch(&path, MERGE_PATCH, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await?
        .code(200)?;
    let mut pod = cluster.admin().get(&path).await?.code(200)?;
    pod["spec"]["containers"][0]["image"] = "other".into();
    let why = "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
               securityContext.privileged=true)";
    cluster.admin().put(&path, &pod).await?.refused(403, "Forbidden", why)?;
    let ephemeral = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    let added =
        cluster.admin().patch(&format!("{path}/ephemeralcontainers"), MERGE_PATCH, &ephemeral).await?;
    added.refused(403, "Forbidden", why)?;
    Ok(())
}

async fn annotations(cluster: Cluster) -> Result<()> {
    label(&cluster, &json!({"enforce": "baseline", "enforce-version": "v1.18"})).await?.code(200)?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": with(&json!({})),
        "metadata": {"name": "p", "annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}},
    });
    let why = "pods \"p\" is forbidden: violates PodSecurity \"baseline:v1.18\": seccompProfile (forbidden annotation \
               seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")";
    eventually(PATIENCE, || async {
        let refused = cluster.admin().post(&format!("{}?dryRun=All", pods(&cluster)), &pod).await?;
        refused.refused(403, "Forbidden", why).map(drop)
    })
    .await
}
