//! The pair of `bench api`: `etcd` and `kube-apiserver` as programs, started one after the other with envtest's flags, in as many
//! copies as tests that run at the same time have.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use http::Request;
use kube::{Client, Config};
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::sleep,
};

use crate::{table::Spread, usage};

/// How often a server is asked whether it is ready.
const POLL: Duration = Duration::from_millis(10);
/// How long the pairs may take until all are ready.
const START: Duration = Duration::from_secs(300);
/// How long the servers settle before their memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// What pairs of a kind cost.
pub(crate) struct Measured {
    /// The seconds from the start of a pair's etcd until its API server was ready.
    pub(crate) seconds: Spread,
    /// The memory of a pair, in bytes. The pages of the programs that all pairs share count once.
    pub(crate) memory: f64,
}

/// A pair that is ready. Both programs are killed when it is dropped.
struct Pair {
    seconds: f64,
    programs: [Child; 2],
    _folder: TempDir,
}

/// Starts this number of pairs at the same time, from the programs in a folder.
pub(crate) async fn measure(assets: &Path, count: usize) -> Result<Measured> {
    let mut starting = JoinSet::new();
    // All drawn before the first server starts, so that none takes another's.
    for ports in e2e::free_ports(3 * count)?.as_chunks().0 {
        starting.spawn(start(assets.to_owned(), *ports));
    }
    let mut pairs = Vec::new();
    while let Some(pair) = starting.join_next().await {
        pairs.push(pair??);
    }
    sleep(SETTLE).await;
    let mut memory = 0.0;
    for program in pairs.iter().flat_map(|pair| &pair.programs) {
        memory += usage::share_of(program.id().context("a server has ended")?)? as f64;
    }
    let seconds = Spread::of(pairs.iter().map(|pair| pair.seconds)).context("no pairs")?;
    Ok(Measured { seconds, memory: memory / count as f64 })
}

async fn start(assets: PathBuf, [client, peer, secure]: [u16; 3]) -> Result<Pair> {
    let folder = tempfile::Builder::new().prefix("bench-pair-").tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let key = KeyPair::generate()?;
    fs::write(file("sa-signer.key"), key.serialize_pem())?;
    fs::write(file("sa-signer.pub"), key.public_key_pem())?;
    let (etcd_url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let secure_url = format!("https://127.0.0.1:{secure}");
    // Made before the time begins to count: each reads the system's certificates.
    let (etcd_client, client) = (unchecked(&etcd_url)?, unchecked(&secure_url)?);

    let begin = Instant::now();
    let mut etcd = run(
        &assets.join("etcd"),
        &[
            ("advertise-client-urls", &etcd_url),
            ("data-dir", &file("etcd")),
            ("listen-client-urls", &etcd_url),
            ("listen-peer-urls", &peer_url),
            ("unsafe-no-fsync", "true"),
        ],
    )?;
    ready(&mut etcd, &etcd_client, "/health").await.context("etcd")?;
    let mut api_server = run(
        &assets.join("kube-apiserver"),
        &[
            ("allow-privileged", "true"),
            ("authorization-mode", "RBAC"),
            ("bind-address", "127.0.0.1"),
            ("cert-dir", &file("certificates")),
            ("disable-admission-plugins", "ServiceAccount"),
            ("etcd-servers", &etcd_url),
            ("secure-port", &secure.to_string()),
            ("service-account-issuer", &format!("{secure_url}/")),
            ("service-account-key-file", &file("sa-signer.pub")),
            ("service-account-signing-key-file", &file("sa-signer.key")),
            ("service-cluster-ip-range", "10.0.0.0/24"),
        ],
    )?;
    ready(&mut api_server, &client, "/readyz").await.context("kube-apiserver")?;
    Ok(Pair { seconds: begin.elapsed().as_secs_f64(), programs: [etcd, api_server], _folder: folder })
}

fn run(program: &Path, flags: &[(&str, &str)]) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(flags.iter().map(|(name, value)| format!("--{name}={value}")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("starting {}", program.display()))
}

/// Returns a client without credentials, which does not check the server's certificate.
fn unchecked(url: &str) -> Result<Client> {
    let mut config = Config::new(url.parse()?);
    config.accept_invalid_certs = true;
    Ok(Client::try_from(config)?)
}

/// Waits until a server answers a path with success.
async fn ready(server: &mut Child, client: &Client, path: &str) -> Result<()> {
    let begin = Instant::now();
    loop {
        let answer = client.request_text(Request::get(path).body(Vec::new())?).await;
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > START => bail!("it is not ready after {START:?}: {error}"),
            Err(_) => sleep(POLL).await,
        }
        if let Some(status) = server.try_wait()? {
            bail!("it ended with {status}");
        }
    }
}
