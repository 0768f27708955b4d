//! A real control plane: etcd, kube-apiserver and, if available, kube-controller-manager with the controllers that the embedded
//! server has, too (garbage collector, namespaces, ServiceAccounts, quotas, protection of volumes).
//!
//! It uses free loopback ports and a folder of its own, and ends with this process.

use std::{env, net::TcpListener, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use http::Request;
use kube::config::Kubeconfig;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::{
    clients::client_for,
    eventually,
    front_proxy::{FRONT_PROXY, FrontProxies},
    given::Identity,
    need::WatchLists,
    supervisor::Supervisor,
};

const START: Duration = Duration::from_secs(60);

/// The server programs.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    kube_apiserver: PathBuf,
    etcd: PathBuf,
    kube_controller_manager: Option<PathBuf>,
}

/// A running control plane.
pub(crate) struct ControlPlane {
    kubeconfig: Kubeconfig,
    administrator: Identity,
    proxies: FrontProxies,
    etcd: String,
    api_server: Vec<String>,
    controllers: bool,
    supervisor: Supervisor,
}

impl Assets {
    /// Finds them as envtest does: by `TEST_ASSET_KUBE_APISERVER` and `TEST_ASSET_ETCD`, or else in `KUBEBUILDER_ASSETS`.
    /// Returns `None` if these variables are not set.
    ///
    /// # Errors
    /// Fails if the environment names a file that does not exist.
    pub(crate) fn from_env() -> Result<Option<Assets>> {
        let folder = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let find = |name: &str| folder.as_ref().map(|folder| folder.join(name));
        let named =
            |variable: &str, name: &str| env::var_os(variable).map(PathBuf::from).or_else(|| find(name));
        let (Some(kube_apiserver), Some(etcd)) =
            (named("TEST_ASSET_KUBE_APISERVER", "kube-apiserver"), named("TEST_ASSET_ETCD", "etcd"))
        else {
            return Ok(None);
        };
        for program in [&kube_apiserver, &etcd] {
            ensure!(
                program.is_file(),
                "{} is not there: KUBEBUILDER_ASSETS (or TEST_ASSET_KUBE_APISERVER, TEST_ASSET_ETCD) names it",
                program.display()
            );
        }
        let kube_controller_manager = find("kube-controller-manager").filter(|program| program.is_file());
        Ok(Some(Assets { kube_apiserver, etcd, kube_controller_manager }))
    }
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready, which takes about 4 s.
    pub(crate) async fn start(assets: &Assets, watch_lists: WatchLists) -> Result<ControlPlane> {
        // Another process may take a port after it was chosen and before the server binds it.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            match ControlPlane::try_start(assets, watch_lists).await {
                Err(error) if attempts > 0 && format!("{error:#}").contains("address already in use") => {}
                result => return result,
            }
        }
    }

    async fn try_start(assets: &Assets, watch_lists: WatchLists) -> Result<ControlPlane> {
        let supervisor = Supervisor::new()?;
        let ports = free_ports(3)?;
        let (client, peer, secure) = (ports[0], ports[1], ports[2]);
        let file = |name: &str| supervisor.folder().join(name).display().to_string();
        let (ca, administrator) = write_certificates(&supervisor)?;
        let proxies = FrontProxies::new()?;
        std::fs::write(file("proxy-ca.crt"), proxies.authority())?;
        let proxy = proxies.issue(FRONT_PROXY)?;
        std::fs::write(file("proxy.crt"), &proxy.certificate)?;
        std::fs::write(file("proxy.key"), &proxy.key)?;
        std::fs::write(
            file("tokens.csv"),
            "admin-token,admin,admin,\"system:masters\"\nnobody-token,nobody,nobody\n",
        )?;
        let kubeconfig = kubeconfig(secure, &ca)?;
        std::fs::write(file("kubeconfig"), serde_json::to_vec(&kubeconfig)?)?;

        let etcd = format!("http://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        supervisor.start(
            "etcd",
            &arguments(
                &assets.etcd,
                &[
                    ("data-dir", &file("etcd")),
                    ("unsafe-no-fsync", "true"),
                    ("log-level", "error"),
                    ("listen-client-urls", &etcd),
                    ("advertise-client-urls", &etcd),
                    ("listen-peer-urls", &peer),
                    ("initial-advertise-peer-urls", &peer),
                    ("initial-cluster", &format!("default={peer}")),
                ],
            ),
        )?;
        let mut api_server = arguments(
            &assets.kube_apiserver,
            &[
                ("etcd-servers", &etcd),
                ("bind-address", "127.0.0.1"),
                ("secure-port", &secure.to_string()),
                ("tls-cert-file", &file("server.crt")),
                ("tls-private-key-file", &file("server.key")),
                ("token-auth-file", &file("tokens.csv")),
                ("client-ca-file", &file("ca.crt")),
                ("proxy-client-cert-file", &file("proxy.crt")),
                ("proxy-client-key-file", &file("proxy.key")),
                ("requestheader-client-ca-file", &file("proxy-ca.crt")),
                ("requestheader-allowed-names", FRONT_PROXY),
                ("requestheader-username-headers", "X-Remote-User"),
                ("requestheader-uid-headers", "X-Remote-Uid"),
                ("requestheader-group-headers", "X-Remote-Group"),
                ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
                ("authorization-mode", "RBAC"),
                ("service-cluster-ip-range", "10.96.0.0/16"),
                ("allow-privileged", "true"),
                ("disable-admission-plugins", "ServiceAccount"),
                ("service-account-issuer", "https://kubernetes.default.svc"),
                ("service-account-key-file", &file("service-account.pub")),
                ("service-account-signing-key-file", &file("service-account.key")),
            ],
        );
        if watch_lists == WatchLists::Off {
            api_server.push("--feature-gates=WatchList=false".to_owned());
        }
        let controllers = assets.kube_controller_manager.is_some();
        let plane =
            ControlPlane { kubeconfig, administrator, proxies, etcd, api_server, controllers, supervisor };
        plane.start_api_server().await?;
        if let Some(program) = &assets.kube_controller_manager {
            let file = |name: &str| plane.supervisor.folder().join(name).display().to_string();
            plane.supervisor.start(
                "kube-controller-manager",
                &arguments(
                    program,
                    &[
                        ("kubeconfig", &file("kubeconfig")),
                        ("leader-elect", "false"),
                        ("secure-port", "0"),
                        (
                            "controllers",
                            "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
                             resourcequota-controller,persistentvolumeclaim-protection-controller,\
                             persistentvolume-protection-controller,\
                             validatingadmissionpolicy-status-controller",
                        ),
                        ("service-account-private-key-file", &file("service-account.key")),
                        ("use-service-account-credentials", "true"),
                        ("kube-api-qps", "500"),
                        ("kube-api-burst", "1000"),
                    ],
                ),
            )?;
            plane
                .ready("kube-controller-manager", "/api/v1/namespaces/default/serviceaccounts/default")
                .await?;
        }
        Ok(plane)
    }

    /// Returns a kubeconfig for the users `admin` (the current context) and `nobody`.
    pub(crate) fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    /// Returns the client certificate that its administrator may use instead of a token.
    pub(crate) fn administrator(&self) -> &Identity {
        &self.administrator
    }

    /// Returns the authority of its front proxies.
    pub(crate) fn proxies(&self) -> &FrontProxies {
        &self.proxies
    }

    /// Reports whether the garbage collector runs, and the controllers of namespaces, of ServiceAccounts and of the status of
    /// policies.
    pub(crate) fn has_controllers(&self) -> bool {
        self.controllers
    }

    /// Starts the API server on its port, with the data in etcd.
    pub(crate) async fn start_api_server(&self) -> Result<()> {
        self.supervisor.start("kube-apiserver", &self.api_server)?;
        self.ready("kube-apiserver", "/readyz").await?;
        self.ready("kube-apiserver", "/api/v1/namespaces/default").await
    }

    /// Kills the API server, as a crash would.
    pub(crate) async fn stop_api_server(&self) -> Result<()> {
        self.supervisor.stop("kube-apiserver").await
    }

    /// Compacts the history up to the current revision. The API server caches events itself, so it is restarted.
    pub(crate) async fn compact(&self) -> Result<()> {
        let present = self.ask_etcd("/v3/kv/range", &json!({"key": "AA=="})).await?;
        let revision =
            present["header"]["revision"].as_str().context("etcd returned no revision")?.to_owned();
        self.stop_api_server().await?;
        self.ask_etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).await?;
        self.start_api_server().await
    }

    async fn ask_etcd(&self, path: &str, body: &Value) -> Result<Value> {
        let client = kube::Client::try_from(kube::Config::new(self.etcd.parse()?))?;
        let request = Request::post(path).header("content-type", "application/json");
        Ok(client.request(request.body(body.to_string().into_bytes())?).await?)
    }

    async fn ready(&self, server: &str, path: &str) -> Result<()> {
        let client = client_for(&self.kubeconfig, "admin").await?;
        let wait = eventually(START, || async {
            let answer = client.request_text(Request::get(path).body(Vec::new())?).await;
            match answer {
                Ok(_) => Ok(Ok(())),
                Err(_) if self.supervisor.exited(server) || self.supervisor.exited("etcd") => {
                    Ok(Err(anyhow!("it ended")))
                }
                Err(error) => Err(error.into()),
            }
        });
        wait.await.flatten().with_context(|| {
            let log = |name| self.supervisor.log_tail(name);
            format!("{server} is not ready; etcd says\n{}\n{server} says\n{}", log("etcd"), log(server))
        })
    }
}

