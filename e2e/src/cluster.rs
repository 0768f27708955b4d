//! The cluster that a test runs on.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, anyhow, bail};
use kube::{
    Client,
    config::{AuthInfo, Kubeconfig},
};
use serde_json::json;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    clients::{client_for, config_for},
    embedded::Embedded,
    envtest::{Assets, ControlPlane},
    front_proxy::FrontProxies,
    given::{self, Given, Identity},
    go,
    http::Http,
    need::{Need, Skipped, WatchLists},
    owner::Owner,
    program,
    relay::Relay,
    terminal,
};

/// Where a cluster comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// kube-embedded, in this process.
    Embedded,
    /// kube-apiserver and etcd, from the programs that the environment names.
    Envtest,
    /// A cluster that somebody else owns and that the environment describes: kind, k3s, or an existing one.
    Given,
}

/// A cluster, and a namespace in it that only this test uses. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    server: Server,
    kubeconfig: Kubeconfig,
    admin: Client,
    nobody: Client,
    namespace: String,
    folder: tempfile::TempDir,
    _owner: Arc<Owner>,
    _turn: Option<Turn>,
}

enum Server {
    Embedded(Box<Embedded>),
    Envtest(Arc<ControlPlane>),
    Given(Box<Given>),
}

/// A test's turn on a cluster that all tests share: a test that needs to be alone waits for the others, and they for it.
enum Turn {
    Together(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

impl Provider {
    /// Returns the real API server of this environment: the given cluster, or else envtest's.
    pub fn real() -> Provider {
        if Given::is_there() { Provider::Given } else { Provider::Envtest }
    }

    /// Returns the real API server of this environment if there is one, or else the embedded one.
    fn from_env() -> Result<Provider> {
        Ok(match Provider::real() {
            Provider::Envtest if Assets::from_env()?.is_none() => Provider::Embedded,
            provider => provider,
        })
    }
}

impl Cluster {
    /// Connects to the cluster of this environment, and creates a namespace: the cluster that `cargo xtask e2e` started,
    /// or else envtest's if its programs are named, or else kube-embedded.
    ///
    /// # Errors
    /// Fails if it cannot be reached or does not start.
    pub async fn from_env() -> Result<Cluster> {
        let started = Cluster::start(Provider::from_env()?, &[]).await?;
        started.map_err(|reason| anyhow!(reason.0))
    }

    /// Starts a cluster that meets the test's needs, and creates a namespace. The tests of this process share a control
    /// plane; a test that stops, compacts or changes the server gets its own, which takes 4 s.
    ///
    /// # Errors
    /// Fails if the cluster does not start. A need that it cannot meet is not an error but [`Skipped`].
    pub async fn start(provider: Provider, needs: &[Need]) -> Result<Result<Cluster, Skipped>> {
        if needs.contains(&Need::Kubectl) && program::kubectl().is_none() {
            let wanted = program::KUBECTL_VERSION;
            return Ok(Err(Skipped(format!(
                "there is no kubectl {wanted} in KUBEBUILDER_ASSETS or on PATH"
            ))));
        }
        if needs.contains(&Need::Go)
            && let Err(skipped) = go::clients().await?
        {
            return Ok(Err(skipped));
        }
        if needs.contains(&Need::Terminal) && !terminal::is_available() {
            return Ok(Err(Skipped("there is no tmux".to_owned())));
        }
        if needs.contains(&Need::Nodes) && provider != Provider::Given {
            return Ok(Err(Skipped("there are no nodes: a kind or k3s cluster has them".to_owned())));
        }
        let server = match provider {
            Provider::Embedded => Server::Embedded(Box::new(Embedded::start(WatchLists::of(needs)).await?)),
            Provider::Envtest => match envtest(needs).await? {
                Ok(plane) => Server::Envtest(plane),
                Err(skipped) => return Ok(Err(skipped)),
            },
            Provider::Given => match given_cluster(needs).await? {
                Ok(given) => Server::Given(Box::new(given)),
                Err(skipped) => return Ok(Err(skipped)),
            },
        };
        let turn = if provider == Provider::Given { Some(Turn::wait(needs).await) } else { None };
        let kubeconfig = server.kubeconfig();
        let admin = client_for(&kubeconfig, "admin").await?;
        let nobody = client_for(&kubeconfig, "nobody").await?;
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "e2e-"}});
        let made = Http::new(admin.clone()).post("/api/v1/namespaces", &body).await?.ok()?;
        let namespace = made["metadata"]["name"].as_str().context("a namespace without a name")?.to_owned();
        if let Server::Given(given) = &server {
            given.accounts_of(&namespace).await?;
        }
        let owner = Owner::shared()?;
        let folder = tempfile::tempdir_in(owner.folder())?;
        let inner =
            Inner { server, kubeconfig, admin, nobody, namespace, folder, _owner: owner, _turn: turn };
        Ok(Ok(Cluster { inner: Arc::new(inner) }))
    }

    /// Returns a client that may do everything. It does not retry, so that a test sees each response.
    pub fn client(&self) -> Client {
        self.inner.admin.clone()
    }

    /// Sends raw requests as the user that may do everything.
    pub fn admin(&self) -> Http {
        Http::new(self.inner.admin.clone())
    }

    /// Sends raw requests as the user `nobody`, who has no rights.
    pub fn nobody(&self) -> Http {
        Http::new(self.inner.nobody.clone())
    }

    /// Returns a client for the user `nobody`.
    pub fn nobody_client(&self) -> Client {
        self.inner.nobody.clone()
    }

    /// Starts a relay to the server, whose connections the test can break.
    pub async fn behind_a_relay(&self) -> Result<Relay> {
        let mut config = config_for(&self.inner.kubeconfig, "admin").await?;
        let server =
            config.cluster_url.authority().context("a server without an address")?.as_str().parse()?;
        Relay::start(server, async |relay| {
            config.cluster_url = format!("https://{relay}").parse()?;
            Ok(Client::try_from(config)?)
        })
        .await
    }

    /// Sends raw requests with a bearer token of the test's choice.
    pub async fn with_token(&self, token: &str) -> Result<Http> {
        let mut config = config_for(&self.inner.kubeconfig, "admin").await?;
        // A client certificate would take precedence over the token.
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        Ok(Http::new(Client::try_from(config)?))
    }

    /// Returns the bearer token of a user in the kubeconfig.
    ///
    /// # Errors
    /// Fails if the user has none.
    pub fn user_token(&self, name: &str) -> Result<String> {
        let kubeconfig = serde_json::to_value(&self.inner.kubeconfig)?;
        let users = kubeconfig["users"].as_array().context("users")?;
        let user = users.iter().find(|user| user["name"] == name);
        Ok(user.and_then(|user| user["user"]["token"].as_str()).context("a user with a token")?.to_owned())
    }

    /// Returns a kubeconfig with the contexts `admin` (current) and `nobody`.
    pub fn kubeconfig(&self) -> &Kubeconfig {
        &self.inner.kubeconfig
    }

    /// Writes the kubeconfig to a file, for programs. It is removed with the cluster.
    pub fn kubeconfig_file(&self) -> Result<PathBuf> {
        self.write_kubeconfig("kubeconfig", &self.inner.kubeconfig)
    }

    /// Writes a kubeconfig whose connections go through a relay to a file, for programs. It is removed with the cluster.
    pub fn kubeconfig_file_through(&self, relay: &Relay) -> Result<PathBuf> {
        let mut kubeconfig = self.inner.kubeconfig.clone();
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
            cluster.server = Some(format!("https://{}", relay.address()));
        }
        self.write_kubeconfig(&format!("kubeconfig-{}", relay.address().port()), &kubeconfig)
    }

    fn write_kubeconfig(&self, name: &str, kubeconfig: &Kubeconfig) -> Result<PathBuf> {
        let path = self.inner.folder.path().join(name);
        std::fs::write(&path, serde_json::to_vec(kubeconfig)?)?;
        Ok(path)
    }

    /// Returns a folder for this test's files. It is removed with the cluster.
    pub fn folder(&self) -> &std::path::Path {
        self.inner.folder.path()
    }

    /// Returns the namespace that only this test uses. It is removed after the test.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// Returns the path of the objects of a core resource in the test's namespace.
    pub fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace())
    }

    /// Returns a name that no other test uses, for cluster-scoped objects. It is also valid as an API group.
    pub fn unique(&self) -> String {
        format!("{}.example.com", self.inner.namespace)
    }

    /// Stops the API server: connections break, and new ones are refused. Only for tests that need [`Need::Restart`].
    pub async fn stop(&self) -> Result<()> {
        match &self.inner.server {
            Server::Embedded(server) => server.stop().await,
            Server::Envtest(plane) => plane.stop_api_server().await,
            Server::Given(_) => bail!("somebody else's server is not stopped: the test needs Restart"),
        }
    }

    /// Starts the API server again, on the same port and with the same data.
    pub async fn resume(&self) -> Result<()> {
        match &self.inner.server {
            Server::Embedded(server) => server.resume().await,
            Server::Envtest(plane) => plane.start_api_server().await,
            Server::Given(_) => bail!("somebody else's server is not started: the test needs Restart"),
        }
    }

    /// [`Cluster::stop`] and [`Cluster::resume`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.resume().await
    }

    /// Makes the server forget its history: requests for older versions get 410. A real server is restarted for this.
    /// Only for tests that need [`Need::Compaction`].
    pub async fn compact(&self) -> Result<()> {
        match &self.inner.server {
            Server::Embedded(server) => {
                server.compact();
                Ok(())
            }
            Server::Envtest(plane) => plane.compact().await,
            Server::Given(_) => bail!("somebody else's server is not compacted: the test needs Compaction"),
        }
    }

    /// Returns a client certificate of the user that may do everything. Only for tests that need [`Need::Certificate`].
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn certificate(&self) -> Result<Identity> {
        match &self.inner.server {
            Server::Embedded(server) => Ok(server.administrator().clone()),
            Server::Envtest(plane) => Ok(plane.administrator().clone()),
            Server::Given(given) => {
                given::identity(given.kubeconfig()).context("no certificate: the test needs Certificate")
            }
        }
    }

    /// Returns the authority of front proxies. Only for tests that need [`Need::FrontProxy`].
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn front_proxies(&self) -> Result<&FrontProxies> {
        match &self.inner.server {
            Server::Embedded(server) => Ok(server.proxies()),
            Server::Envtest(plane) => Ok(plane.proxies()),
            Server::Given(_) => bail!("somebody else has the key: the test needs FrontProxy"),
        }
    }

    /// Sends raw requests with a client certificate, and with a bearer token if there is one.
    pub async fn with_certificate(&self, identity: &Identity, token: Option<&str>) -> Result<Http> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let mut config = config_for(&self.inner.kubeconfig, "admin").await?;
        config.auth_info = AuthInfo {
            client_certificate_data: Some(BASE64_STANDARD.encode(&identity.certificate)),
            client_key_data: Some(BASE64_STANDARD.encode(&identity.key).into()),
            token: token.map(|token| token.to_owned().into()),
            ..AuthInfo::default()
        };
        Ok(Http::new(Client::try_from(config)?))
    }

    /// Returns the image of crdctl that is loaded on the nodes. Only for tests that need [`Need::Nodes`].
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn image(&self) -> Result<String> {
        given::image()
    }

    /// Returns the image of blog-operator that is loaded on the nodes. Only for tests that need [`Need::Nodes`].
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn operator_image(&self) -> Result<String> {
        given::operator_image()
    }

    pub(crate) async fn remove_namespace(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespace());
        self.admin().delete(&path).await.map(drop)
    }
}

