//! Deletions by the garbage collector and the namespace controller, which admission may refuse as any client's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    webhook::{Answer, Call, NAMES, Webhook},
};
use serde_json::{Value, json};

e2e::on_each_cluster! {
    denied_collection [Callbacks, Controllers], slow_collection [Callbacks, Controllers],
    denied_namespace [Callbacks, Controllers]
}

const PATIENCE: Duration = Duration::from_secs(60);
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Lets a webhook see the deletions of ConfigMaps in a namespace, and waits until it does.
async fn install(cluster: &Cluster, webhook: &Webhook, namespace: &str) -> Result<String> {
    let http = cluster.admin();
    let name = format!("collector-{}", cluster.unique());
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": &name},
        "webhooks": [{
            "name": "deletions.hooks.test", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 30,
            "clientConfig": webhook.at("/"),
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{
                "operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"],
            }],
        }],
    });
    http.post(CONFIGURATIONS, &configuration).await?.code(201)?;
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    http.post(&maps, &map("probe", None)).await?.code(201)?;
    eventually(PATIENCE, || async {
        http.delete(&format!("{maps}/probe?dryRun=All")).await?.code(200)?;
        ensure!(!webhook.calls().is_empty(), "not yet");
        Ok(())
    })
    .await?;
    http.delete(&format!("{maps}/probe")).await?.code(200)?;
    drop(webhook.calls());
    Ok(format!("{CONFIGURATIONS}/{name}"))
}

/// A ConfigMap that another one owns.
fn map(name: &str, owner: Option<&Value>) -> Value {
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if let Some(owner) = owner {
        let metadata = &owner["metadata"];
        map["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"],
        }]);
    }
    map
}

/// Refuses the deletion of what is called `kept` until it is released.
fn keeper() -> (Arc<AtomicBool>, impl Fn(&Call) -> Answer + Send + Sync + 'static) {
    let released = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&released);
    let answer = move |call: &Call| {
        let is_kept = call.review["request"]["oldObject"]["metadata"]["name"] == "kept";
        match is_kept && !seen.load(Ordering::SeqCst) {
            true => Answer::review(call, &json!({"allowed": false, "status": {"message": "not yet"}})),
            false => Answer::allow(call),
        }
    };
    (released, answer)
}

async fn denied_collection(cluster: Cluster) -> Result<()> {
    let (http, maps) = (cluster.admin(), format!("/api/v1/namespaces/{}/configmaps", cluster.namespace()));
    let (released, answer) = keeper();
    let webhook = Webhook::start(NAMES, answer).await?;
    let configuration = install(&cluster, &webhook, cluster.namespace()).await?;
    let owner = http.post(&maps, &map("owner", None)).await?.code(201)?;
    let kept = http.post(&maps, &map("kept", Some(&owner))).await?.code(201)?;
    http.post(&maps, &map("other", Some(&owner))).await?.code(201)?;
    http.delete(&format!("{maps}/owner")).await?.code(200)?;
    // What is refused holds up nothing else, and is tried again.
    eventually(PATIENCE, || async { http.get(&format!("{maps}/other")).await?.code(404) }).await?;
    let mut requests = Vec::new();
    eventually(PATIENCE, || {
        requests.extend(webhook.calls().into_iter().map(|call| call.review["request"].clone()));
        let tried = requests.iter().filter(|request| request["name"] == "kept").count();
        async move {
            ensure!(tried > 2, "{tried}");
            Ok(())
        }
    })
    .await?;
    http.get(&format!("{maps}/kept")).await?.code(200)?;
    let request = requests.iter().find(|request| request["name"] == "kept").context("a request")?;
    let metadata = &kept["metadata"];
    assert_eq!((&request["operation"], &request["dryRun"]), (&json!("DELETE"), &json!(false)));
    assert_eq!(
        request["options"],
        json!({
            "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        })
    );
    let user = &request["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:kube-system:generic-garbage-collector");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"])
    );
    released.store(true, Ordering::SeqCst);
    eventually(PATIENCE, || async { http.get(&format!("{maps}/kept")).await?.code(404) }).await?;
    http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn slow_collection(cluster: Cluster) -> Result<()> {
    let namespace = cluster.namespace();
    let (http, maps) = (cluster.admin(), format!("/api/v1/namespaces/{namespace}/configmaps"));
    let webhook = Webhook::start(NAMES, |call| {
        let mut answer = Answer::allow(call);
        if call.review["request"]["name"] == "slow" {
            answer.after = Duration::from_secs(3);
        }
        answer
    })
    .await?;
    let configuration = install(&cluster, &webhook, namespace).await?;
    let owner = http.post(&maps, &map("owner", None)).await?.code(201)?;
    http.post(&maps, &map("slow", Some(&owner))).await?.code(201)?;
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    let mut secret = map("fast", Some(&owner));
    secret["kind"] = "Secret".into();
    http.post(&secrets, &secret).await?.code(201)?;
    http.delete(&format!("{maps}/owner?propagationPolicy=Foreground")).await?.code(200)?;
    eventually(PATIENCE, || async { http.get(&format!("{secrets}/fast")).await?.code(404) }).await?;
    // The webhook still thinks about this one, for which its owner waits.
    http.get(&format!("{maps}/slow")).await?.code(200)?;
    eventually(PATIENCE, || async { http.get(&format!("{maps}/slow")).await?.code(404) }).await?;
    eventually(PATIENCE, || async { http.get(&format!("{maps}/owner")).await?.code(404) }).await?;
    http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn denied_namespace(cluster: Cluster) -> Result<()> {
    let http = cluster.admin();
    let namespace = format!("ending-{}", cluster.namespace());
    let path = format!("/api/v1/namespaces/{namespace}");
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &namespace}});
    http.post("/api/v1/namespaces", &space).await?.code(201)?;
    let (released, answer) = keeper();
    let webhook = Webhook::start(NAMES, answer).await?;
    let configuration = install(&cluster, &webhook, &namespace).await?;
    http.post(&format!("{path}/configmaps"), &map("kept", None)).await?.code(201)?;
    http.delete(&path).await?.code(200)?;
    let why = "Failed to delete all resource types, 1 remaining: admission webhook \"deletions.hooks.test\" denied the request: not yet";
    eventually(PATIENCE, || async {
        let space = http.get(&path).await?.code(200)?;
        let conditions = space["status"]["conditions"].as_array().context("conditions")?;
        let failure = conditions.iter().find(|it| it["type"] == "NamespaceDeletionContentFailure");
        let failure = failure.context("the condition")?;
        ensure!(
            (
                failure["status"] == "True",
                failure["reason"] == "ContentDeletionFailed",
                failure["message"] == why
            ) == (true, true, true),
            "{failure}"
        );
        Ok(())
    })
    .await?;
    let request = webhook.calls().into_iter().next().context("a call")?.review["request"].take();
    assert_eq!((request.get("name"), &request["namespace"]), (None, &json!(namespace)));
    assert_eq!(
        request["options"],
        json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background"})
    );
    assert_eq!(request["userInfo"]["username"], "system:serviceaccount:kube-system:namespace-controller");
    released.store(true, Ordering::SeqCst);
    eventually(PATIENCE, || async { http.get(&path).await?.code(404) }).await?;
    http.delete(&configuration).await?.code(200)?;
    Ok(())
}
