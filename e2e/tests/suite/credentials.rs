//! A client's credentials, from its kubeconfig or its environment, and the rights that they give it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, Identity, crdctl::Crdctl, eventually};
use kube_informer::{Informers, Status};
use kubeconfig::Environment;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    crdctl::{create, install},
    informer::widget_type,
    widgets::{GROUP, widgets},
};

e2e::on_each_cluster! {
    exec_plugin, client_certificate [Certificate], foreign_certificates [Certificate], token_file_is_replaced,
    in_cluster, forbidden_then_allowed, informer_forbidden_then_allowed,
    a_server_that_does_not_answer
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the cluster's kubeconfig with another user in place of the administrator.
fn kubeconfig_of(cluster: &Cluster, user: &Value) -> Result<PathBuf> {
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    for named in kubeconfig["users"].as_array_mut().context("users")? {
        named["user"] = user.clone();
    }
    let path = cluster.folder().join("as-another");
    fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}

/// Returns the administrator's credentials: a token, or a certificate with its key.
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
    let status = match admin(&cluster)?["token"].as_str() {
        Some(token) => json!({"token": token}),
        None => {
            let Identity { certificate, key } = cluster.certificate()?;
            json!({"clientCertificateData": certificate, "clientKeyData": key})
        }
    };
    let credential =
        json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
    let answer = cluster.folder().join("credential");
    fs::write(&answer, credential.to_string())?;
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

async fn client_certificate(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let Identity { certificate, key } = cluster.certificate()?;
    let (certificate_file, key_file) = (cluster.folder().join("mine.crt"), cluster.folder().join("mine.key"));
    fs::write(&certificate_file, &certificate)?;
    fs::write(&key_file, &key)?;
    let sees_it = async |user: &Value| {
        let kubeconfig = kubeconfig_of(&cluster, user)?;
        watch(&cluster, &kubeconfig, "blogs").await?.start()?.line_with(&["ADDED", "one"]).await
    };
    // Inline; as files, whose paths are relative to the kubeconfig's folder; and one of each.
    let base64 = |pem: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    sees_it(&json!({"client-certificate-data": base64(&certificate), "client-key-data": base64(&key)}))
        .await?;
    sees_it(&json!({"client-certificate": "mine.crt", "client-key": "mine.key"})).await?;
    sees_it(&json!({"client-certificate-data": base64(&certificate), "client-key": "mine.key"})).await?;
    Ok(())
}

async fn foreign_certificates(cluster: Cluster) -> Result<()> {
    let stranger = rcgen::generate_simple_self_signed(["admin".to_owned()])?;
    let base64 = |pem: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let Identity { certificate, key } = cluster.certificate()?;
    let [unknown, unfit] = [
        (stranger.cert.pem(), stranger.signing_key.serialize_pem()),
        // From the right authority, but with a key that does not match.
        (certificate, stranger.signing_key.serialize_pem()),
    ];
    for (certificate, key_of_it) in [&unknown, &unfit] {
        let user =
            json!({"client-certificate-data": base64(certificate), "client-key-data": base64(key_of_it)});
        let failed = watch(&cluster, &kubeconfig_of(&cluster, &user)?, "blogs").await?.run().await?;
        ensure!(failed.code == Some(1) && failed.stderr.lines().count() == 1, "{failed:?}");
        ensure!(!failed.stderr.contains(&base64(&key)) && !failed.stderr.contains("PRIVATE"), "{failed:?}");
    }
    let user = json!({"client-certificate": "missing.crt", "client-key": "missing.key"});
    let failed = watch(&cluster, &kubeconfig_of(&cluster, &user)?, "blogs").await?.run().await?;
    ensure!(failed.code == Some(1) && failed.stderr.contains("missing.crt"), "{failed:?}");
    Ok(())
}

async fn token_file_is_replaced(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let file = cluster.folder().join("token");
    fs::write(&file, "not-a-token")?;
    let kubeconfig = kubeconfig_of(&cluster, &json!({"tokenFile": file}))?;
    let refused = watch(&cluster, &kubeconfig, "blogs").await?.run().await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("Unauthorized"), "{refused:?}");
    fs::write(&file, token(&cluster).await?)?;
    // A real server's authorizer reads from a cache.
    eventually(PATIENCE, || async {
        watch(&cluster, &kubeconfig, "blogs").await?.start()?.line_with(&["ADDED", "one"]).await?;
        Ok(())
    })
    .await
}

/// A pod's service account, as the kubelet mounts it: the files are symlinks into `..data`, which is itself a symlink that
/// is switched to a new folder for each update.
struct Mounted {
    folder: PathBuf,
    written: u32,
}

impl Mounted {
    fn new(folder: PathBuf) -> Result<Mounted> {
        fs::create_dir(&folder)?;
        for file in ["ca.crt", "namespace", "token"] {
            symlink(Path::new("..data").join(file), folder.join(file))?;
        }
        Ok(Mounted { folder, written: 0 })
    }