/// Writes a certificate for the API server and a key for ServiceAccount tokens. Returns the CA's certificate in PEM, and
/// the administrator's certificate.
fn write_certificates(supervisor: &Supervisor) -> Result<(String, Identity)> {
    let file = |name: &str| supervisor.folder().join(name);
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "e2e");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_certificate = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);
    std::fs::write(file("ca.crt"), &ca_certificate)?;

    let key = KeyPair::generate()?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    std::fs::write(file("server.crt"), certificate.pem())?;
    std::fs::write(file("server.key"), key.serialize_pem())?;

    let key = KeyPair::generate()?;
    let mut administrator = CertificateParams::default();
    administrator.distinguished_name.push(DnType::CommonName, "admin");
    administrator.distinguished_name.push(DnType::OrganizationName, "system:masters");
    administrator.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = administrator.signed_by(&key, &issuer)?.pem();
    let administrator = Identity { certificate, key: key.serialize_pem() };

    let tokens = KeyPair::generate()?;
    std::fs::write(file("service-account.key"), tokens.serialize_pem())?;
    std::fs::write(file("service-account.pub"), tokens.public_key_pem())?;
    Ok((ca_certificate, administrator))
}

fn kubeconfig(port: u16, ca: &str) -> Result<Kubeconfig> {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca);
    let user = |name: &str| json!({"name": name, "user": {"token": format!("{name}-token")}});
    let context = |user: &str| json!({"name": user, "context": {"cluster": "e2e", "user": user, "namespace": "default"}});
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": ca,
        }}],
        "users": [user("admin"), user("nobody")],
        "contexts": [context("admin"), context("nobody")],
        "current-context": "admin",
    }))?)
}

fn arguments(program: &std::path::Path, flags: &[(&str, &str)]) -> Vec<String> {
    let flags = flags.iter().map(|(name, value)| format!("--{name}={value}"));
    std::iter::once(program.display().to_string()).chain(flags).collect()
}

/// Returns this number of ports that are currently free. They are all bound at the same time, so that they differ.
///
/// # Errors
/// Fails if the system has none.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bind = |_| TcpListener::bind("127.0.0.1:0");
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect::<std::io::Result<_>>()?;
    let ports =
        listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<Vec<_>>>()?;
    ensure!(!ports.contains(&0), "the system gave port 0");
    Ok(ports)
}
