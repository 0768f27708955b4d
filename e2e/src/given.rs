//! A cluster that somebody else owns, as the environment describes it. `cargo xtask e2e` sets these variables:
//!
//! | variable | meaning |
//! |---|---|
//! | `E2E_KUBECONFIG` | a kubeconfig file with the contexts `admin` and `nobody` |
//! | `E2E_CLUSTER` | the type of the cluster: `kind`, `k3s` or `existing` |
//! | `E2E_IMAGE` | the image of crdctl that is loaded on its nodes; without it, no test runs pods |
//! | `E2E_OPERATOR_IMAGE` | the image of blog-operator that is loaded on its nodes |

use std::{env, ffi::OsString, io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{clients::client_for, eventually, http::Http, need::Need, owner::Owner};

const KUBECONFIG: &str = "E2E_KUBECONFIG";
const CLUSTER: &str = "E2E_CLUSTER";
const IMAGE: &str = "E2E_IMAGE";
const OPERATOR_IMAGE: &str = "E2E_OPERATOR_IMAGE";

/// The images that are loaded on a cluster's nodes.
#[derive(Debug, Clone)]
pub struct Images {
    /// The image of crdctl.
    pub crdctl: String,
    /// The image of blog-operator.
    pub operator: String,
}

/// A client certificate and its key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// Including intermediate certificates, if there are any.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The cluster that the environment describes.
pub(crate) struct Given {
    name: String,
    kubeconfig: Kubeconfig,
}

impl Given {
    /// Reports whether the environment describes a cluster.
    pub(crate) fn is_there() -> bool {
        env::var_os(KUBECONFIG).is_some()
    }

    /// Reads the description, without a request to the cluster.
    pub(crate) fn from_env() -> Result<Given> {
        let path = env::var_os(KUBECONFIG).with_context(|| format!("{KUBECONFIG} is not set"))?;
        let kubeconfig =
            Kubeconfig::read_from(&path).with_context(|| format!("{KUBECONFIG} names {}", path.display()))?;
        let name = env::var(CLUSTER).unwrap_or_else(|_| "existing".to_owned());
        Ok(Given { name, kubeconfig })
    }

    /// Returns a kubeconfig with the contexts `admin` (current) and `nobody`.
    pub(crate) fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    /// Returns why this cluster cannot meet the test's needs: something is missing, or must not be done to this cluster.
    pub(crate) async fn lacks(&self, needs: &[Need]) -> Result<Option<String>> {
        for need in needs {
            let lacking = match need {
                Need::Restart | Need::Compaction => {
                    Some(format!("the server of a {} cluster is neither stopped nor compacted", self.name))
                }
                Need::Callbacks => Some("its server cannot reach servers of this machine".to_owned()),
                Need::Alone if self.name == "existing" => {
                    Some("it would change objects that others on an existing cluster may use".to_owned())
                }
                Need::Nodes if env::var_os(IMAGE).is_none() => {
                    Some(format!("{IMAGE} names no image of crdctl that the nodes have"))
                }
                Need::Controllers if !self.has_controllers().await? => {
                    Some("no controllers run: there is no default ServiceAccount".to_owned())
                }
                Need::NoControllers if self.has_controllers().await? => {
                    Some("controllers and admission change what was recorded without them".to_owned())
                }
                Need::Certificate if identity(&self.kubeconfig).is_none() => {
                    Some("its administrator has no client certificate in the kubeconfig".to_owned())
                }
                Need::FrontProxy => Some("somebody else has the key of the front proxies".to_owned()),
                Need::WatchLists if !self.has_watch_lists().await? => {
                    Some("the server does not support watch-lists".to_owned())
                }
                Need::NoWatchLists if self.has_watch_lists().await? => {
                    Some("the server supports watch-lists".to_owned())
                }
                Need::Certificate
                | Need::WatchLists
                | Need::NoWatchLists
                | Need::NoControllers
                | Need::Alone
                | Need::Nodes
                | Need::Controllers
                | Need::Kubectl
                | Need::Go
                | Need::Terminal => None,
            };
            if lacking.is_some() {
                return Ok(lacking);
            }
        }
        Ok(None)
    }

    /// Waits until a namespace has the ServiceAccount that its pods need, if controllers run, which create it a moment later.
    pub(crate) async fn accounts_of(&self, namespace: &str) -> Result<()> {
        let admin = self.admin().await?;
        if !has_account(&admin, "default").await? {
            return Ok(());
        }
        eventually(Duration::from_secs(60), || async {
            ensure!(has_account(&admin, namespace).await?, "there is no ServiceAccount default");
            Ok(())
        })
        .await
    }

    async fn admin(&self) -> Result<Http> {
        Ok(Http::new(client_for(&self.kubeconfig, "admin").await?))
    }

    async fn has_watch_lists(&self) -> Result<bool> {
        let admin = self.admin().await?;
        let options = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
        let answer = admin.get(&format!("/api/v1/namespaces?{options}")).await?;
        Ok(answer.code == 200)
    }

    async fn has_controllers(&self) -> Result<bool> {
        has_account(&self.admin().await?, "default").await
    }
}

/// Whether a namespace has the ServiceAccount that a controller creates in each.
async fn has_account(admin: &Http, namespace: &str) -> Result<bool> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    Ok(admin.get(&path).await?.code == 200)
}