impl Server {
    fn kubeconfig(&self) -> Kubeconfig {
        match self {
            Server::Embedded(server) => server.kubeconfig().clone(),
            Server::Envtest(plane) => plane.kubeconfig().clone(),
            Server::Given(given) => given.kubeconfig().clone(),
        }
    }
}

/// Returns the environment's cluster, if it meets the test's needs.
async fn given_cluster(needs: &[Need]) -> Result<Result<Given, Skipped>> {
    let given = Given::from_env()?;
    Ok(given.lacks(needs).await?.map_or(Ok(given), |reason| Err(Skipped(reason))))
}

impl Turn {
    async fn wait(needs: &[Need]) -> Turn {
        static TURNS: RwLock<()> = RwLock::const_new(());
        if needs.contains(&Need::Alone) {
            Turn::Alone(TURNS.write().await)
        } else {
            Turn::Together(TURNS.read().await)
        }
    }
}

/// Starts one control plane for all tests of this process, or a separate one for a test that stops or changes it.
async fn envtest(needs: &[Need]) -> Result<Result<Arc<ControlPlane>, Skipped>> {
    // If it did not start, it will not start for the next test either, and each attempt takes a while.
    static SHARED: OnceCell<Result<Arc<ControlPlane>, String>> = OnceCell::const_new();

    let Some(assets) = Assets::from_env()? else {
        return Ok(Err(Skipped("KUBEBUILDER_ASSETS names no control plane".to_owned())));
    };
    let apart = [Need::Restart, Need::Compaction, Need::Alone, Need::NoWatchLists];
    let plane = if apart.iter().any(|need| needs.contains(need)) {
        Arc::new(ControlPlane::start(&assets, WatchLists::of(needs)).await?)
    } else {
        let start = async || {
            let plane = ControlPlane::start(&assets, WatchLists::On).await;
            plane.map(Arc::new).map_err(|error| format!("{error:#}"))
        };
        SHARED.get_or_init(start).await.clone().map_err(|error| anyhow!(error))?
    };
    if needs.contains(&Need::Controllers) && !plane.has_controllers() {
        return Ok(Err(Skipped("there is no kube-controller-manager in KUBEBUILDER_ASSETS".to_owned())));
    }
    Ok(Ok(plane))
}
