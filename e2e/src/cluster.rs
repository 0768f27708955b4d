//! The cluster that a test is given.

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
    given::{self, Given, Identity},
    go,
    http::Http,
    need::{Need, Skipped, WatchLists},
    owner::Owner,
    program,
    relay::Relay,
};

/// Where a cluster comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// kube-embedded, in this process.
    Embedded,
    /// kube-apiserver and etcd, whose programs the environment names.
    Envtest,
    /// A cluster that somebody else owns and the environment describes: kind, k3s, or one that was there before.
    Given,
}

/// A cluster, and a namespace in it that is this test's own. Cheap to clone.
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

/// A test's turn on a cluster that all tests share: one that needs to be alone waits for the others, and they for it.
enum Turn {
    Together(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

impl Provider {
    /// The real API server of this environment: a cluster that is given, else envtest's.
    pub fn real() -> Provider {
        if Given::is_there() { Provider::Given } else { Provider::Envtest }
    }

    /// What this environment has: the real API server if there is one, else the embedded one.
    fn from_env() -> Result<Provider> {
        Ok(match Provider::real() {
            Provider::Envtest if Assets::from_env()?.is_none() => Provider::Embedded,
            provider => provider,
        })
    }
}

impl Cluster {
    /// The cluster of this environment, with a new namespace: the one that `cargo xtask e2e` started, else envtest's
    /// where its programs are named, else kube-embedded.
    ///
    /// # Errors
    /// When it cannot be reached or does not start.
    pub async fn from_env() -> Result<Cluster> {
        let started = Cluster::start(Provider::from_env()?, &[]).await?;
        started.map_err(|reason| anyhow!(reason.0))
    }

    /// A cluster that has what the test needs, with a new namespace. A control plane is shared by the tests of this
    /// process; a test that stops, compacts or changes the server gets one of its own, which takes 4 s.
    ///
    /// # Errors
    /// When the cluster should be there and does not start; that it cannot be there is [`Skipped`].
    pub async fn start(provider: Provider, needs: &[Need]) -> Result<Result<Cluster, Skipped>> {
        if needs.contains(&Need::Kubectl) && program::kubectl().is_none() {
            let wanted = program::KUBECTL_VERSION;
            return Ok(Err(Skipped(format!(
                "there is no kubectl {wanted} in KUBEBUILDER_ASSETS or on PATH"
            ))));
        }
        if needs.contains(&Need::Go)
            && let Err(skipped) = go::binary().await?
        {
            return Ok(Err(skipped));
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
        let owner = Owner::shared()?;
        let folder = tempfile::tempdir_in(owner.folder())?;
        let inner =
            Inner { server, kubeconfig, admin, nobody, namespace, folder, _owner: owner, _turn: turn };
        Ok(Ok(Cluster { inner: Arc::new(inner) }))
    }

    /// A client that may do everything. It does not retry, so that a test sees each answer.
    pub fn client(&self) -> Client {
        self.inner.admin.clone()
    }

    /// Raw requests of the user that may do everything.
    pub fn admin(&self) -> Http {
        Http::new(self.inner.admin.clone())
    }

    /// Raw requests of a user named `nobody` who has no rights.
    pub fn nobody(&self) -> Http {
        Http::new(self.inner.nobody.clone())
    }

    /// A client of the user `nobody`.
    pub fn nobody_client(&self) -> Client {
        self.inner.nobody.clone()
    }

    /// The server through connections that the test can break.
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

    /// Raw requests with a bearer token of the test's choice.
    pub async fn with_token(&self, token: &str) -> Result<Http> {
        let mut config = config_for(&self.inner.kubeconfig, "admin").await?;
        // A client certificate would go before the token.
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        Ok(Http::new(Client::try_from(config)?))
    }

    /// The contexts `admin` (current) and `nobody`.
    pub fn kubeconfig(&self) -> &Kubeconfig {
        &self.inner.kubeconfig
    }

    /// The kubeconfig as a file, for programs. It is removed with the cluster.
    pub fn kubeconfig_file(&self) -> Result<PathBuf> {
        let path = self.inner.folder.path().join("kubeconfig");
        std::fs::write(&path, serde_json::to_vec(&self.inner.kubeconfig)?)?;
        Ok(path)
    }

    /// A folder for this test's files. It is removed with the cluster.
    pub fn folder(&self) -> &std::path::Path {
        self.inner.folder.path()
    }

    /// A namespace that this test alone uses; removed after it.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// A name that no other test uses, for things without a namespace: also good as an API group.
    pub fn unique(&self) -> String {
        format!("{}.example.com", self.inner.namespace)
    }

    /// Stops the API server: connections break, new ones are refused. Only for tests that need [`Need::Restart`].
    pub async fn stop(&self) -> Result<()> {
        match &self.inner.server {
            Server::Embedded(server) => server.stop().await,
            Server::Envtest(plane) => plane.stop_api_server().await,
            Server::Given(_) => bail!("somebody else's server is not stopped: the test needs Restart"),
        }
    }

    /// Starts the API server on the same port with the same data.
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

    /// Makes the server forget what was before now: older versions are answered with 410. A real server restarts for
    /// that. Only for tests that need [`Need::Compaction`].
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

    /// A client certificate of the user that may do everything. Only for tests that need [`Need::Certificate`].
    ///
    /// # Errors
    /// When there is none.
    pub fn certificate(&self) -> Result<Identity> {
        match &self.inner.server {
            Server::Embedded(server) => Ok(server.administrator().clone()),
            Server::Envtest(plane) => Ok(plane.administrator().clone()),
            Server::Given(given) => {
                given::identity(given.kubeconfig()).context("no certificate: the test needs Certificate")
            }
        }
    }

    /// The image of crdctl that the nodes have. Only for tests that need [`Need::Nodes`].
    ///
    /// # Errors
    /// When there is none.
    pub fn image(&self) -> Result<String> {
        given::image()
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

/// The environment's cluster, if it has what the test needs.
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

/// One control plane for all tests of this process, but one of its own for a test that stops it.
async fn envtest(needs: &[Need]) -> Result<Result<Arc<ControlPlane>, Skipped>> {
    // A plane that did not start will not start for the next test either, and each attempt takes its time.
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