/// A cluster as its owner passes it on: the variables, and the file that they name, which is removed on drop.
pub struct Handed {
    file: NamedTempFile,
    variables: Vec<(&'static str, OsString)>,
}

impl Handed {
    /// Describes the cluster called `name`; `images` are those that are loaded on the nodes, if any are.
    ///
    /// # Errors
    /// Fails if the kubeconfig has no current context, or the file cannot be written.
    pub fn new(
        owner: &Owner,
        name: &str,
        kubeconfig: &Kubeconfig,
        images: Option<&Images>,
    ) -> Result<Handed> {
        // tempfile creates files that only this user can read.
        let mut file = tempfile::Builder::new().suffix(".kubeconfig").tempfile_in(owner.folder())?;
        file.write_all(&serde_json::to_vec(&contexts(kubeconfig)?)?).context("write the kubeconfig")?;
        let path = file.path().as_os_str().to_owned();
        let mut variables =
            vec![(KUBECONFIG, path.clone()), ("KUBECONFIG", path), (CLUSTER, name.to_owned().into())];
        if let Some(images) = images {
            variables.push((IMAGE, images.crdctl.clone().into()));
            variables.push((OPERATOR_IMAGE, images.operator.clone().into()));
        }
        Ok(Handed { file, variables })
    }

    /// Returns the variables, for the environment of a program.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        self.variables.iter().cloned()
    }

    /// Copies the kubeconfig to a path where it stays.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn keep(&self, path: &Path) -> Result<()> {
        let copied = std::fs::copy(self.file.path(), path);
        copied.map(drop).with_context(|| format!("write {}", path.display()))
    }
}

/// Returns the image of crdctl that is loaded on the nodes.
pub(crate) fn image() -> Result<String> {
    env::var(IMAGE).with_context(|| format!("{IMAGE} names no image: the test needs Nodes"))
}

/// Returns the image of blog-operator that is loaded on the nodes.
pub(crate) fn operator_image() -> Result<String> {
    env::var(OPERATOR_IMAGE).with_context(|| format!("{OPERATOR_IMAGE} names no image: the test needs Nodes"))
}

/// Returns the client certificate of the user `admin`, if the kubeconfig itself contains it.
pub(crate) fn identity(kubeconfig: &Kubeconfig) -> Option<Identity> {
    use base64::Engine as _;
    let kubeconfig = serde_json::to_value(kubeconfig).ok()?;
    let users = kubeconfig["users"].as_array()?;
    let admin = &users.iter().find(|named| named["name"] == "admin")?["user"];
    let pem = |field: &str| {
        let decoded = base64::engine::general_purpose::STANDARD.decode(admin[field].as_str()?).ok()?;
        String::from_utf8(decoded).ok()
    };
    Some(Identity { certificate: pem("client-certificate-data")?, key: pem("client-key-data")? })
}

/// Makes the tests' kubeconfig from another one: its current context under the name `admin`, and the context `nobody`,
/// in which the same user impersonates `nobody`, so that the cluster does not need to have such a user.
///
/// # Errors
/// Fails if there is no current context, or its cluster or user is missing.
pub(crate) fn contexts(kubeconfig: &Kubeconfig) -> Result<Kubeconfig> {
    let whole = serde_json::to_value(kubeconfig)?;
    let current = whole["current-context"].as_str().unwrap_or_default();
    ensure!(!current.is_empty(), "the kubeconfig has no current context");
    let entry = |list: &str, name: &str, content: &str| {
        let entries = whole[list].as_array().map_or(&[][..], Vec::as_slice);
        let found = entries.iter().find(|entry| entry["name"] == name);
        found.map(|entry| entry[content].clone()).with_context(|| format!("{list} has no {name:?}"))
    };
    let context = entry("contexts", current, "context")?;
    let name_of = |part: &str| context[part].as_str().unwrap_or_default().to_owned();
    let server = entry("clusters", &name_of("cluster"), "cluster")?;
    let admin = entry("users", &name_of("user"), "user")?;
    let mut nobody = admin.clone();
    nobody["as"] = json!("nobody");
    let user = |name: &str, user: Value| json!({"name": name, "user": user});
    let context = |user: &str| json!({"name": user, "context": {"cluster": "e2e", "user": user, "namespace": "default"}});
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": server}],
        "users": [user("admin", admin), user("nobody", nobody)],
        "contexts": [context("admin"), context("nobody")],
        "current-context": "admin",
    }))?)
}
