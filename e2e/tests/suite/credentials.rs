//! Who crdctl is, by what its kubeconfig and its surroundings say, and what it may.

use std::{net::TcpListener, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, crdctl::Crdctl, eventually};
use kube_informer::{Informers, Status};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    crdctl::{create, install},
    informer::widget_type,
    widgets::{GROUP, widgets},
};

e2e::on_each_cluster! {
    exec_plugin, token_file_is_replaced, forbidden_then_allowed, informer_forbidden_then_allowed,
    a_server_that_does_not_answer
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster's kubeconfig with another user in place of the administrator.
fn kubeconfig_of(cluster: &Cluster, user: &Value) -> Result<PathBuf> {
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    for named in kubeconfig["users"].as_array_mut().context("users")? {
        named["user"] = user.clone();
    }
    let path = cluster.folder().join("as-another");
    std::fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}

/// What the administrator shows: a token, or a certificate with its key.
fn admin(cluster: &Cluster) -> Result<Value> {
    let kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    let context = &kubeconfig["contexts"][0]["context"]["user"];
    let users = kubeconfig["users"].as_array().context("users")?;
    let named = users.iter().find(|named| named["name"] == *context).context("the current user")?;
    Ok(named["user"].clone())
}

async fn watch(cluster: &Cluster, kubeconfig: &PathBuf, arguments: &str) -> Result<Crdctl> {
    let arguments = format!("watch {arguments} -n {}", cluster.namespace());
    Ok(Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", kubeconfig).args(&arguments))
}

async fn exec_plugin(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let user = admin(&cluster)?;
    let pem = |field: &str| {
        let base64 = user[field].as_str()?;
        let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).ok()?;
        String::from_utf8(pem).ok()
    };
    let status = match &user["token"] {
        Value::String(token) => json!({"token": token}),
        _ => json!({
            "clientCertificateData": pem("client-certificate-data").context("a certificate")?,
            "clientKeyData": pem("client-key-data").context("a key")?,
        }),
    };
    let credential =
        json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
    let answer = cluster.folder().join("credential");
    std::fs::write(&answer, credential.to_string())?;
    let plugin = |command: &str, arguments: &[&str]| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": arguments,
            "interactiveMode": "Never", "installHint": "the hint of the test",
        }})
    };
    let kubeconfig = kubeconfig_of(&cluster, &plugin("cat", &[&answer.display().to_string()]))?;
    watch(&cluster, &kubeconfig, "blogs").await?.start()?.line_with(&["ADDED", "one"]).await?;

    let kubeconfig = kubeconfig_of(&cluster, &plugin("no-such-plugin", &[]))?;
    let failed = watch(&cluster, &kubeconfig, "blogs").await?.run().await?;
    ensure!(failed.code == Some(1) && failed.stderr.lines().count() == 1, "{failed:?}");
    ensure!(failed.stderr.contains("no-such-plugin is not installed"), "{failed:?}");
    ensure!(failed.stderr.contains("the hint of the test"), "{failed:?}");
    Ok(())
}

async fn token_file_is_replaced(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let file = cluster.folder().join("token");
    std::fs::write(&file, "not-a-token")?;
    let kubeconfig = kubeconfig_of(&cluster, &json!({"tokenFile": file}))?;
    let refused = watch(&cluster, &kubeconfig, "blogs").await?.run().await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("Unauthorized"), "{refused:?}");
    let token = match admin(&cluster)?["token"].as_str() {
        Some(token) => token.to_owned(),
        None => token_of_an_account(&cluster).await?,
    };
    std::fs::write(&file, token)?;
    watch(&cluster, &kubeconfig, "blogs").await?.start()?.line_with(&["ADDED", "one"]).await?;
    Ok(())
}

/// The token of a ServiceAccount that may do in its namespace what it wants.
async fn token_of_an_account(cluster: &Cluster) -> Result<String> {
    let http = cluster.admin();
    let namespace = cluster.namespace();
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "watcher"}});
    http.post(&accounts, &account).await?.code(201)?;
    let subject = json!({"kind": "ServiceAccount", "name": "watcher", "namespace": namespace});
    bind(cluster, &["list", "watch"], &subject).await?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = http.post(&format!("{accounts}/watcher/token"), &request).await?.code(201)?;
    Ok(made["status"]["token"].as_str().context("a token")?.to_owned())
}

/// Lets somebody handle blogs and widgets of the test's namespace.
async fn bind(cluster: &Cluster, verbs: &[&str], subject: &Value) -> Result<()> {
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", cluster.namespace());
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "watcher"},
        "rules": [{"apiGroups": ["web.helloworld", GROUP], "resources": ["blogs", "widgets"], "verbs": verbs}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "watcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"},
        "subjects": [subject],
    });
    cluster.admin().post(&format!("{rbac}/roles"), &role).await?.code(201)?;
    cluster.admin().post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;
    Ok(())
}

fn nobody() -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"})
}

async fn forbidden_then_allowed(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let kubeconfig = cluster.kubeconfig_file()?;
    let run = async || watch(&cluster, &kubeconfig, "blogs --context nobody -o name").await;
    let refused = run().await?.run().await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("User \"nobody\" cannot"), "{refused:?}");
    bind(&cluster, &["list", "watch"], &nobody()).await?;
    // The authorizer reads its own cache.
    eventually(PATIENCE, || async {
        let mut running = run().await?.start()?;
        ensure!(running.line().await? == "blog.web.helloworld/one");
        Ok(())
    })
    .await
}

async fn informer_forbidden_then_allowed(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let informers = Informers::new(cluster.nobody_client());
    let informer = informers.dynamic(&widget_type(GROUP)).namespace(cluster.namespace()).start();
    let error = timeout(PATIENCE, informer.synced()).await?.err().context("nobody may list")?;
    ensure!(error.is_forbidden(), "{error:?}");
    bind(&cluster, &["list", "watch"], &nobody()).await?;
    // It asks again by itself.
    timeout(PATIENCE, informer.status().wait_for(Status::is_ready)).await??;
    assert_eq!(informer.snapshot()?.len(), 1);
    Ok(())
}

async fn a_server_that_does_not_answer(cluster: Cluster) -> Result<()> {
    // The system takes connections for it; nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", silent.local_addr()?));
    let path = cluster.folder().join("silent");
    std::fs::write(&path, kubeconfig.to_string())?;
    let failed = watch(&cluster, &path, "blogs --request-timeout 500ms").await?.run().await?;
    ensure!(failed.code == Some(1) && failed.stderr.lines().count() == 1, "{failed:?}");
    ensure!(failed.stderr.contains(&silent.local_addr()?.to_string()), "{failed:?}");
    Ok(())
}
