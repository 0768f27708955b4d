//! The server that the clients are measured against.
//!
//! A server that the benchmark starts runs in a process of its own, so that no client's figures include it. It ends with the
//! benchmark, however that ends.

use std::{
    env,
    ffi::OsString,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use e2e::Provider;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::usage::print_line;

/// The time limit for a start. A real control plane takes 4 s, but more on a busy machine.
const START: Duration = Duration::from_secs(120);

/// The server that the user chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Own(Own),
    /// A server that is already running.
    Kubeconfig(PathBuf),
}

/// A server that the command starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Own {
    /// kube-embedded.
    Embedded,
    /// kube-apiserver and etcd, from KUBEBUILDER_ASSETS.
    Real,
}

/// A server that answers.
pub(crate) struct Cluster {
    kubeconfig: PathBuf,
    // Dropped before the folder: the server ends when its stdin is closed.
    _server: Option<Child>,
    _folder: Option<TempDir>,
}

impl Choice {
    /// Describes the server, for the head of a table.
    pub(crate) fn describe(&self) -> String {
        match self {
            Choice::Own(Own::Embedded) => "kube-embedded, in another process".to_owned(),
            Choice::Own(Own::Real) => "kube-apiserver and etcd on the same machine".to_owned(),
            Choice::Kubeconfig(path) => path.display().to_string(),
        }
    }
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Choice> {
        match Own::from_str(text, false) {
            Ok(own) => Ok(Choice::Own(own)),
            Err(_) if Path::new(text).is_file() => Ok(Choice::Kubeconfig(PathBuf::from(text))),
            Err(_) => bail!("neither `embedded`, `real` nor the path of a kubeconfig"),
        }
    }
}

impl Cluster {
    pub(crate) async fn start(choice: &Choice) -> Result<Cluster> {
        match choice {
            Choice::Kubeconfig(path) => {
                Ok(Cluster { kubeconfig: path.clone(), _server: None, _folder: None })
            }
            Choice::Own(own) => Cluster::start_own(*own).await,
        }
    }

    async fn start_own(own: Own) -> Result<Cluster> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let name = own.to_possible_value().context("a server without a name")?;
        let mut server = Command::new(env::current_exe()?)
            .args(["serve", name.get_name()])
            .arg(&kubeconfig)
            .envs(servers_alone())
            .env_remove("KUBEBUILDER_ASSETS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server's process")?;
        let stdout = server.stdout.take().context("a child without stdout")?;
        let mut line = String::new();
        timeout(START, BufReader::new(stdout).read_line(&mut line))
            .await
            .with_context(|| format!("the server has not started within {START:?}"))??;
        ensure!(line == "ready\n", "the server did not start");
        Ok(Cluster { kubeconfig, _server: Some(server), _folder: Some(folder) })
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

/// Names the two binaries rather than their folder: a controller manager from the folder would watch the objects, too, and
/// affect the results.
fn servers_alone() -> impl Iterator<Item = (&'static str, OsString)> {
    let folder = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    [("TEST_ASSET_KUBE_APISERVER", "kube-apiserver"), ("TEST_ASSET_ETCD", "etcd")].into_iter().filter_map(
        move |(variable, program)| {
            let named = env::var_os(variable).or_else(|| Some(folder.as_ref()?.join(program).into()));
            Some((variable, named?))
        },
    )
}

/// Runs the server's process.
pub(crate) fn serve(own: Own, path: &Path) -> Result<()> {
    match own {
        Own::Embedded => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let _entered = runtime.enter();
            let server = kube_embedded::Server::start();
            let endpoint = runtime.block_on(server.listen("127.0.0.1:0"))?;
            hold(path, &endpoint.kubeconfig())
        }
        Own::Real => hold(path, &real()?),
    }
}

/// Reports that the server is ready, and returns when it is no longer needed.
fn hold(path: &Path, kubeconfig: &Kubeconfig) -> Result<()> {
    std::fs::write(path, serde_json::to_vec(kubeconfig)?).context("writing the kubeconfig")?;
    print_line("ready")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Starts the control plane that the end-to-end tests of one process share; it ends with this process.
fn real() -> Result<Kubeconfig> {
    let (send, receive) = mpsc::channel();
    e2e::run(Provider::Envtest, "bench", &[], move |cluster| async move {
        send.send(cluster.kubeconfig().clone()).context("the receiver was dropped")
    })?;
    let kubeconfig = receive.recv().ok();
    kubeconfig.context("`--server real` needs KUBEBUILDER_ASSETS: the folder of kube-apiserver and etcd")
}

/// Creates a client for the kubeconfig's current context, without compression.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.disable_compression = true;
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_or_a_file() {
        assert_eq!("embedded".parse::<Choice>().unwrap(), Choice::Own(Own::Embedded));
        assert_eq!("real".parse::<Choice>().unwrap(), Choice::Own(Own::Real));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(path.parse::<Choice>().unwrap(), Choice::Kubeconfig(path.into()));
        assert!("/no/such/file".parse::<Choice>().is_err());
    }
}
