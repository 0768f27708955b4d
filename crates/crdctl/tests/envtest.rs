//! The pair of programs for test environments, started as envtest starts them.

#![cfg(feature = "server")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext},
};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn crdctl(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_crdctl")).args(arguments).output().expect("crdctl runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A port that was free a moment ago, as envtest chooses one.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("an address").port()
}

/// A running program, which is killed at the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(program: &Path, arguments: &[String]) -> Self {
        let started = Command::new(program).args(arguments).stderr(Stdio::null()).spawn();
        Self(started.expect("the program starts"))
    }

    /// Ends it as envtest does. Returns its exit code and how long it took.
    fn terminate(mut self) -> (Option<i32>, Duration) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid")).expect("a pid");
        let begun = Instant::now();
        kill_process(pid, Signal::TERM).expect("a signal");
        let status = self.0.wait().expect("it ends");
        (status.code(), begun.elapsed())
    }
}

/// The files that envtest makes, and a user of its authority.
struct Certificates {
    folder: tempfile::TempDir,
    authority: String,
    admin: (String, String),
}

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let issue = |names: &[&str], subject: &[(DnType, &str)]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).expect("names");
            params.distinguished_name = DistinguishedName::new();
            for (part, value) in subject {
                params.distinguished_name.push(part.clone(), *value);
            }
            let key = KeyPair::generate().expect("a key");
            (params.signed_by(&key, &issuer).expect("a certificate").pem(), key.serialize_pem())
        };
        let (serving, key) = issue(&["127.0.0.1", "localhost"], &[]);
        let admin = [(DnType::CommonName, "admin"), (DnType::OrganizationName, "system:masters")];
        let (signer, signing_key) = issue(&[], &[]);
        for (name, text) in [
            ("apiserver.crt", &serving),
            ("apiserver.key", &key),
            ("client-cert-auth-ca.crt", &authority),
            ("sa-signer.crt", &signer),
            ("sa-signer.key", &signing_key),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        Self { admin: issue(&[], &admin), authority, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The line with which envtest starts kube-apiserver.
    fn line(&self, port: u16) -> Vec<String> {
        vec![
            "--allow-privileged=true".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", self.folder.path().display()),
            format!("--client-ca-file={}", self.path("client-cert-auth-ca.crt")),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--etcd-servers=http://127.0.0.1:1".to_owned(),
            format!("--secure-port={port}"),
            format!("--service-account-issuer=https://127.0.0.1:{port}/"),
            format!("--service-account-key-file={}", self.path("sa-signer.crt")),
            format!("--service-account-signing-key-file={}", self.path("sa-signer.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        ]
    }

    async fn client(&self, port: u16) -> Client {
        let folder = self.folder.path();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file");
            Some(path.display().to_string())
        };
        let name = || "envtest".to_owned();
        let kubeconfig = Kubeconfig {
            clusters: vec![NamedCluster {
                name: name(),
                cluster: Some(Cluster {
                    server: Some(format!("https://127.0.0.1:{port}")),
                    certificate_authority: file("authority.crt", &self.authority),
                    ..Cluster::default()
                }),
                other: Default::default(),
            }],
            auth_infos: vec![NamedAuthInfo {
                name: name(),
                auth_info: Some(AuthInfo {
                    client_certificate: file("admin.crt", &self.admin.0),
                    client_key: file("admin.key", &self.admin.1),
                    ..AuthInfo::default()
                }),
                other: Default::default(),
            }],
            contexts: vec![NamedContext {
                name: name(),
                context: Some(Context { cluster: name(), user: Some(name()), ..Context::default() }),
                other: Default::default(),
            }],
            current_context: Some(name()),
            ..Kubeconfig::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
        Client::try_from(config.expect("the kubeconfig is whole")).expect("its certificates are good")
    }
}

/// Waits until a namespace can be read, as envtest does after the server is healthy.
async fn ready(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let asked = async {
        while namespaces.get("default").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is ready in time");
}

async fn accounts(client: &Client) -> usize {
    let accounts: Api<ServiceAccount> = Api::all(client.clone());
    accounts.list(&ListParams::default()).await.expect("a list").items.len()
}

fn folder(at: &Path, more: &[&str]) -> PathBuf {
    let path = at.join("assets").display().to_string();
    let printed = crdctl(&[&["envtest", "--path", &path], more].concat());
    assert_eq!(printed, format!("{path}\n"));
    PathBuf::from(path)
}

#[tokio::test]
async fn the_api_server_starts_and_ends_as_envtest_expects() {
    let (certificates, port) = (Certificates::make(), free_port());
    let folder = folder(certificates.folder.path(), &[]);
    let server = Running::start(&folder.join("kube-apiserver"), &certificates.line(port));
    let client = certificates.client(port).await;
    ready(&client).await;
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("admin"));
    assert_eq!(user.groups.unwrap(), ["system:masters", "system:authenticated"]);
    assert_eq!(accounts(&client).await, 0, "no controller makes ServiceAccounts");
    // A second one does not get the port.
    let second = Command::new(folder.join("kube-apiserver")).args(certificates.line(port)).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}: the port is taken")), "{said}");
    let (code, took) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_folder_with_controllers_has_them_until_it_is_made_again() {
    let certificates = Certificates::make();
    for (more, expected) in [(&["--controllers"][..], true), (&[], false)] {
        let port = free_port();
        let folder = folder(certificates.folder.path(), more);
        let _server = Running::start(&folder.join("kube-apiserver"), &certificates.line(port));
        let client = certificates.client(port).await;
        ready(&client).await;
        let made = async {
            while accounts(&client).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match expected {
            true => tokio::time::timeout(PATIENCE, made).await.expect("ServiceAccounts in time"),
            false => assert_eq!(accounts(&client).await, 0),
        }
    }
}

#[tokio::test]
async fn etcd_is_healthy() {
    let place = tempfile::tempdir().unwrap();
    let (folder, port) = (folder(place.path(), &[]), free_port());
    let (url, data) = (format!("http://127.0.0.1:{port}"), place.path().join("data"));
    let line = [
        format!("--advertise-client-urls={url}"),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={url}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--unsafe-no-fsync=true".to_owned(),
    ];
    let etcd = Running::start(&folder.join("etcd"), &line);
    let ask = || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: etcd\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let begun = Instant::now();
    let answer = loop {
        match ask() {
            Some(answer) => break answer,
            None => assert!(begun.elapsed() < PATIENCE, "it does not answer"),
        }
        std::thread::yield_now();
    };
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"health":"true","reason":""}"#),
        "{answer}"
    );
    assert!(data.is_dir());
    assert_eq!(etcd.terminate().0, Some(0));
}

#[test]
fn wrong_lines_are_refused_in_kube_apiservers_words() {
    let place = tempfile::tempdir().unwrap();
    let folder = folder(place.path(), &[]);
    let file = place.path().join("file");
    fs::write(&file, "x").unwrap();
    let file = file.display().to_string();
    for (program, line, error) in [
        ("kube-apiserver", "--nope", "error: unknown flag: --nope\n".to_owned()),
        ("etcd", "-nope", "error: unknown flag: --nope\n".to_owned()),
        ("kube-apiserver", "--secure-port", "error: flag needs an argument: --secure-port\n".to_owned()),
        (
            "kube-apiserver",
            "run",
            "error: \"kube-apiserver\" does not take any arguments, got [\"run\"]\n".to_owned(),
        ),
        (
            "kube-apiserver",
            "--authorization-mode=Any",
            "authorization-mode \"Any\" is not a valid mode\n".to_owned(),
        ),
        (
            "kube-apiserver",
            "--authentication-config=x",
            "--authentication-config is not supported; use --anonymous-auth, --token-auth-file and --client-ca-file\n"
                .to_owned(),
        ),
        (
            "kube-apiserver",
            "--authorization-config=x",
            "--authorization-config is not supported; use --authorization-mode\n".to_owned(),
        ),
        (
            "kube-apiserver",
            "--tls-cert-file=x",
            "--tls-cert-file and --tls-private-key-file must be specified together\n".to_owned(),
        ),
        (
            "kube-apiserver",
            &format!("--client-ca-file={file}"),
            format!("--client-ca-file {file}: no certificate in PEM\n"),
        ),
        (
            "kube-apiserver",
            &format!("--service-account-signing-key-file={file}"),
            "no private key in PEM\n".to_owned(),
        ),
        (
            "kube-apiserver",
            "--service-cluster-ip-range=10.0.0.0/31",
            "the range must have at least 8 addresses\n".to_owned(),
        ),
        (
            "kube-apiserver",
            "--enable-admission-plugins=Magic",
            "enable-admission-plugins plugin \"Magic\" is unknown\n".to_owned(),
        ),
        ("etcd", "--listen-client-urls=https://localhost:1", "only http:// is served\n".to_owned()),
    ] {
        let output = Command::new(folder.join(program)).arg(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.ends_with(&error), "{line}: {said}");
    }
    let help = Command::new(folder.join("kube-apiserver")).arg("--help").output().unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--secure-port"));
}