    fn write(&mut self, files: &[(&str, &str)]) -> Result<()> {
        self.written += 1;
        let name = format!("..{}", self.written);
        let data = self.folder.join(&name);
        fs::create_dir(&data)?;
        for (file, content) in files {
            fs::write(data.join(file), content)?;
        }
        let turned = self.folder.join("..data_tmp");
        symlink(&name, &turned)?;
        Ok(fs::rename(turned, self.folder.join("..data"))?)
    }
}

async fn in_cluster(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    let there = &kubeconfig["clusters"][0]["cluster"];
    let server = url::Url::parse(there["server"].as_str().context("a server")?)?;
    let authority = there["certificate-authority-data"].as_str().context("an authority")?;
    let authority = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, authority)?;
    let authority = String::from_utf8(authority)?;
    let files = |token| [("ca.crt", &*authority), ("namespace", cluster.namespace()), ("token", token)];
    let mut mounted = Mounted::new(cluster.folder().join("serviceaccount"))?;
    mounted.write(&files("a-token-that-has-expired"))?;

    let pod = Environment::new(cluster.folder())
        .with_variable("KUBERNETES_SERVICE_HOST", server.host_str().context("a host")?)
        .with_variable("KUBERNETES_SERVICE_PORT", server.port().unwrap_or(443).to_string())
        .with_service_account_dir(&mounted.folder);
    let found = kubeconfig::Options::default().environment(pod).load()?;
    ensure!(found.report().in_cluster, "{}", found.report());
    assert_eq!(found.namespace(), cluster.namespace());
    let informers = Informers::new(found.client()?);
    let informer = informers.dynamic(&widget_type(GROUP)).namespace(found.namespace()).start();
    let refused = timeout(PATIENCE, informer.synced()).await?.err().context("the token is good")?;
    ensure!(refused.code() == Some(401), "{refused:?}");

    // The kubelet updates the token, and the informer uses it without a restart.
    mounted.write(&files(&token(&cluster).await?))?;
    timeout(PATIENCE, informer.watch_status().wait_for(Status::is_ready)).await??;
    assert_eq!(informer.snapshot()?.len(), 1);
    Ok(())
}

/// Returns a token that may list and watch: the administrator's, or that of a ServiceAccount.
async fn token(cluster: &Cluster) -> Result<String> {
    match admin(cluster)?["token"].as_str() {
        Some(token) => Ok(token.to_owned()),
        None => token_of_an_account(cluster).await,
    }
}

/// Creates a ServiceAccount that may list and watch in its namespace, and returns its token.
async fn token_of_an_account(cluster: &Cluster) -> Result<String> {
    let http = cluster.admin();
    let namespace = cluster.namespace();
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "watcher"}});
    http.post(&accounts, &account).await?.code(201)?;
    let subject = json!({"kind": "ServiceAccount", "name": "watcher", "namespace": namespace});
    bind(cluster, "watcher", &["list", "watch"], &subject).await?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = http.post(&format!("{accounts}/watcher/token"), &request).await?.code(201)?;
    Ok(made["status"]["token"].as_str().context("a token")?.to_owned())
}

/// Grants a subject these verbs on blogs and widgets in the test's namespace.
pub(crate) async fn bind(cluster: &Cluster, role: &str, verbs: &[&str], subject: &Value) -> Result<()> {
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", cluster.namespace());
    let rules = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": role},
        "rules": [{"apiGroups": ["web.helloworld", GROUP], "resources": ["blogs", "widgets"], "verbs": verbs}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [subject],
    });
    cluster.admin().post(&format!("{rbac}/roles"), &rules).await?.code(201)?;
    cluster.admin().post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;
    Ok(())
}

pub(crate) fn nobody() -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"})
}

async fn forbidden_then_allowed(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let kubeconfig = cluster.kubeconfig_file()?;
    let run = async || watch(&cluster, &kubeconfig, "blogs --context nobody -o name").await;
    let refused = run().await?.run().await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("User \"nobody\" cannot"), "{refused:?}");
    bind(&cluster, "watcher", &["list", "watch"], &nobody()).await?;
    // A real server's authorizer reads from a cache.
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
    bind(&cluster, "watcher", &["list", "watch"], &nobody()).await?;
    // It retries by itself.
    timeout(PATIENCE, informer.watch_status().wait_for(Status::is_ready)).await??;
    assert_eq!(informer.snapshot()?.len(), 1);
    Ok(())
}

async fn a_server_that_does_not_answer(cluster: Cluster) -> Result<()> {
    // The kernel accepts connections, and nothing reads from them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", silent.local_addr()?));
    let path = cluster.folder().join("silent");
    fs::write(&path, kubeconfig.to_string())?;
    let failed = watch(&cluster, &path, "blogs --request-timeout 500ms").await?.run().await?;
    ensure!(failed.code == Some(1) && failed.stderr.lines().count() == 1, "{failed:?}");
    ensure!(failed.stderr.contains(&silent.local_addr()?.to_string()), "{failed:?}");
    Ok(())
}
